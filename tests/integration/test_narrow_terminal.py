"""On a terminal of 80 columns, reports are broken at words: no word is cut, and no line is longer."""

import asyncio
import os
import pty
import sys
from contextlib import suppress

import pytest

from tests.support.machine import needs_terminal
from tests.support.shell import Shell
from tests.support.store_builders import insert_like_another_program
from tests.support.thorough import thorough

AN_ID = "66f537778d9641fe5a0d101f"
MESSAGE = " ".join(f"word{number}" for number in range(40))


async def shown(shell: Shell, *arguments: str) -> str:
    """Return what a command writes to such a terminal."""
    controller, terminal = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "harvester", *arguments),
            cwd=shell.folder,
            env=shell.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40"},
            stdout=terminal,
            stderr=terminal,
            stdin=terminal,
        )
        os.close(terminal)
        text = await asyncio.to_thread(_read, controller)
        await process.wait()
    finally:
        os.close(controller)
    return text


def _read(controller: int) -> str:
    text = b""
    with suppress(OSError):  # how the end of a terminal shows
        while block := os.read(controller, 65536):
            text += block
    return text.decode()


@needs_terminal
@pytest.mark.parametrize(
    "arguments",
    [
        ["show", AN_ID],
        pytest.param(["config"], marks=thorough),
        pytest.param(["doctor", "--offline"], marks=thorough),
        pytest.param(["status"], marks=thorough),
        pytest.param(["pause", "--for", "2h"], marks=thorough),
    ],
    ids=lambda value: value[0],
)
async def test_a_report_is_broken_at_words(shell: Shell, arguments: list[str]) -> None:
    await shell.add([AN_ID])
    failure = "state = 'failed', ended_at = 1, error_at = 1, error_code = 'task_failed', error_message = ?"
    insert_like_another_program(shell.database, f"UPDATE tasks SET {failure}", [MESSAGE])

    lines = (await shown(shell, *arguments)).splitlines()

    # A path that is longer than a line stays whole.
    assert [line for line in lines if len(line) > 80 and max(map(len, line.split())) < 60] == []
    if arguments[0] in {"show", "status"}:
        assert [word for word in MESSAGE.split() if not any(word in line.split() for line in lines)] == []
