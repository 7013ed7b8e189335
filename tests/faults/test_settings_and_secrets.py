"""The key is in the request header and nowhere else."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from tests.integration.scripted_api import Answer, ScriptedApi, problem, ready, task_id
from tests.integration.shell import KEY, Gate, Running, Shell, stand_in, until

AN_ID, ANOTHER_ID = task_id(1), task_id(2)


def bytes_of_the_folder(shell: Shell) -> bytes:
    """Everything that the command has written: the database, its -wal and -shm, whatever else."""
    return b"".join(path.read_bytes() for path in shell.folder.rglob("*") if path.is_file())


def command_lines(harvest: Running) -> list[bytes]:
    """Return the command line of the process and of each of its workers, which are in its group."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (process / "stat").read_text().rpartition(")")[2].split()
            if int(after_name[2]) == harvest.pid:
                found.append((process / "cmdline").read_bytes())
        except OSError:
            continue
    return found


async def test_the_key_is_sent_and_shown_nowhere(shell: Shell) -> None:
    gate = Gate(let_through=3)
    async with stand_in(gate, tasks=4, duration_s=150, key=KEY) as api:
        shell.talks_to(api.base_url)
        shell.environ["HARVESTER_LOG__LEVEL"] = "debug"

        harvest = await shell.start("--debug", "backfill", *api.catalogue.ids())
        await until(lambda: len(gate.arrived) == 4 and shell.count("harvested") == 3)
        lines = command_lines(harvest)
        while_running = bytes_of_the_folder(shell)
        gate.open()
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert len(lines) > 1
        for place in (*lines, while_running, bytes_of_the_folder(shell), ended.stdout.encode(), ended.stderr.encode()):
            assert KEY.encode() not in place
        assert ended.stderr.count('"event": "harvested"') == 4


async def test_failures_show_no_key_even_where_the_api_repeats_it(shell: Shell, api: ScriptedApi) -> None:
    echo = f"The header x-api-key: {KEY} was received."
    api.holds(AN_ID, Answer(f"<html>{echo}</html>".encode(), 502), problem(400, "parameter_invalid", echo))
    api.holds(ANOTHER_ID, problem(404, "resource_not_exists", echo))
    shell.environ["HARVESTER_LOG__LEVEL"] = "debug"

    runs = [await shell.run("--debug", "backfill", AN_ID, ANOTHER_ID, "--no-wait") for _ in range(2)]
    shown = await shell.run("show", AN_ID)
    status = await shell.run("status")

    assert [run.code for run in runs] == [1, 1]
    assert shell.states()[AN_ID] == "rejected"
    for ended in (*runs, shown, status):
        assert KEY not in ended.stdout + ended.stderr
    assert KEY.encode() not in bytes_of_the_folder(shell)
    assert "was received" in shown.stdout


@pytest.mark.parametrize("packed", [False, True])
async def test_results_that_repeat_the_key_are_not_kept(shell: Shell, api: ScriptedApi, *, packed: bool) -> None:
    headers = {"x-trace-id": f"trace of {KEY}"}
    # The first would be rejected and its body kept, the second would be stored with all its fields.
    bodies = [{"status": "ready", "video_embedding": {"segments": [KEY]}}, ready(ANOTHER_ID, echo=KEY)]
    for one, document in zip((AN_ID, ANOTHER_ID), bodies, strict=True):
        body = json.dumps(document).encode()
        if packed:
            body, headers = gzip.compress(body), headers | {"content-encoding": "gzip"}
        api.holds(one, Answer(body, headers=headers))
    shell.environ["HARVESTER_LOG__LEVEL"] = "debug"

    ended = await shell.run("--debug", "backfill", AN_ID, ANOTHER_ID, "--no-wait")
    shown = await shell.run("show", AN_ID)

    assert set(shell.states().values()).isdisjoint({"harvested", "rejected"}), shell.states()
    assert "repeats the API key" in shown.stdout
    assert KEY not in ended.stdout + ended.stderr + shown.stdout
    assert KEY.encode() not in bytes_of_the_folder(shell)


async def test_a_refused_key_is_not_repeated(shell: Shell, api: ScriptedApi) -> None:
    api.holds(AN_ID, problem(401, "api_key_invalid", f"The key {KEY} is invalid."))

    ended = await shell.run("--debug", "backfill", AN_ID, HARVESTER_LOG__LEVEL="debug")

    assert ended.code == 3
    assert "The API refuses the key: " in ended.stderr
    assert KEY not in ended.stderr


@pytest.mark.parametrize("place", ["aiohttp.ClientSession._request", "harvester.api.client.Client._read"])
async def test_the_traceback_of_a_bug_shows_no_key(shell: Shell, api: ScriptedApi, place: str) -> None:
    module, name, method = place.rsplit(".", 2)
    shell.sabotage(
        f"import {module}\n"
        "async def broken(*arguments, **options):\n    raise RuntimeError('broken for the test')\n"
        f"{module}.{name}.{method} = broken\n"
    )

    ended = await shell.run("--debug", "backfill", AN_ID, HARVESTER_LOG__LEVEL="debug")

    assert ended.code == 70
    assert "Traceback" in ended.stderr
    assert "broken for the test" in ended.last_line
    assert KEY not in ended.stderr
    assert api.asked == [] or "_read" in place


async def test_a_key_from_a_file_is_in_no_environment_either(shell: Shell) -> None:
    gate = Gate()
    async with stand_in(gate, tasks=1, key=KEY) as api:
        shell.talks_to(api.base_url)
        del shell.environ["TWELVELABS_API_KEY"]
        (shell.folder / "key").write_text(f"{KEY}\n")

        harvest = await shell.start("backfill", *api.catalogue.ids(), HARVESTER_API__KEY_FILE="key")
        await until(lambda: len(gate.arrived) == 1)
        environ = await asyncio.to_thread(Path(f"/proc/{harvest.pid}/environ").read_bytes)
        gate.open()
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert KEY.encode() not in environ
        assert b"KEY_FILE=key" in environ


async def test_the_settings_say_that_there_is_a_key_and_not_which(shell: Shell) -> None:
    for options in ([], ["--json"]):
        ended = await shell.run("config", *options)

        assert KEY not in ended.stdout
        assert f"set, {len(KEY)} characters, from TWELVELABS_API_KEY" in ended.stdout
