"""Row 44: the file under the program is removed or replaced, or has two names. Row 45: its log, and its space."""

import http.client
import json
import shutil
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from harvester.ports.space import LOG_BYTES
from harvester.simulator import Simulator
from tests.faults.invariants import assert_kept, assert_stored_as_sent
from tests.support.machine import mounted, small_disk
from tests.support.shell import Gate, Shell, retrieved, stand_in, until
from tests.support.thorough import thorough

WAITING_COPY = """
import os, time, harvester.store.sqlite.maintenance.rescue_copy as saving
real = saving._copy
def copy(*arguments):
    while not os.path.exists({flag!r}):
        time.sleep(0.01)
    real(*arguments)
saving._copy = copy
"""
"""The copy of a lost database waits for a flag: what the daemon says meanwhile can be asked."""


def remove(database: Path) -> None:
    database.unlink()


def move(database: Path) -> None:
    database.rename(database.with_name("moved.db"))


def replace(database: Path) -> None:
    other = database.with_name("other.db")
    shutil.copy(database, other)
    other.rename(database)


@pytest.mark.parametrize("change", [remove, pytest.param(replace, marks=thorough)])
async def test_row_44_what_is_stored_when_the_file_goes_is_saved_and_nothing_more_is_acknowledged(
    shell: Shell, change: Callable[[Path], None]
) -> None:
    gate = Gate(let_through=3)
    async with stand_in(gate, tasks=12, duration_s=4) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        harvest = await shell.start("backfill", HARVESTER_HARVEST__CONCURRENCY="2", HARVESTER_HARVEST__LEASE_S="3")
        await until(lambda: len(gate.arrived) == 5 and shell.count("harvested") == 3)

        change(shell.database)
        gate.let(2)
        ended = await harvest.ended()

        assert ended.code == 4, ended.stderr
        assert "Nothing more is stored. All that was stored in it is in" in ended.stderr
        # Those two came, and were not taken for stored; nothing was asked for after that.
        assert len(retrieved(api)) <= 5
        assert len(gate.arrived) <= 7
        (saved,) = shell.folder.glob("harvester.db.saved-*")
        await goes_on_with(shell, saved, gate, api)


def put_in_place(saved: Path, database: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        database.with_name(database.name + ending).unlink(missing_ok=True)
    saved.rename(database)


async def goes_on_with(shell: Shell, saved: Path, gate: Gate, api: Simulator) -> None:
    """Put the copy in its place as the message says, and assert that the harvest ends with every task stored."""
    put_in_place(saved, shell.database)
    assert shell.count("harvested") == 3
    assert_stored_as_sent(shell, api)
    gate.open()
    again = await shell.run("backfill")
    assert again.code == 0, again.stderr
    assert_kept(shell, api)


async def test_row_44_the_daemon_is_not_ready_without_its_file_and_says_so_before_it_ends(shell: Shell) -> None:
    flag, page = shell.folder / "flag", shell.folder / "page"
    async with stand_in(tasks=3, duration_s=4) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        shell.sabotage(WAITING_COPY.format(flag=str(flag)))
        port = free_port()
        daemon = await shell.start("run", HARVESTER_SERVER__LISTEN=f"127.0.0.1:{port}")
        await until(lambda: shell.count("harvested") == 3)
        assert status_of(port, "readyz", page) == 200

        move(shell.database)
        await until(lambda: status_of(port, "readyz", page) == 503)
        assert "was removed or moved" in page.read_text()
        assert status_of(port, "status.json", page) == 503
        flag.touch()
        ended = await daemon.ended()

        assert ended.code == 4, ended.stderr
        logged = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
        assert any("was removed or moved" in line.get("why", "") for line in logged)


async def test_row_44_a_file_with_two_names_or_mounted_by_itself_is_refused(shell: Shell) -> None:
    async with stand_in(tasks=2, duration_s=4) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        second = shell.folder / "second.db"
        second.hardlink_to(shell.database)
        for command in (["run"], ["add", *api.catalogue.ids()], ["status"]):
            ended = await shell.run(*command, "--db", str(second))
            assert (ended.code, "has 2 names (hard links)" in ended.stderr) == (4, True), (command, ended.stderr)
        second.unlink()
        ended = await shell.run("backfill")
        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)


async def test_row_44_a_file_that_is_bound_into_another_folder_is_refused(shell: Shell) -> None:
    async with stand_in(tasks=2, duration_s=4) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        bound = shell.folder / "container" / "harvester.db"
        bound.parent.mkdir()
        bound.touch()
        with mounted(shell.database, bound, "--bind"):
            ended = await shell.run("backfill", "--db", str(bound))
        assert (ended.code, "mounted as a single file" in ended.stderr) == (4, True), ended.stderr
        assert list(bound.parent.iterdir()) == [bound]
        assert (await shell.run("backfill")).code == 0
        assert_kept(shell, api)


def free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def status_of(port: int, page: str, target: Path) -> int:
    """Return the status of a page, and keep its body in a file."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", f"/{page}")
        answer = connection.getresponse()
        target.write_bytes(answer.read())
    except OSError:
        return 0
    else:
        return answer.status
    finally:
        connection.close()


NO_SPACE = """
import os, harvester.store.sqlite.write_ahead_log as log
real = log.free_bytes
def free_bytes(database):
    return 0 if os.path.exists({flag!r}) else real(database)
log.free_bytes = free_bytes
"""


async def test_row_45_intake_pauses_before_the_space_ends_says_so_and_goes_on_by_itself(shell: Shell) -> None:
    flag, page, gate = shell.folder / "flag", shell.folder / "page", Gate(let_through=4)
    async with stand_in(gate, tasks=12, duration_s=4) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        shell.sabotage(NO_SPACE.format(flag=str(flag)))
        port = free_port()
        listen = {"HARVESTER_SERVER__LISTEN": f"127.0.0.1:{port}", "HARVESTER_HARVEST__CONCURRENCY": "2"}
        daemon = await shell.start("run", **listen)
        await until(lambda: len(gate.arrived) == 6 and shell.count("harvested") == 4)

        flag.touch()
        gate.open()
        # The results that were requested are stored, and no more are.
        await daemon.says("nothing more is asked for")
        await until(lambda: shell.count("harvested") == 6)
        await daemon.says_nothing_for(1.5)
        assert (len(gate.arrived), shell.count("harvested")) == (6, 6)
        assert status_of(port, "readyz", page) == 503
        assert json.loads(page.read_text())["conditions"].keys() == {"space"}
        assert shell.rows("SELECT count(*) FROM tasks WHERE lease_owner IS NOT NULL") == [(0,)]
        flag.unlink()
        await until(lambda: shell.count("harvested") == 12)
        daemon.signal(signal.SIGTERM)
        assert (await daemon.ended()).code == 143
        assert_kept(shell, api)


async def test_row_45_a_small_volume_that_another_program_fills_is_used_again_when_there_is_space(shell: Shell) -> None:
    volume = shell.folder / "volume"
    with small_disk(volume, 24):
        shell.database = volume / "harvester.db"
        shell.environ["HARVESTER_STORE__PATH"] = str(shell.database)
        async with stand_in(tasks=60, duration_s=60) as api:
            shell.talks_to(api.base_url)
            await shell.add(api.catalogue.ids())
            # So slow that most is still to do when the volume fills up, and too much for the log that exists by then.
            harvest = await shell.start("backfill", HARVESTER_RATE__REQUESTS_PER_MINUTE="600")
            await until(lambda: shell.count("harvested") >= 1)
            fill(volume / "other")
            await harvest.says("nothing more is asked for")
            (volume / "other").unlink()
            ended = await harvest.ended()
            assert ended.code == 0, ended.stderr
            assert_kept(shell, api)


async def test_row_45_the_log_that_grew_behind_a_reader_is_reported_and_cut_when_the_reader_has_gone(
    shell: Shell,
) -> None:
    log = shell.folder / "harvester.db-wal"
    async with stand_in(tasks=12, duration_s=1200) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        daemon = await shell.start("run", HARVESTER_SERVER__LISTEN="", HARVESTER_HARVEST__LEASE_S="3")
        with closing(sqlite3.connect(shell.database, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM tasks").fetchone()
            await until(lambda: shell.count("harvested") == 12)
            pinned = log.stat().st_size
            assert pinned > 2 * LOG_BYTES
            reported = json.loads((await shell.run("status", "--json")).stdout)["file"]
            assert reported["log_bytes"] >= pinned
            assert "of that in the write-ahead log" in (await shell.run("status")).stdout
        await until(lambda: log.stat().st_size <= LOG_BYTES)
        daemon.signal(signal.SIGTERM)
        assert (await daemon.ended()).code == 143
        assert not log.exists()
        assert_kept(shell, api)


def fill(file: Path) -> None:
    """Write to the file until the volume is full."""
    with file.open("wb", buffering=0) as full, suppress(OSError):
        while True:
            full.write(bytes(65536))
