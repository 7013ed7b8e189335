"""`harvester doctor` names what is missing, and `--live` is a health check."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from email.utils import formatdate
from time import time
from typing import Any

import pytest
from aiohttp import web

from tests.support.machine import needs_mounts
from tests.support.scripted_api import ScriptedApi, as_json, problem
from tests.support.shell import KEY, Ended, Shell, stand_in, unused_address
from tests.support.thorough import thorough

AN_ID = "66f537778d9641fe5a0d101f"
NAMES = ["settings", "proxy", "key", "clock", "database", "file system", "space", "SQLite", "open files", "memory"]

ON_A_NETWORK = """
import sys
from pathlib import Path

from harvester.cli.main import run
from harvester.store.sqlite.maintenance import file_systems

file_systems.MOUNTINFO = Path(sys.argv[1])
sys.exit(run(sys.argv[2:]))
"""


def checks(ended: Ended) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(ended.stdout)["checks"]}


def a_page(**headers: str) -> Any:
    return as_json({"data": [], "page_info": {"page": 1, "total_page": 0, "total_results": 0}}, 200, **headers)


@needs_mounts
async def test_all_is_well_with_a_key_that_the_api_accepts(shell: Shell) -> None:
    async with stand_in(tasks=3, key=KEY) as api:
        shell.talks_to(api.base_url)
        ended = await shell.run("doctor", "--json")

    found = checks(ended)
    assert (ended.code, list(found)) == (0, NAMES), ended.stdout
    assert {name: check["verdict"] for name, check in found.items() if name != "SQLite"} == dict.fromkeys(
        [name for name in NAMES if name != "SQLite"], "ok"
    )
    assert [(one.endpoint, one.status) for one in api.requests] == [("list", 200)]
    assert KEY not in ended.stdout + ended.stderr
    assert not shell.database.exists()


async def test_every_line_has_a_verdict_and_a_failure_its_remedy(shell: Shell, api: ScriptedApi) -> None:
    api.will_say("embed/tasks", problem(401, "api_key_invalid", f"API Key {KEY} is either invalid or expired."))

    ended = await shell.run("doctor")

    lines = ended.stdout.splitlines()
    assert (ended.code, len(lines)) == (1, len(NAMES))
    assert {line.split()[0] for line in lines} <= {"ok", "warning", "failure"}
    (refused,) = (line for line in lines if line.startswith("failure"))
    assert "refuses the key: API Key [the API key] is either invalid or expired (api_key_invalid)." in refused
    assert refused.endswith("Check TWELVELABS_API_KEY, and whether the key has expired.")
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("ahead_s", "verdict", "says"), [(0, "ok", "within"), (-600, "warning", " ahead of the API's")]
)
async def test_the_clock_is_compared_with_the_api(
    shell: Shell, api: ScriptedApi, ahead_s: float, verdict: str, says: str
) -> None:
    api.will_say("embed/tasks", a_page(date=formatdate(time() + ahead_s, usegmt=True)))
    clock = checks(await shell.run("doctor", "--json"))["clock"]
    assert clock["verdict"] == verdict
    assert says in clock["text"]


async def test_a_limit_that_is_used_up_proves_nothing_and_fails_nothing(shell: Shell, api: ScriptedApi) -> None:
    api.will_say("embed/tasks", problem(429, "too_many_requests", "Later.", retry_after="7200"))
    ended = await shell.run("doctor", "--json")
    key = checks(ended)["key"]
    assert (ended.code, key["verdict"]) == (0, "warning")
    assert "the API accepts no requests now, for 2 h" in key["text"]


async def test_offline_sends_nothing_and_a_missing_key_is_named(shell: Shell, api: ScriptedApi) -> None:
    offline = await shell.run("doctor", "--offline")
    del shell.environ["TWELVELABS_API_KEY"]
    keyless = await shell.run("doctor")

    assert (offline.code, keyless.code, api.asked) == (0, 1, [])
    assert "failure  key: There is no API key. Set TWELVELABS_API_KEY" in keyless.stdout


async def test_an_api_that_cannot_be_reached_is_a_failure(shell: Shell) -> None:
    shell.talks_to("http://127.0.0.1:9/v1.3")
    ended = await shell.run("doctor")
    assert ended.code == 1
    assert "failure  key: http://127.0.0.1:9/v1.3 cannot be asked: No connection" in ended.stdout


async def test_settings_that_cannot_be_used_are_a_line_as_well(shell: Shell) -> None:
    ended = await shell.run("doctor", "--json", HARVESTER_HARVEST__CONCURRENCY="many")
    settings = checks(ended)["settings"]
    assert (ended.code, settings["verdict"]) == (1, "failure")
    assert "harvest.concurrency" in settings["text"]
    assert settings["remedy"] != ""


async def test_a_database_that_cannot_be_used_is_a_failure(shell: Shell) -> None:
    shell.database.write_text("no database\n" * 100)
    database = checks(await shell.run("doctor", "--offline", "--json"))["database"]
    assert (database["verdict"], "is not a SQLite database" in database["text"]) == ("failure", True)


async def test_an_older_schema_is_a_warning_and_stays(shell: Shell) -> None:
    # On this machine, so that no certificate authorities are needed.
    shell.talks_to("http://127.0.0.1:9/v1.3")
    await shell.add([AN_ID])
    with closing(sqlite3.connect(shell.database)) as connection, connection:
        connection.execute("DELETE FROM schema_migrations WHERE version > 1")
    ended = await shell.run("doctor", "--offline", "--json")
    database = checks(ended)["database"]
    assert (ended.code, database["verdict"]) == (0, "warning")
    assert "has schema version 1" in database["text"]
    assert shell.rows("SELECT max(version) FROM schema_migrations") == [(1,)]


async def test_the_space_is_compared_with_what_the_queue_will_need(shell: Shell) -> None:
    await shell.add([AN_ID, AN_ID.replace("1f", "2f")])
    space = checks(await shell.run("doctor", "--offline", "--json"))["space"]
    assert "; 2 open tasks will need 5.6 MB (an hour of video each)" in space["text"]

    with closing(sqlite3.connect(shell.database)) as connection, connection:
        # As many as no disk holds.
        connection.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 300000) "
            "INSERT INTO tasks (task_id) SELECT printf('%024x', n) FROM numbers"
        )
        connection.execute(
            "INSERT INTO videos (task, harvested_at, segment_count, vectors_crc32, document, layouts) "
            "VALUES (1, 0, 0, 0, '{}', '[]')"
        )
    space = checks(await shell.run("doctor", "--offline", "--json"))["space"]
    assert (space["verdict"], "less than twice that is left" in space["text"]) == ("warning", True)


def test_too_few_open_files_are_a_failure(shell: Shell) -> None:
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)); "
        "from harvester.cli.main import run; sys.exit(run(['doctor', '--offline', '--json']))"
    )
    environ = shell.environ | {"HARVESTER_HARVEST__CONCURRENCY": "64"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=shell.folder, env=environ, capture_output=True, text=True, check=False
    )
    files = checks(Ended(done.returncode, done.stdout, done.stderr))["open files"]
    assert (done.returncode, files["verdict"]) == (1, "failure")
    assert "harvest.concurrency = 64 needs up to 128" in files["text"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["doctor", "--offline"], 1, "failure  file system: nfs4 at {folder} is a network file system"),
        (["backfill", AN_ID], 4, "would be on a network file system (nfs4 at '{folder}')"),
        *(
            pytest.param(command, 4, "would be on a network file system (nfs4 at '{folder}')", marks=thorough)
            for command in (["add", AN_ID], ["run"])
        ),
        (["migrate"], 4, "Put the database on a local disk (--db or store.path)"),
    ],
)
def test_a_network_file_system_is_refused(shell: Shell, arguments: list[str], code: int, says: str) -> None:
    mountinfo = shell.folder / "mountinfo"
    mountinfo.write_text(f"36 22 4095:9 / {shell.folder} rw - nfs4 server:/export rw\n")
    done = subprocess.run(
        [sys.executable, "-c", ON_A_NETWORK, mountinfo, *arguments],
        cwd=shell.folder,
        env=shell.environ | {"HARVESTER_SERVER__LISTEN": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert says.format(folder=shell.folder) in done.stdout + done.stderr
    assert not shell.database.exists()


@asynccontextmanager
async def daemon_that_says(page: Any, status: int) -> AsyncIterator[str]:
    """Listen in place of the daemon; give the address."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response(page, status=status)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_running_daemon_is_well_and_a_stopped_one_is_not(shell: Shell) -> None:
    async with stand_in(tasks=1) as api:
        shell.talks_to(api.base_url)
        address = shell.environ["HARVESTER_SERVER__LISTEN"] = unused_address()
        daemon = await shell.start("run")
        answer = await shell.run("doctor", "--live")
        # It is asked while it starts, too.
        for _ in range(50):
            if answer.code == 0:
                break
            answer = await shell.run("doctor", "--live")
        daemon.signal(signal.SIGTERM)
        await daemon.ended()
        stopped = await shell.run("doctor", "--live", "--json")

    assert (answer.stdout, answer.stderr) == (f"ok       daemon: healthy at {address}\n", "")
    assert (stopped.code, checks(stopped)["daemon"]["verdict"]) == (1, "failure")
    assert list(api.requests) == []


@pytest.mark.parametrize(
    ("page", "status", "code", "says"),
    [
        ({"status": "ok", "reasons": []}, 200, 0, "ok       daemon: healthy"),
        (
            {"status": "stuck", "reasons": ["The stage save is silent."]},
            503,
            1,
            "answers 503. The stage save is silent.",
        ),
        ({"status": "UP"}, 200, 1, "Another program than the harvester listens there."),
        (["ok"], 200, 1, "Another program than the harvester listens there."),
    ],
)
async def test_the_health_is_what_the_daemon_says(shell: Shell, page: Any, status: int, code: int, says: str) -> None:
    async with daemon_that_says(page, status) as address:
        ended = await shell.run("doctor", "--live", HARVESTER_SERVER__LISTEN=address)
    assert (ended.code, says in ended.stdout) == (code, True), ended.stdout


async def test_a_daemon_that_listens_everywhere_is_asked_here(shell: Shell) -> None:
    async with daemon_that_says({"status": "ok"}, 200) as address:
        everywhere = address.replace("127.0.0.1", "0.0.0.0")
        ended = await shell.run(
            "doctor", "--live", HARVESTER_SERVER__LISTEN=everywhere, HARVESTER_SERVER__TOKEN="0123456789abcdef"
        )
    assert ended.code == 0, ended.stdout


async def test_where_no_process_listens_the_api_is_not_asked(shell: Shell) -> None:
    config = shell.folder / "harvester.toml"
    config.write_text('[server]\nlisten = ""\n')
    ended = await shell.run("doctor", "--live")
    assert (ended.code, "server.listen is empty: the daemon serves no pages." in ended.stdout) == (1, True)
