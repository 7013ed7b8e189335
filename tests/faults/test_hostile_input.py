"""Rows 33 and 34: foreign text has no effect on the path of a request or on a terminal."""

import json
import socket
import sqlite3
import unicodedata
from contextlib import closing

import aiohttp

from harvester.simulator import Fault
from harvester.simulator.faults.payloads import HOSTILE_NAME
from tests.faults.invariants import assert_kept
from tests.support.shell import Shell, stand_in, until

HOSTILE_IDS = ["../admin", "%2e%2e", "a?b", "a#b", "a\r\nx-api-key: b", "a/b", "..", "x" * 10_000, "\x1b[31m", "é", " "]


async def test_row_33_hostile_ids_are_refused_on_entry(shell: Shell) -> None:
    given = "".join(json.dumps({"id": one}) + "\n" for one in HOSTILE_IDS)

    ended = await shell.run(
        "add", "--file", "-", "--field", "id", "--json", stdin=given + '{"id": "66f537778d9641fe5a0d101f"}\n'
    )

    assert ended.code == 1
    assert shell.states() == {"66f537778d9641fe5a0d101f": "pending"}
    assert len(json.loads(ended.stdout)["refused_lines"]) == len(HOSTILE_IDS)
    assert_harmless(ended.stdout + ended.stderr)


async def test_row_33_hostile_ids_that_another_program_has_queued_reach_no_path(shell: Shell) -> None:
    async with stand_in(tasks=3, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        with closing(sqlite3.connect(shell.database)) as connection, connection:
            connection.executemany("INSERT INTO tasks(task_id) VALUES (?)", [(one,) for one in HOSTILE_IDS])

        ended = await shell.run("backfill")

        assert ended.code == 1, ended.stderr
        assert_kept(shell, api, dict.fromkeys(HOSTILE_IDS, "rejected"))
        assert {one.path for one in api.requests} == {f"/v1.3/embed/tasks/{one}" for one in api.catalogue.ids()}
    assert_harmless(ended.stdout + ended.stderr)


async def test_row_34_hostile_file_names_are_kept_as_sent_and_shown_escaped(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with stand_in(tasks=3, duration_s=12) as api, aiohttp.ClientSession() as http:
        hit, failed, _ = api.catalogue.ids()
        api.faults.add(
            Fault(kind="hostile_name", tasks=(hit,)),
            Fault(kind="problem", status=500, value=HOSTILE_NAME, tasks=(failed,)),
        )
        shell.talks_to(api.base_url)
        log = {"HARVESTER_LOG__LEVEL": "debug", "HARVESTER_LOG__FORMAT": "console"}
        harvest = await shell.run("backfill", *api.catalogue.ids(), "--no-wait", **log)

        assert harvest.code == 1, harvest.stderr
        assert "u202egpj.exe" in harvest.stderr
        assert_kept(shell, api, {failed: "pending"})
        daemon = await shell.start("run", HARVESTER_SERVER__LISTEN=f"127.0.0.1:{port}")
        await until(lambda: is_listening(port))
        for path in ("/", "/status.json", "/metrics"):
            async with http.get(f"http://127.0.0.1:{port}{path}") as page:
                assert_harmless((await page.text()).replace("\n", ""), is_page="html" in page.content_type)
        await daemon.close()
    shown = [await shell.run("show", task_id) for task_id in (hit, failed)]
    as_json, status = await shell.run("show", hit, "--json"), await shell.run("status")

    assert shell.rows("SELECT input_filename FROM videos WHERE input_filename LIKE '=%'") == [(HOSTILE_NAME,)]
    assert json.loads(as_json.stdout)["video_embedding"]["metadata"]["input_filename"] == HOSTILE_NAME
    for ended in (harvest, *shown, as_json, status):
        assert_harmless(ended.stdout + ended.stderr)
    for one in shown:
        assert r"\x1b[31m\u202egpj.exe\u202c<script>" in one.stdout


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def assert_harmless(text: str, *, is_page: bool = False) -> None:
    """Assert that nothing in it acts on a terminal, nor, in a page, on a browser."""
    acting = {one for one in text.replace("\n", "") if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert acting == set()
    assert not (is_page and "<script>" in text)
