"""`--watch` of `status` and `plan`, in a pipe and on a terminal."""

import asyncio
import os
import pty
import signal
import sys
from contextlib import suppress

import pytest

from tests.support.machine import needs_terminal
from tests.support.shell import PATIENCE_S, Running, Shell
from tests.support.store_builders import insert_like_another_program
from tests.support.thorough import thorough

AN_ID = "6af83d1013254bbae9f90389"
ANOTHER_ID = "6af83d1013254bbae9f9038b"
ONE_PENDING = "pending            1"
TWO_PENDING = "pending            2"


async def read_until(running: Running, text: str) -> str:
    """Return what the command has printed, up to the line with `text`."""
    lines: list[str] = []
    stdout = running._process.stdout
    assert stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        while not lines or text not in lines[-1]:
            line = (await stdout.readline()).decode()
            assert line, f"it ended without {text!r}: {''.join(lines)}"
            lines.append(line)
    return "".join(lines)


async def test_in_a_pipe_every_status_is_printed_after_the_other(shell: Shell) -> None:
    await shell.add([AN_ID])
    watch = await shell.start("status", "--watch", "--every", "0.05s")

    await read_until(watch, ONE_PENDING)
    await shell.add([ANOTHER_ID])
    seen = await read_until(watch, TWO_PENDING)
    watch.signal(signal.SIGINT)
    ended = await watch.ended()

    assert "\x1b" not in seen
    assert (ended.code, ended.stderr) == (130, "")


async def test_sigterm_ends_it_as_the_shells_expect(shell: Shell) -> None:
    await shell.add([AN_ID])
    watch = await shell.start("status", "--watch", "--every", "1h")
    await read_until(watch, "stored")

    watch.signal(signal.SIGTERM)

    assert (await watch.ended()).code == 143


async def test_a_database_that_disappears_is_reported_and_waited_for(shell: Shell) -> None:
    await shell.add([AN_ID])
    watch = await shell.start("status", "--watch", "--every", "0.05s")
    await read_until(watch, ONE_PENDING)

    away = shell.database.rename(shell.folder / "away.db")
    await read_until(watch, "There is no database")
    away.rename(shell.database)

    assert await read_until(watch, ONE_PENDING)


async def test_a_plan_is_watched_as_well_and_begins_with_the_pause(shell: Shell) -> None:
    await shell.add([AN_ID])
    await shell.run("pause")
    watch = await shell.start("plan", "--watch", "--every", "0.05s")

    seen = await read_until(watch, "queue       1 open")
    await shell.run("resume")
    await read_until(watch, "queue       1 open")
    watch.signal(signal.SIGINT)
    ended = await watch.ended()

    assert seen.splitlines()[1].startswith("PAUSED since ")
    assert ended.code == 130


@pytest.mark.parametrize("command", ["status", pytest.param("plan", marks=thorough)])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--watch", "--json"], "--watch is for people"),
        (["--every", "5s"], "Add --watch"),
        (["--watch", "--every", "often"], "is not a time"),
    ],
)
async def test_what_makes_no_sense_is_refused(shell: Shell, command: str, options: list[str], sentence: str) -> None:
    await shell.add([AN_ID])

    ended = await shell.run(command, *options)

    assert ended.code == 2
    assert sentence in ended.last_line


async def test_without_a_database_it_ends_at_once(shell: Shell) -> None:
    assert (await shell.run("status", "--watch")).code == 4


@needs_terminal
async def test_on_a_terminal_the_picture_is_replaced_and_the_cursor_comes_back(shell: Shell) -> None:
    await shell.add([AN_ID])
    message = " ".join(f"word{number}" for number in range(30))
    failure = "state = 'failed', ended_at = 1, error_at = 1, error_code = 'task_failed', error_message"
    insert_like_another_program(shell.database, f"UPDATE tasks SET {failure} = ?", [message])
    controller, terminal = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "harvester", "status", "--watch", "--every", "0.05s"),
            cwd=shell.folder,
            env=shell.environ | {"TERM": "xterm-256color", "COLUMNS": "60", "LINES": "30"},
            stdout=terminal,
            stderr=terminal,
            stdin=terminal,
        )
        os.close(terminal)
        screen = Screen(controller)
        reading = asyncio.create_task(asyncio.to_thread(screen.read))
        await screen.shows("failed             1", times=3)
        process.send_signal(signal.SIGINT)
        code = await process.wait()
        await reading
    finally:
        os.close(controller)

    assert code == 130, screen.text
    assert "Ctrl-C ends" in screen.text
    shown = screen.text.replace("\x1b[2K", "").splitlines()
    assert max(len(line) for line in shown if "word" in line) <= 60, "a long line is broken"
    assert all(any(f"word{number}" in line.split() for line in shown) for number in range(30)), "at words"
    assert screen.text.rstrip().endswith("\x1b[?25h"), repr(screen.text[-200:])


class Screen:
    """A terminal that records the text it receives."""

    def __init__(self, controller: int) -> None:
        self._controller = controller
        self.text = ""

    def read(self) -> None:
        """Read to the end."""
        with suppress(OSError):  # how the end of a terminal shows
            while block := os.read(self._controller, 65536):
                self.text += block.decode(errors="replace")

    async def shows(self, text: str, *, times: int) -> None:
        """Wait until it has received `text` that number of times."""
        async with asyncio.timeout(PATIENCE_S):
            while self.text.count(text) < times:  # noqa: ASYNC110  # another process sets no event
                await asyncio.sleep(0.01)
