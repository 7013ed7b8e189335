"""Rows 20 to 23: disk and database fail. Only what is committed counts, and the harvest says what it waits for."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.invariants import assert_kept
from tests.support.damage import NO_PRIVILEGES, corrupt_page
from tests.support.shell import Gate, Shell, stand_in, until
from tests.support.thorough import thorough

AN_ID = "66f537778d9641fe5a0d101f"

FULL_DISK = """
import os, harvester.store.sqlite.store as store
real = store.in_transaction
def in_transaction(connection, body):
    pages = connection.execute("PRAGMA page_count").fetchone()[0] if os.path.exists({flag!r}) else 1 << 30
    connection.execute(f"PRAGMA max_page_count = {{pages}}")
    return real(connection, body)
store.in_transaction = in_transaction
"""
"""While the flag is there the database may not grow: SQLite itself answers SQLITE_FULL."""

FAILING_WRITES = """
import os, resource, harvester.store.sqlite.store as store
real = store.in_transaction
def in_transaction(connection, body):
    size = os.path.getsize({database!r} + "-wal") if os.path.exists({flag!r}) else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return real(connection, body)
store.in_transaction = in_transaction
"""
"""While the flag is there the kernel refuses each write behind the end of the log: SQLite sees an I/O error."""

FAILING_SYNCS = """
import ctypes, os, platform, struct, harvester.store.sqlite.store as store
NUMBERS = {{"x86_64": (74, 75), "aarch64": (82, 83)}}[platform.machine()]  # fsync, fdatasync
LOAD, EQUALS, RETURN, ALLOW, EIO = 0x20, 0x15, 0x06, 0x7fff0000, 0x00050005
real, broken = store.in_transaction, []
def break_syncs():
    lines = [(LOAD, 0, 0, 0), (EQUALS, 1, 0, NUMBERS[0]), (EQUALS, 0, 1, NUMBERS[1]), (RETURN, 0, 0, EIO),
             (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
        os._exit(77)
    broken.append((code, program))
def in_transaction(connection, body):
    if os.path.exists({flag!r}) and not broken:
        break_syncs()
    return real(connection, body)
store.in_transaction = in_transaction
"""
"""From the moment the flag is there the kernel answers each fsync of the writing thread with EIO (a seccomp filter)."""


@pytest.mark.parametrize("sabotage", [FULL_DISK, FAILING_WRITES], ids=["row 20, disk full", "row 21, write fails"])
async def test_row_20_and_21_when_nothing_can_be_written_intake_pauses_says_so_and_goes_on_by_itself(
    shell: Shell, sabotage: str
) -> None:
    flag, gate, done, concurrency = shell.folder / "flag", Gate(let_through=4), 4, 2
    shell.environ["HARVESTER_HARVEST__CONCURRENCY"] = str(concurrency)
    async with stand_in(gate, tasks=220, duration_s=4) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        shell.sabotage(sabotage.format(flag=str(flag), database=str(shell.database)))
        harvest = await shell.start("backfill")
        await until(lambda: len(gate.arrived) == done + concurrency and shell.count("harvested") == done)

        flag.touch()
        gate.open()
        await harvest.says("cannot be written")
        # Nothing is acknowledged that is not stored, and what is under way is bounded.
        stored = shell.count("harvested")
        await harvest.says_nothing_for(1.5)
        assert stored == shell.count("harvested")
        assert len(api.requests) < 220
        assert_kept(shell, api, dict.fromkeys(set(api.catalogue.ids()) - harvested(shell), "pending"))
        flag.unlink()
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
    expected = "database or disk is full" if sabotage is FULL_DISK else "disk I/O error"
    assert f"cannot be written: {expected}; trying again" in ended.stderr


def harvested(shell: Shell) -> set[str]:
    return {task_id for task_id, state in shell.states().items() if state == "harvested"}


async def test_row_21_a_failing_fsync_is_rolled_back_and_the_next_run_completes(shell: Shell) -> None:
    flag, gate = shell.folder / "flag", Gate(let_through=4)
    async with stand_in(gate, tasks=12, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        shell.sabotage(FAILING_SYNCS.format(flag=str(flag)))
        harvest = await shell.start("backfill", HARVESTER_HARVEST__CONCURRENCY="4", HARVESTER_HARVEST__LEASE_S="3")
        await until(lambda: len(gate.arrived) == 8 and shell.count("harvested") == 4)

        flag.touch()
        gate.open()
        await harvest.says("disk I/O error; trying again")
        assert_kept(shell, api, dict.fromkeys(set(api.catalogue.ids()) - harvested(shell), "pending"))
        assert shell.count("harvested") == 4
        harvest.kill()
        await harvest.ended()

        flag.unlink()
        again = await shell.run("backfill")

        assert again.code == 0, again.stderr
        assert_kept(shell, api)


async def test_row_22_a_database_that_another_program_locks_is_waited_for(shell: Shell) -> None:
    # Thirty seconds are six of the writer's time-outs; so are these three.
    shell.sabotage("import harvester.store.sqlite.store as store\nstore.BUSY_TIMEOUT_S = 0.2\n")
    gate = Gate(let_through=4)
    async with stand_in(gate, tasks=12, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        harvest = await shell.start("backfill", HARVESTER_HARVEST__CONCURRENCY="4")
        await until(lambda: len(gate.arrived) == 8 and shell.count("harvested") == 4)

        with closing(sqlite3.connect(shell.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            gate.open()
            await harvest.says("cannot be written: database is locked; trying again")
            await harvest.says_nothing_for(1.5)
            assert shell.count("harvested") == 4
            other.execute("ROLLBACK")
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert len(api.requests) == 12


async def test_row_23_a_database_on_a_network_file_system_is_refused(shell: Shell) -> None:
    mounts = shell.folder / "mountinfo"
    mounts.write_text(f"36 22 0:99 / {shell.folder} rw - nfs4 server:/export rw\n")
    shell.sabotage(
        "import pathlib, harvester.store.sqlite.maintenance.file_systems as systems\n"
        f"systems.MOUNTINFO = pathlib.Path({str(mounts)!r})\n"
    )

    ended = await shell.run("backfill", AN_ID)

    assert (ended.code, shell.database.exists()) == (4, False)
    assert "Put the database on a local disk (--db or store.path)" in ended.stderr


COMMANDS = (
    ["add", AN_ID],
    ["backfill"],
    ["backfill", AN_ID],
    ["retry", AN_ID],
    ["status"],
    ["show", AN_ID, "--json"],
    ["verify", "--deep"],
)


def folder(path: Path) -> None:
    path.mkdir()


def text_file(path: Path) -> None:
    path.write_text("66f537778d9641fe5a0d101f\n" * 100)


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")


def newer_schema(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO schema_migrations (version, name) VALUES (999, '0999_future')")
        connection.commit()


@pytest.mark.parametrize(
    ("spoil", "begins_with_ours", "says"),
    [
        (folder, False, "is a folder. Give a file with --db or store.path."),
        (text_file, False, "is not a SQLite database. Give another file with --db or store.path."),
        (foreign_database, False, "belongs to another program (it holds 'notes'). Give another file with --db"),
        (newer_schema, True, "has schema version 999; this program knows up to"),
        (corrupt_page, True, "is damaged. Restore a backup, or save what is readable: `sqlite3 FILE '.clone new.db'`"),
    ],
)
async def test_row_23_every_command_says_what_is_wrong_with_the_database_and_leaves_it_alone(
    shell: Shell, spoil: Callable[[Path], None], *, begins_with_ours: bool, says: str
) -> None:
    if begins_with_ours:
        await shell.add([AN_ID])
    spoil(shell.database)
    before = shell.database.read_bytes() if shell.database.is_file() else b""

    commands = COMMANDS if begins_with_ours else COMMANDS[::2]
    ended = await asyncio.gather(*(shell.run(*command) for command in commands))

    for command, one in zip(commands, ended, strict=True):
        assert (command, one.code, one.stdout) == (command, 4, ""), one.stderr
        # The commands run at the same time, of which a harvest warns in its log.
        said = [line for line in one.stderr.splitlines() if '"two processes share the database"' not in line]
        assert (command, 1) == (command, len(said)), one.stderr
        assert says in said[0]
    assert before == (shell.database.read_bytes() if shell.database.is_file() else b"")


@pytest.mark.parametrize(
    "command",
    [["backfill", AN_ID], *(pytest.param(one, marks=thorough) for one in (COMMANDS[0], ["backfill"], COMMANDS[3]))],
)
async def test_row_23_a_database_that_may_only_be_read_is_named_and_left_alone(
    shell: Shell, command: list[str]
) -> None:
    await shell.add([AN_ID])
    shell.database.chmod(0o444)
    shell.sabotage(NO_PRIVILEGES)
    before = shell.database.read_bytes()

    ended = await shell.run(*command)

    expected = "The database 'harvester.db' cannot be written. Give write permission to the file and its folder, or use"
    assert (ended.code, ended.stdout) == (4, ""), ended.stderr
    assert ended.stderr == f"harvester: {expected} another file with --db or store.path.\n"
    assert before == shell.database.read_bytes()


@pytest.mark.parametrize("command", [["add", AN_ID], ["backfill", AN_ID], ["status"]])
async def test_row_23_a_folder_that_does_not_exist_is_named(shell: Shell, command: list[str]) -> None:
    ended = await shell.run(*command, "--db", "absent/harvester.db")

    expected = "The folder of the database 'absent/harvester.db' does not exist. Create it, or give another --db."
    assert (ended.code, ended.stderr) == (4, f"harvester: {expected}\n")


async def test_a_vector_that_was_changed_on_disk_is_found_by_a_deep_check(shell: Shell) -> None:
    async with stand_in(tasks=1) as api:
        shell.talks_to(api.base_url)
        await shell.run("backfill", *api.catalogue.ids())
        with closing(sqlite3.connect(shell.database)) as connection:
            connection.execute("UPDATE embeddings SET vector = zeroblob(length(vector)) WHERE position = 3")
            connection.commit()

        shallow = await shell.run("verify")
        deep = await shell.run("verify", "--deep")

        assert (shallow.code, deep.code) == (0, 1)
        assert (
            f"error: {api.catalogue.ids()[0]}: the vectors are not those that were received (checksum)" in deep.stdout
        )
