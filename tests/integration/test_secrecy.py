"""The key is in the request header and nowhere else."""

import asyncio
import gzip
import json
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.integration.scripted_api import Answer, ScriptedApi, as_json, problem, ready, task_id
from tests.integration.shell import KEY, Gate, Running, Shell, stand_in, until
from tests.integration.test_doctor import unused_address
from tests.integration.test_output import ACTING, HOSTILE_NAME

AN_ID, ANOTHER_ID = task_id(1), task_id(2)

PAGES = ("/healthz", "/readyz", "/metrics", "/status.json", "/nowhere")
TOKEN = "sesame-0MARKER0OF0THE0TOKEN0"


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


async def everything_served(address: str) -> list[str]:
    """Return every page with its headers, as whoever may read it sees it, and as whoever may not."""
    found = []
    async with aiohttp.ClientSession() as client:
        for path in PAGES:
            for headers in ({"authorization": f"Bearer {TOKEN}"}, {}):
                async with client.get(f"http://{address}{path}", headers=headers) as response:
                    found.append(f"{response.status} {dict(response.headers)} {await response.text()}")
    return found


async def test_a_daemon_shows_the_key_and_its_token_nowhere_whatever_happens(shell: Shell, api: ScriptedApi) -> None:
    echo = f"x-api-key: {KEY}; {HOSTILE_NAME}"
    rejected, failed, unknown, throttled, page, good = (task_id(number, age_s=9000) for number in range(10, 16))
    api.holds(rejected, problem(400, "parameter_invalid", echo, x_trace_id=KEY))
    api.holds(failed, as_json({"_id": failed, "status": "failed", "message": HOSTILE_NAME}))
    api.holds(unknown, problem(404, f"gone {KEY}", echo))
    api.holds(throttled, problem(429, "too_many_requests", echo, retry_after="1"), as_json(ready(throttled)))
    api.holds(page, Answer(f"<html>{echo}</html>".encode(), 502), Answer(f'{{"status": "{KEY}"}}'.encode()))
    api.holds(good, as_json(ready(good, input_filename=HOSTILE_NAME)))
    listed = {"data": [{"_id": task_id(20), "status": f"odd {KEY}"}], "page_info": {"total_results": 1}}
    api.will_say("embed/tasks", as_json(listed))
    address, ids = unused_address(), [rejected, failed, unknown, throttled, page, good]
    await shell.add(ids)
    shell.environ |= {
        "HARVESTER_LOG__LEVEL": "debug",
        "HARVESTER_SERVER__LISTEN": address,
        "HARVESTER_SERVER__TOKEN": TOKEN,
        "HARVESTER_DISCOVERY__ENABLED": "true",
    }

    daemon = await shell.start("--debug", "run")
    await until(lambda: api.requests(page) >= 2 and shell.count("harvested") == 2 and shell.count("rejected") == 1)
    await until(
        lambda: shell.count("failed") == 1 and any(one.path.startswith("/v1.3/embed/tasks?") for one in api.asked)
    )
    pages, lines, while_running = await everything_served(address), command_lines(daemon), bytes_of_the_folder(shell)
    os.kill(daemon.pid, signal.SIGHUP)
    reading = (["status"], ["status", "--json"], ["verify", "--deep"], ["config", "--json"], ["backup", "copy.db"])
    shown = [await shell.run("--debug", *command) for command in (*reading, *(["show", one] for one in ids))]
    shown += [await shell.run("--debug", "doctor"), await shell.run("show", good, "--json")]
    daemon.signal(signal.SIGTERM)
    ended = await daemon.ended()

    assert ended.code == 143, ended.stderr
    texts = [*pages, ended.stdout, ended.stderr, *(one.stdout + one.stderr for one in shown)]
    for place in (*lines, while_running, bytes_of_the_folder(shell), *(text.encode() for text in texts)):
        assert KEY.encode() not in place
    for text in texts:
        assert TOKEN not in text
    # Looked at the right places: all of them tell of what happened, and harmlessly.
    assert "[the API key]" in ended.stderr
    assert sum("[the API key]" in page for page in pages) >= 1
    assert sum('harvester_tasks{state="harvested"} 2.0' in page for page in pages) == 1
    assert [one for text in texts for one in ACTING & set(text)] == []


async def test_a_refused_key_is_not_repeated(shell: Shell, api: ScriptedApi) -> None:
    api.holds(AN_ID, problem(401, "api_key_invalid", f"The key {KEY} is invalid."))

    ended = await shell.run("--debug", "backfill", AN_ID, HARVESTER_LOG__LEVEL="debug")

    assert ended.code == 3
    assert "The API refuses the key: " in ended.stderr
    assert KEY not in ended.stderr


@pytest.mark.parametrize("place", ["aiohttp.ClientSession._request", "harvester.api.client.Client._read"])
@pytest.mark.parametrize("command", ["backfill", "run", "discover"])
async def test_the_traceback_of_a_bug_shows_no_key(shell: Shell, api: ScriptedApi, place: str, command: str) -> None:
    module, name, method = place.rsplit(".", 2)
    (shell.folder / "sitecustomize.py").write_text(
        f"import {module}\n"
        "async def broken(*arguments, **options):\n    raise RuntimeError('broken for the test')\n"
        f"{module}.{name}.{method} = broken\n"
    )
    shell.environ["PYTHONPATH"] = ":".join(filter(None, [str(shell.folder), shell.environ.get("PYTHONPATH")]))

    await shell.add([AN_ID])
    shell.environ |= {"HARVESTER_LOG__LEVEL": "debug", "HARVESTER_SERVER__LISTEN": unused_address()}
    ended = await shell.run("--debug", command)

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
