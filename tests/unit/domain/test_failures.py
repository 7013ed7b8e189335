"""The kinds of failed tasks, by the platform's message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.tasks.failures import (
    FAILURE_CODES,
    LISTED_FAILED,
    LISTED_WITHOUT_REASON,
    NO_REASON,
    RESULT_EXPIRED,
    TASK_FAILED,
    failed_state,
    failure_code,
    known_reason,
)
from harvester.domain.tasks.task import TaskState

DOCUMENTED = {
    "The embedding result is no longer available and cannot be retrieved.": RESULT_EXPIRED,
    "The embedding service is temporarily unstable. Please try again later.": "task_failed_platform",
    "The embedding task failed. Please try again later.": "task_failed_platform",
    "The embedding task could not complete processing.": "task_failed_unclear",
    "failed to fetch or materialize source media": "task_failed_unreachable",
    "The media exceeds the maximum allowed size for embedding.": "task_failed_too_large",
    "Content exceeds the model's context window.": "task_failed_too_large",
    "Document (17 pages) exceeds maximum limit of 6 pages": "task_failed_too_large",
    "File size (33.6 MB) exceeds maximum limit of 32 MB": "task_failed_too_large",
    "The embedding request was invalid.": "task_failed_input",
    "We could not process your media for embedding.": "task_failed_input",
}


@pytest.mark.parametrize(("message", "code"), DOCUMENTED.items())
def test_each_documented_message_has_its_kind_whatever_surrounds_it(message: str, code: str) -> None:
    quoted = message.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")
    variants = [message, message.upper(), f"Task 6af0: {message}", f"{message} (trace 5f1c)", quoted]
    assert {failure_code(one) for one in [*variants, f"  {message.replace(' ', chr(10))} "]} == {code}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Audio is 3.2s long, the minimum is 4 seconds", "task_failed_too_large"),
        ("The video exceeds 14400 seconds.", "task_failed_too_large"),
        ("The document has 70,000 tokens; at most 32,000 tokens are allowed.", "task_failed_too_large"),
        ("We could not process your media for embedding. Check the file and try again later.", "task_failed_input"),
        ("The source media is no longer available.", "task_failed_unreachable"),
        ("We read your media for embedding: the source url is no longer available", "task_failed_unreachable"),
        ("The URL could not be fetched: 403.", "task_failed_unreachable"),
        ("Rate limit of 5 requests in 10 seconds exceeded. Please try again later.", "task_failed_platform"),
        ("The task exceeded its time limit of 300 seconds.", TASK_FAILED),
        ("Video too short.", TASK_FAILED),
        (NO_REASON, TASK_FAILED),
        ("", TASK_FAILED),
    ],
)
def test_other_messages_are_unknown_unless_they_measure_the_input_or_say_whose_fault_it_is(
    message: str, code: str
) -> None:
    assert failure_code(message) == code


@given(st.text(max_size=200))
def test_any_text_has_a_code_that_ends_the_task(message: str) -> None:
    assert failed_state(failure_code(message)) in (TaskState.FAILED, TaskState.EXPIRED)


def test_only_an_expired_result_is_not_a_failure() -> None:
    assert {failed_state(code) for code in FAILURE_CODES - {RESULT_EXPIRED}} == {TaskState.FAILED}
    assert failed_state(RESULT_EXPIRED) is TaskState.EXPIRED
    assert [failed_state(code) for code in (None, "connection_lost", LISTED_FAILED)] == [None] * 3


@pytest.mark.parametrize(
    ("code", "message", "known"),
    [
        (TASK_FAILED, "Broken.", "Broken."),
        (LISTED_FAILED, "Broken.", "Broken."),
        (TASK_FAILED, NO_REASON, None),
        (LISTED_FAILED, LISTED_WITHOUT_REASON, None),
        ("connection_lost", "Reset.", None),
        (None, None, None),
    ],
)
def test_the_reason_of_an_earlier_answer_is_that_of_the_platform(
    code: str | None, message: str | None, known: str | None
) -> None:
    assert known_reason(code, message) == known
