"""A body that could not be decoded is kept, shown, and harvested once it is understood, without a request."""

import asyncio
import gzip
import json
import os
import pty
import sqlite3
import sys
from contextlib import closing

import pytest

from tests.support.hostile import ACTING, HARMLESS_NAME, HOSTILE_NAME, everything_on
from tests.support.machine import needs_terminal
from tests.support.scripted_api import Answer, ScriptedApi, as_json, ready, task_id
from tests.support.shell import Shell

AN_ID, ANOTHER_ID = task_id(1), task_id(2)
PATIENT = {"HARVESTER_API__MAX_BODY_BYTES": "400"}
"""Too small for a result: it is rejected as too large once it is unpacked, and understood with the default."""


def packed(body: bytes) -> Answer:
    return Answer(gzip.compress(body), headers={"content-encoding": "gzip"})


async def rejected(shell: Shell, *task_ids: str, **environ: str) -> None:
    for _ in range(3):
        ended = await shell.run("backfill", *task_ids, "--no-wait", **environ)
    assert ended.code == 1
    assert {shell.states()[one] for one in task_ids} == {"rejected"}


def without_key(shell: Shell) -> None:
    del shell.environ["TWELVELABS_API_KEY"]


async def test_a_rejected_result_is_harvested_from_its_kept_body(shell: Shell, api: ScriptedApi) -> None:
    # Long enough that it shrinks below the cap.
    document = ready(AN_ID, input_filename="a" * 2000)
    api.holds(AN_ID, packed(json.dumps(document).encode()))
    await rejected(shell, AN_ID, **PATIENT)
    without_key(shell)

    again = await shell.run("retry", "--from-kept", AN_ID)
    once_more = await shell.run("retry", "--from-kept", AN_ID)
    given_back = await shell.run("show", AN_ID, "--json")
    story = await shell.run("show", AN_ID)
    verified = await shell.run("verify", "--deep")

    assert (again.code, again.stdout) == (0, "")
    assert once_more.code == 0, once_more.stderr
    assert again.stderr == "1 task harvested from kept bodies, 0 not.\n"
    assert (shell.states()[AN_ID], api.requests(AN_ID)) == ("harvested", 3)
    assert json.loads(given_back.stdout) == document
    assert "kept retrieved in " in story.stdout
    assert verified.code == 0, verified.stdout


async def test_what_is_still_not_understood_stays_rejected_with_the_reason(shell: Shell, api: ScriptedApi) -> None:
    document = ready(AN_ID)
    document["video_embedding"]["segments"][1]["float"].append(0.5)
    api.holds(AN_ID, packed(json.dumps(document).encode()))
    api.holds(ANOTHER_ID, packed(json.dumps(ready(ANOTHER_ID, input_filename="a" * 2000)).encode()))
    await rejected(shell, AN_ID, ANOTHER_ID, **PATIENT)

    again = await shell.run("retry", "--from-kept", "--json")

    assert again.code == 1
    problem = "segments[1].float: 5 numbers, expected 4."
    assert json.loads(again.stdout) == {
        "harvested": [ANOTHER_ID],
        "left": [{"task_id": AN_ID, "problem": problem}],
        "refused": 0,
    }
    assert shell.states() == {AN_ID: "rejected", ANOTHER_ID: "harvested"}


async def test_a_body_that_was_cut_is_refused_and_its_beginning_shown(shell: Shell, api: ScriptedApi) -> None:
    api.holds(AN_ID, packed(json.dumps(ready(AN_ID, input_filename="a" * 2000)).encode()))
    await rejected(shell, AN_ID, **PATIENT)
    with closing(sqlite3.connect(shell.database)) as connection:
        connection.execute("UPDATE payloads SET is_cut = 1, body = substr(body, 1, 100)")
        connection.commit()

    again = await shell.run("retry", "--from-kept", AN_ID)
    raw = await shell.run("show", AN_ID, "--raw")
    story = await shell.run("show", AN_ID)

    assert (again.code, shell.states()[AN_ID]) == (1, "rejected")
    assert f"{AN_ID} stays as it is: Only the beginning of the body is kept; `harvester retry` " in again.stderr
    assert raw.code == 0
    assert raw.stdout.startswith('{"_id": "')
    assert "This is only the beginning" in raw.stderr
    assert "kept body     100 B of gzip" in story.stdout
    assert "only its beginning" in story.stdout


@pytest.mark.parametrize("named", [[ANOTHER_ID], ["--state", "failed"], []])
async def test_without_a_kept_body_nothing_happens(shell: Shell, api: ScriptedApi, named: list[str]) -> None:
    api.holds(ANOTHER_ID, as_json({"_id": ANOTHER_ID, "status": "failed"}))
    await shell.run("backfill", ANOTHER_ID)

    again = await shell.run("retry", "--from-kept", *named)
    raw = await shell.run("show", ANOTHER_ID, "--raw")

    assert again.code == (1 if named == [ANOTHER_ID] else 0)
    assert again.stderr.endswith(f"0 tasks harvested from kept bodies, {again.code} not.\n")
    assert (raw.code, raw.stdout) == (1, "")
    assert "No body of the task" in raw.stderr
    assert shell.states()[ANOTHER_ID] == "failed"


@needs_terminal
async def test_raw_gives_a_pipe_the_bytes_and_a_terminal_harmless_text(shell: Shell, api: ScriptedApi) -> None:
    text = f'{{"status": "ready", "odd": "{HOSTILE_NAME}", "video_embedding": {{"segments": [7]}}}}\n'
    body = text.encode() + b"\xff\xfe"
    api.holds(AN_ID, packed(body + b"}"))
    await rejected(shell, AN_ID)

    command = (sys.executable, "-m", "harvester", "show", AN_ID, "--raw")
    piped = await asyncio.create_subprocess_exec(
        *command, cwd=shell.folder, env=shell.environ, stdout=asyncio.subprocess.PIPE
    )
    received, _ = await piped.communicate()
    controller, terminal = pty.openpty()
    try:
        shown = await asyncio.create_subprocess_exec(*command, cwd=shell.folder, env=shell.environ, stdout=terminal)
        os.close(terminal)
        screen = await asyncio.to_thread(everything_on, controller)
        await shown.wait()
    finally:
        os.close(controller)

    assert received == body + b"}"
    lines = screen.split("\r\n")
    assert not ACTING & set("".join(lines))
    assert HARMLESS_NAME.split(r"\n")[0] in screen
    assert r"\xff\xfe}" in screen
    assert len(lines) == 4  # three lines of the body, and nothing after the last


async def test_the_story_of_a_rejected_task_says_what_it_means_and_what_to_do(shell: Shell, api: ScriptedApi) -> None:
    odd = {"_id": AN_ID, "status": "ready", "video_embedding": {"segments": [7]}}
    api.holds(AN_ID, Answer(b"<html>", 502), as_json(odd))
    for _ in range(4):
        await shell.run("backfill", AN_ID, "--no-wait")

    story = (await shell.run("show", AN_ID)).stdout

    assert "state         rejected\n" in story
    assert "  means       The API refuses the id, or three downloads could not be stored.\n" in story
    assert "segments_invalid: segments[0]: not an object.\n" in story
    assert f"`harvester show {AN_ID} --raw`" in story
    assert f"`harvester retry --from-kept {AN_ID}`" in story
    assert "kept body     " in story
    assert "attempts      4\n" in story
    assert "  http_502: The API, or a proxy before it, failed" in story


async def test_json_and_raw_exclude_each_other(shell: Shell) -> None:
    ended = await shell.run("show", AN_ID, "--raw", "--json")

    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr == "harvester: --json and --raw exclude each other. Give one of them.\n"
