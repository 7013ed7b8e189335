import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.errors import InvalidTaskId
from harvester.domain.tasks.task_id import (
    MAX_LENGTH,
    content_task_id,
    created_at_hint_ms,
    is_content_id,
    validate_api_task_id,
    validate_task_id,
)


@given(st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True))
def test_an_acceptable_id_is_returned_unchanged(task_id: str) -> None:
    assert validate_task_id(task_id) == task_id


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        " ",
        ".",
        "..",
        "../admin",
        "%2e%2e",
        "a?b",
        "a#b",
        "a/b",
        "a\\b",
        "66f537778d9641fe5a0d101f\n",
        "\r\nx-evil: 1",
        "a\x00b",
        "\x1b[31m",
        "\u202egnp",
        "६६f5",  # digits, but not ours
        "ａbc",  # noqa: RUF001  # a full-width letter is the point
        "x" * (MAX_LENGTH + 1),
        "x" * 10_000,
    ],
)
def test_a_hostile_id_is_refused(hostile: str) -> None:
    with pytest.raises(InvalidTaskId):
        validate_task_id(hostile)


@given(st.text(max_size=300))
def test_a_refusal_is_short_and_safe_to_print(text: str) -> None:
    try:
        validate_task_id(text)
    except InvalidTaskId as error:
        shown = str(error)
        assert shown.isascii()
        assert shown.isprintable()
        assert len(shown) < 12 * MAX_LENGTH


def test_the_longest_id_is_accepted() -> None:
    assert validate_task_id("x" * MAX_LENGTH) == "x" * MAX_LENGTH


def test_an_object_id_gives_its_creation_time_away() -> None:
    assert created_at_hint_ms("66f537778d9641fe5a0d101f") == 1_727_346_551_000  # 2024-09-26T10:29:11Z


def test_the_case_of_an_object_id_does_not_matter() -> None:
    assert created_at_hint_ms("66F537778D9641FE5A0D101F") == created_at_hint_ms("66f537778d9641fe5a0d101f")


@pytest.mark.parametrize(
    "task_id", ["", "66f53777", "66f537778d9641fe5a0d101", "66f537778d9641fe5a0d101f0", "x" * 24, "-" * 24]
)
def test_any_other_id_gives_nothing_away(task_id: str) -> None:
    assert created_at_hint_ms(task_id) is None


def test_the_id_of_a_content_is_acceptable_and_has_no_time_but_the_api_does_not_know_it() -> None:
    task_id = content_task_id("0123456789abcdef" * 4)

    assert validate_task_id(task_id) == task_id == "file-0123456789abcdef01234567"
    assert created_at_hint_ms(task_id) is None
    assert is_content_id(task_id)
    with pytest.raises(InvalidTaskId, match="which the API does not know"):
        validate_api_task_id(task_id)
    assert validate_api_task_id("file-1") == "file-1"
