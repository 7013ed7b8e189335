"""`harvester init` writes a settings file from three answers, and tries the key."""

import asyncio
import errno
import io
import os
import pty
import re
import signal
import sys
import tomllib
from pathlib import Path

import pytest

from harvester.cli import init_answers
from harvester.cli.main import run
from harvester.domain.errors import UsageError
from harvester.settings.settings_file import write_settings
from tests.support.machine import needs_terminal
from tests.support.scripted_api import ScriptedApi, as_json, problem
from tests.support.shell import KEY, PATIENCE_S, Shell

FLAGS = ("--db", "tasks.db", "--requests-per-minute", "30")
A_PAGE = {"data": [], "page_info": {"page": 1, "total_page": 0, "total_results": 0}}


def written(folder: Path, name: str = "harvester.toml") -> dict[str, dict[str, object]]:
    return tomllib.loads((folder / name).read_text("utf-8"))


def names_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, of a user who has the key in the variable."""
    for name in [name for name in os.environ if name.startswith(("HARVESTER_", "TWELVELABS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TWELVELABS_API_KEY", KEY)
    # On this machine, so that no certificate authorities are needed.
    monkeypatch.setenv("HARVESTER_API__BASE_URL", "http://127.0.0.1:9/v1.3")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Let a user at a terminal type these lines, and Ctrl-D after them."""
    typed = "".join(f"{line}\n" for line in lines).encode()
    monkeypatch.setattr(init_answers, "_is_terminal", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))


async def test_the_flags_are_enough_and_the_next_command_finds_the_file(shell: Shell, api: ScriptedApi) -> None:
    api.will_say("embed/tasks", as_json(A_PAGE))
    del shell.environ["HARVESTER_RATE__REQUESTS_PER_MINUTE"]

    ended = await shell.run("init", *FLAGS)
    config = await shell.run("config")

    assert (ended.code, ended.stdout) == (0, ""), ended.stderr
    assert f"ok       key: set, {len(KEY)} characters, from TWELVELABS_API_KEY" in ended.stderr
    assert ended.stderr.endswith("  harvester discover && harvester backfill\n")
    assert written(shell.folder) == {"api": {}, "store": {"path": "tasks.db"}, "rate": {"requests_per_minute": 30}}
    assert names_in(shell.folder) == ["harvester.toml"]
    assert "tasks.db" in config.stdout
    assert KEY not in ended.stderr + (shell.folder / "harvester.toml").read_text()


async def test_a_refused_key_ends_with_1_and_the_remedy_and_keeps_the_answers(shell: Shell, api: ScriptedApi) -> None:
    api.will_say("embed/tasks", problem(401, "api_key_invalid", "The key is expired."))
    (shell.folder / "key").write_text(KEY)

    ended = await shell.run("init", "--key-file", "key", *FLAGS)

    assert ended.code == 1
    assert "refuses the key: The key is expired (api_key_invalid). Check api.key_file key" in ended.stderr
    assert "The variable TWELVELABS_API_KEY is set, and overrides the file." in ended.stderr
    assert "The variable HARVESTER_RATE__REQUESTS_PER_MINUTE is set, and overrides the file." in ended.stderr
    assert ended.last_line == "  harvester doctor"
    assert written(shell.folder)["api"] == {"key_file": "key"}


def test_without_a_terminal_one_sentence_names_the_missing_flags(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TWELVELABS_API_KEY")

    assert run(["init", "--db", "tasks.db"]) == 2
    assert capsys.readouterr().err == (
        "harvester: There is no terminal to ask questions on. Give --key-file FILE (or set TWELVELABS_API_KEY), "
        "--requests-per-minute NUMBER.\n"
    )
    assert names_in(folder) == []


def test_the_usual_answers_are_taken_for_empty_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "", "", "")

    assert run(["init", "--offline"]) == 0
    assert written(folder) == {"api": {}, "store": {"path": "harvester.db"}, "rate": {"requests_per_minute": 60}}


def test_a_wrong_answer_gets_one_sentence_and_the_question_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "blank").write_text("\n")
    (folder / 'a "key"').write_text(KEY)
    answer(
        monkeypatch, KEY, "nowhere", "blank", 'a "key"', "no/such/folder.db", ":memory:", "ü.db", "many", "-1", "0.5"
    )

    assert run(["init", "--offline"]) == 0

    shown = re.split(r".*?\]: ", capsys.readouterr().err.partition("ok ")[0])
    assert [text.strip() for text in shown if text.strip()] == [
        "Enter takes the answer in brackets, Ctrl-C ends this and writes nothing.",
        (
            "api.key_file, from your answer, cannot be used: it looks like a key;"
            " it takes the path of a file that holds one."
        ),
        "The file that your answer names does not exist.",
        "The API key from api.key_file blank is blank.",
        "no/such/folder.db cannot be created: its folder does not exist or is not writable.",
        "store.path = ':memory:', from your answer, cannot be used: it takes the path of a file.",
        "rate.requests_per_minute = 'many', from your answer, cannot be used: it takes a number from 0 to 1,000,000.",
        "rate.requests_per_minute = '-1', from your answer, cannot be used: it takes a number from 0 to 1,000,000.",
    ]
    assert written(folder) == {
        "api": {"key_file": 'a "key"'},
        "store": {"path": "ü.db"},
        "rate": {"requests_per_minute": 0.5},
    }


def test_the_end_of_the_input_writes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "", "")

    assert run(["init", "--offline"]) == 2
    assert "The input has ended; nothing is written." in capsys.readouterr().err
    assert names_in(folder) == []


@pytest.mark.parametrize("name", ["harvester.toml", "other.toml"])
def test_an_existing_file_stays_unless_it_may_be_replaced(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--config", name] if name == "other.toml" else []
    (folder / name).write_text("not = TOML of ours")

    assert run(["init", *chosen, *FLAGS, "--offline"]) == 2
    assert f"{name} exists already. Give --force to replace it" in capsys.readouterr().err
    assert (folder / name).read_text() == "not = TOML of ours"

    assert run(["init", *chosen, *FLAGS, "--offline", "--force"]) == 0
    assert written(folder, name)["store"] == {"path": "tasks.db"}
    assert names_in(folder) == [name]


def test_paths_in_a_file_elsewhere_are_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "etc").mkdir()

    assert run(["init", "--config", "etc/h.toml", *FLAGS, "--offline"]) == 0
    assert written(folder, "etc/h.toml")["store"] == {"path": str(folder / "tasks.db")}
    assert capsys.readouterr().err.endswith("discover --config etc/h.toml && harvester backfill --config etc/h.toml\n")


def test_a_file_that_cannot_be_written_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "--config", "no/h.toml", *FLAGS, "--offline"]) == 2
    assert "no/h.toml cannot be written: its folder does not exist." in capsys.readouterr().err
    assert names_in(folder) == []


def test_a_pipe_or_a_device_stays_what_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "pipe")

    assert run(["init", "--config", "pipe", *FLAGS, "--offline", "--force"]) == 2
    assert "pipe is a device or a pipe. Give the name of a file with --config." in capsys.readouterr().err
    assert (folder / "pipe").is_fifo()


@needs_terminal
async def test_ctrl_c_at_a_question_on_a_terminal_leaves_nothing(shell: Shell) -> None:
    controller, terminal = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "harvester", "init"),
            cwd=shell.folder,
            env=shell.environ,
            stdin=terminal,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        async with asyncio.timeout(PATIENCE_S):
            screen = ""
            while "[harvester.db]: " not in screen:
                screen += (await asyncio.to_thread(os.read, controller, 4096)).decode()
                if screen.endswith("[TWELVELABS_API_KEY]: "):
                    os.write(controller, b"\n")
            process.send_signal(signal.SIGINT)
            code = await process.wait()
    finally:
        os.close(controller)

    assert code == 130, screen
    assert max(map(len, screen.splitlines())) <= 80
    assert names_in(shell.folder) == []


def test_a_rename_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "replace", fail)

    with pytest.raises(UsageError, match="cannot be written: Input/output error"):
        write_settings(tmp_path / "harvester.toml", "", replace=False)
    assert list(tmp_path.iterdir()) == []
