"""Output to pipes is plain lines, to terminals a display; foreign text is made harmless."""

import asyncio
import json
import os
import pty
import sys

import pytest

from tests.support.hostile import ACTING, HARMLESS_NAME, HOSTILE_NAME, everything_on
from tests.support.machine import needs_terminal
from tests.support.scripted_api import ScriptedApi, as_json, ready, task_id
from tests.support.shell import Shell, stand_in
from tests.support.thorough import thorough

AN_ID = task_id(1)


async def test_in_a_pipe_there_are_plain_lines_and_data_is_apart_from_text(shell: Shell) -> None:
    async with stand_in(tasks=3, failed_ratio=0.5, seed=5) as api:
        shell.talks_to(api.base_url)

        harvest = await shell.run("backfill", *api.catalogue.ids())
        status = await shell.run("status")
        report = await shell.run("status", "--json")
        shown = await shell.run("show", api.catalogue.ids()[0])

        assert harvest.stdout == ""
        assert harvest.stderr.startswith("Harvested ")
        assert "harvested" in status.stdout
        assert status.stderr == "database harvester.db\n"
        assert sum(json.loads(report.stdout)["tasks"].values()) == 3
        for ended in (harvest, status, report, shown):
            assert not ACTING & set(ended.stdout + ended.stderr)


async def test_a_hostile_file_name_is_shown_escaped_and_given_back_as_it_was(shell: Shell, api: ScriptedApi) -> None:
    document = ready(AN_ID, input_filename=HOSTILE_NAME)
    api.holds(AN_ID, as_json(document))
    await shell.run("backfill", AN_ID)

    shown = await shell.run("show", AN_ID)
    given_back = await shell.run("show", AN_ID, "--json")

    assert f"file          {HARMLESS_NAME}\n" in shown.stdout
    assert not ACTING & set(shown.stdout)
    assert not ACTING & set(given_back.stdout)
    assert document == json.loads(given_back.stdout)
    assert shell.rows("SELECT input_filename FROM videos") == [(HOSTILE_NAME,)]


@pytest.mark.parametrize("style", ["console", pytest.param("json", marks=thorough)])
async def test_hostile_words_of_the_api_are_escaped_in_logs_summary_and_reports(
    shell: Shell, api: ScriptedApi, style: str
) -> None:
    other_id = task_id(2)
    api.holds(AN_ID, as_json({"_id": AN_ID, "status": "failed", "message": HOSTILE_NAME}))
    api.holds(other_id, as_json({"_id": other_id, "status": f"odd {HOSTILE_NAME}"}, x_trace_id="t\u00adrace"))
    shell.environ |= {"HARVESTER_LOG__LEVEL": "debug", "HARVESTER_LOG__FORMAT": style}

    harvest = await shell.run("backfill", AN_ID, other_id, "--no-wait")
    shown = await shell.run("show", AN_ID)
    status = await shell.run("status")

    assert harvest.code == 1
    assert f"(as {AN_ID}: {HARMLESS_NAME})" in harvest.stderr
    assert "unknown status" in harvest.stderr
    assert HARMLESS_NAME in shown.stdout
    assert HARMLESS_NAME in status.stdout
    for ended in (harvest, shown, status):
        assert not ACTING & set(ended.stdout + ended.stderr)
    if style == "json":
        logged = [json.loads(line) for line in harvest.stderr.splitlines() if line.startswith("{")]
        assert {"failed", "unknown status, taken for not finished"} <= {entry["event"] for entry in logged}


@needs_terminal
async def test_on_a_terminal_there_is_a_display_and_the_summary_stays(shell: Shell) -> None:
    async with stand_in(tasks=5, duration_s=300) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        controller, terminal = pty.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "harvester", "backfill"),
                cwd=shell.folder,
                env=shell.environ | {"TERM": "xterm-256color"},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=terminal,
            )
            os.close(terminal)
            screen = asyncio.create_task(asyncio.to_thread(everything_on, controller))
            code = await process.wait()
            text = await screen
        finally:
            os.close(controller)

        assert code == 0, text
        assert "\x1b[" in text
        assert "harvesting" in text
        assert text.endswith("s.\r\n")
        assert "Harvested 5 tasks (" in text
