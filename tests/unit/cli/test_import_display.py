"""What a person sees of a running import."""

import io
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from harvester.cli import import_display
from harvester.cli.import_display import ImportDisplay
from harvester.domain.tasks.imported import ImportOutcome
from harvester.service.body_import import ImportProgress
from tests.support.hostile import ACTING

HOSTILE = Path("a\x1b[2J\u202e.json")
HARMLESS = r"harvester: a\x1b[2J\u202e.json: It is empty."


def progress() -> ImportProgress:
    return ImportProgress(stored=3, known=2, bad=1, bytes_read=7_700_000)


async def test_a_terminal_shows_a_bar_and_the_bad_files_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, markup=False, highlight=False)
    monkeypatch.setattr(import_display, "stderr_console", lambda: console)
    display = ImportDisplay(keeps_results=False)
    display.begin(progress(), total=10)

    async with display.shown():
        while "6/10" not in screen.getvalue():
            await anyio.lowlevel.checkpoint()
        display.on_problem(HOSTILE, "It is empty.")
    shown = screen.getvalue()

    assert "2 known, 1 bad" in shown
    assert "7.7 MB" in shown
    assert HARMLESS in shown
    assert "\u202e" not in shown
    assert display.problems == []


async def test_a_pipe_gets_a_line_now_and_then_and_each_bad_file_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(import_display, "PLAIN_EVERY_S", 0.0)
    display, said = ImportDisplay(keeps_results=True), ""
    display.begin(progress(), total=10)

    display.on_problem(HOSTILE, "It is empty.")
    display.on_result(Path("b.json"), "file-1", ImportOutcome.STORED)
    async with display.shown():
        while "6/10" not in said:
            await anyio.lowlevel.checkpoint()
            said += capsys.readouterr().err

    assert said.startswith(f"{HARMLESS}\n6/10 files: 3 stored, 2 known, 1 bad, 7.7 MB read\n")
    assert not ACTING & set(said.replace("\n", ""))
    assert display.problems == [{"file": str(HOSTILE), "problem": "It is empty."}]
    assert display.results == [{"file": "b.json", "task_id": "file-1", "outcome": "stored"}]


def test_the_summary_of_a_single_body_names_its_task() -> None:
    display = ImportDisplay(keeps_results=False)
    display.begin(ImportProgress(stored=1), total=1)
    display.on_result(Path("b.json"), "file-1", ImportOutcome.STORED)
    assert display.summary(2) == "1 stored, 0 known, 0 bad, 2 other files skipped, the task is file-1"

    display.begin(progress(), total=10)
    assert display.summary(0) == "3 stored, 2 known, 1 bad"
