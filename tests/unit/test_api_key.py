import copy
import pickle
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.errors import UsageError
from harvester.settings.api_key import ApiKey, resolve_api_key
from harvester.settings.model import ApiSettings, Settings

SECRET = "tlk_0123456789ABCDEFGHIJ"


def settings(key_file: Path | None = None) -> Settings:
    return Settings(api=ApiSettings(key_file=key_file))


def test_the_key_comes_from_the_environment() -> None:
    key = resolve_api_key(settings(), {"TWELVELABS_API_KEY": SECRET})

    assert key.reveal() == SECRET
    assert key.masked() == "set, 24 characters, from TWELVELABS_API_KEY"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_key_comes_from_a_file_which_may_end_with_a_newline(tmp_path: Path, end: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(f"{SECRET}{end}".encode())

    key = resolve_api_key(settings(file), {})

    assert key.reveal() == SECRET
    assert key.masked() == f"set, 24 characters, from api.key_file {file}"


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    key = resolve_api_key(settings(tmp_path / "absent"), {"TWELVELABS_API_KEY": SECRET})

    assert key.source == "TWELVELABS_API_KEY"


def test_without_a_key_the_error_names_both_ways_to_set_it() -> None:
    with pytest.raises(UsageError) as caught:
        resolve_api_key(settings(), {})

    assert caught.value.exit_code == 2
    assert "TWELVELABS_API_KEY" in str(caught.value)
    assert "api.key_file" in str(caught.value)


@pytest.mark.parametrize(
    "flawed", ["", " ", "\n", f"{SECRET}\n\n", f" {SECRET}", "a b", "a\nb", "a\x00b", "ké", "a\x7f"]
)
def test_a_flawed_key_is_refused_by_source_and_never_shown(tmp_path: Path, flawed: str) -> None:
    file = tmp_path / "key"
    file.write_text(flawed, encoding="utf-8")

    for key_file, environ in ((None, {"TWELVELABS_API_KEY": flawed}), (file, {})):
        with pytest.raises(UsageError) as caught:
            resolve_api_key(settings(key_file), environ)
        message = str(caught.value)
        assert ("TWELVELABS_API_KEY" if environ else str(file)) in message
        assert SECRET not in message


def test_an_endless_key_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"a" * 5000)

    with pytest.raises(UsageError, match="longer than 4096"):
        resolve_api_key(settings(file), {})


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be read from api\.key_file") as caught:
        resolve_api_key(settings(tmp_path / name), {})

    assert str(tmp_path / name) in str(caught.value)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=20))
def test_nothing_that_shows_an_object_shows_the_key(value: str) -> None:
    key = ApiKey(value, source="a test")

    for shown in (repr(key), str(key), f"{key}", f"{key!r:>40}", key.masked(), repr([key])):
        assert value not in shown


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_key_is_neither_pickled_nor_copied(duplicate: object) -> None:
    assert callable(duplicate)
    with pytest.raises(TypeError):
        duplicate(ApiKey(SECRET, source="a test"))


def test_a_traceback_with_locals_does_not_show_a_flawed_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET} {SECRET}")

    with pytest.raises(UsageError) as caught:
        resolve_api_key(settings(file), {})

    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert SECRET not in "".join(report.format())
