"""A daemon at debug level through every kind of failure: neither key nor token in anything it writes or serves."""

import os
import signal

import aiohttp

from tests.support.hostile import ACTING, HOSTILE_NAME
from tests.support.machine import needs_proc
from tests.support.scripted_api import Answer, ScriptedApi, as_json, problem, ready, task_id
from tests.support.shell import KEY, Shell, bytes_of_the_folder, command_lines, until, unused_address
from tests.support.thorough import IS_THOROUGH

PAGES = ("/healthz", "/readyz", "/metrics", "/status.json", "/nowhere")
TOKEN = "sesame-0MARKER0OF0THE0TOKEN0"


async def everything_served(address: str) -> list[str]:
    """Return every page with its headers, as whoever may read it sees it, and as whoever may not."""
    found = []
    async with aiohttp.ClientSession() as client:
        for path in PAGES:
            for headers in ({"authorization": f"Bearer {TOKEN}"}, {}):
                async with client.get(f"http://{address}{path}", headers=headers) as response:
                    found.append(f"{response.status} {dict(response.headers)} {await response.text()}")
    return found


@needs_proc
async def test_a_daemon_shows_the_key_and_its_token_nowhere_whatever_happens(shell: Shell, api: ScriptedApi) -> None:
    echo = f"x-api-key: {KEY}; {HOSTILE_NAME}"
    rejected, failed, unknown, throttled, page, good = (task_id(number, age_s=9000) for number in range(10, 16))
    api.holds(rejected, problem(400, "parameter_invalid", echo, x_trace_id=KEY))
    api.will_say(f"embed/tasks/{rejected}/status", problem(400, "parameter_invalid", echo, x_trace_id=KEY))
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

    shell.starts_cold = True
    daemon = await shell.start("--debug", "run")
    shell.starts_cold = IS_THOROUGH
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
    # These are the right places: each reports what happened, without the key.
    assert "[the API key]" in ended.stderr
    assert sum("[the API key]" in page for page in pages) >= 1
    assert sum('harvester_tasks{state="harvested"} 2.0' in page for page in pages) == 1
    assert [one for text in texts for one in ACTING & set(text)] == []
