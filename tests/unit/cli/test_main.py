from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

import harvester.cli.config
from harvester.cli.main import run
from harvester.domain.errors import HarvesterError, KeyRefusedError, StoreError, UsageError


@pytest.fixture
def failing_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Let the `config` command raise."""
    monkeypatch.chdir(tmp_path)

    def install(error: BaseException) -> None:
        def load_settings(*_: object, **__: object) -> NoReturn:
            raise error

        monkeypatch.setattr(harvester.cli.config, "load_settings", load_settings)

    return install


@pytest.mark.parametrize(
    ("kind", "exit_code"), [(HarvesterError, 70), (UsageError, 2), (KeyRefusedError, 3), (StoreError, 4)]
)
def test_an_expected_error_is_one_sentence_with_its_remedy_and_exit_code(
    failing_with: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    kind: type[HarvesterError],
    exit_code: int,
) -> None:
    failing_with(kind("It is broken.", remedy="Mend it."))

    assert exit_code == run(["config"])
    assert capsys.readouterr() == ("", "harvester: It is broken. Mend it.\n")


def test_an_expected_error_is_found_in_the_group_of_a_task_group(
    failing_with: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing_with(ExceptionGroup("tasks", [ExceptionGroup("inner", [KeyRefusedError("No.")])]))

    assert run(["config"]) == 3
    assert capsys.readouterr().err == "harvester: No.\n"


@pytest.mark.parametrize(
    ("errors", "named"),
    [
        ([KeyRefusedError("No."), RuntimeError("a bug")], "RuntimeError: a bug. Run"),
        ([ValueError("odd"), RuntimeError("a bug")], "ValueError: odd. And 1 more. Run"),
    ],
)
def test_a_group_that_also_holds_something_unexpected_names_that(
    failing_with: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    errors: list[Exception],
    named: str,
) -> None:
    failing_with(ExceptionGroup("tasks", errors))

    assert run(["config"]) == 70
    assert f"harvester: unexpected error, {named} again" in capsys.readouterr().err


def test_an_unexpected_error_is_one_sentence_without_traceback(
    failing_with: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing_with(RuntimeError("odd\x1b[2J"))

    assert run(["config"]) == 70
    expected = "harvester: unexpected error, RuntimeError: odd\\x1b[2J. Run again with --debug to see where.\n"
    assert expected == capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["config", "--debug"], ["--debug", "config"]])
def test_debug_shows_the_traceback_wherever_it_stands(
    failing_with: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    failing_with(RuntimeError("odd\x1b[2J"))

    assert run(arguments) == 70
    error = capsys.readouterr().err
    assert error.startswith("Traceback (most recent call last):\n")
    assert error.endswith("harvester: unexpected error, RuntimeError: odd\\x1b[2J.\n")
    assert "\x1b" not in error


def test_a_traceback_does_not_show_the_key(
    failing_with: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TWELVELABS_API_KEY", "tlk_secret")
    failing_with(RuntimeError("odd"))

    run(["config", "--debug"])

    assert "tlk_secret" not in capsys.readouterr().err


def test_ctrl_c_ends_with_130(failing_with: Callable[[BaseException], None]) -> None:
    failing_with(KeyboardInterrupt())

    assert run(["config"]) == 130


def test_a_usage_error_of_the_command_line_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["confgi"]) == 2
    assert "Did you mean 'config'?" in capsys.readouterr().err


def test_after_two_dashes_debug_is_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "--", "--debug"]) == 2
    assert "unexpected extra argument" in capsys.readouterr().err
