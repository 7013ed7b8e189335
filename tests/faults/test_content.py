"""Rows 46 to 49: data read back equals the data received, or the program reports the difference."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Fault
from tests.faults.invariants import assert_kept, said_about
from tests.support.damage import NO_PRIVILEGES
from tests.support.shell import Shell, stand_in, until
from tests.support.thorough import thorough

DAMAGES = (
    "UPDATE segments SET embedding_option = 'visuam' WHERE position = 1 AND task = 1",
    "UPDATE segments SET end_offset_sec = end_offset_sec + 2 WHERE position = 0 AND task = 2",
    "UPDATE videos SET document = replace(document, 'marengo3.0', 'marengo2.0') WHERE task = 3",
)
"""Each changes a value as one flipped bit does."""

NO_FLOAT = {
    "underflow": "segments[0].float[0]: a number too small for a floating-point number.",
    "integer_between_floats": "segments[0].float[0]: an integer that no floating-point number equals.",
}


async def given_back(shell: Shell, task_id: str) -> Any:
    """Return what `show --json` prints, every number as a Decimal."""
    shown = await shell.run("show", task_id, "--json")
    assert shown.code == 0, shown.stderr
    return json.loads(shown.stdout, parse_float=Decimal, parse_int=Decimal)


def change(shell: Shell, *statements: str) -> None:
    """Change the database as any other program may."""
    with closing(sqlite3.connect(shell.database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def test_row_46_damage_outside_of_the_vectors_is_found_and_repaired(shell: Shell) -> None:
    async with stand_in(tasks=5, duration_s=12) as api:
        shell.talks_to(api.base_url)
        assert (await shell.run("backfill", *api.catalogue.ids())).code == 0
        damaged = {task_id for (task_id,) in shell.rows("SELECT task_id FROM tasks WHERE id IN (1, 2, 3)")}
        change(shell, *DAMAGES)

        found = await shell.run("verify", "--deep", "--json")

        assert found.code == 1
        assert {one["task_id"] for one in json.loads(found.stdout)["findings"]} == damaged
        repaired = await shell.run("verify", "--deep", "--repair")
        assert repaired.code == 0, repaired.stdout
        assert {task_id for task_id, state in shell.states().items() if state == "pending"} == damaged
        assert (await shell.run("backfill")).code == 0
        assert_kept(shell, api)


async def test_row_46_what_an_older_version_stored_gets_its_checksum(shell: Shell) -> None:
    async with stand_in(tasks=3, duration_s=12) as api:
        shell.talks_to(api.base_url)
        assert (await shell.run("backfill", *api.catalogue.ids())).code == 0
        change(shell, "UPDATE videos SET content_blake2b = NULL, content_form = 1")
        assert "3 of an older version" in (await shell.run("verify")).stdout

        migrated = await shell.run("migrate")

        assert (
            "3 tasks of an older version: columns filled in, checksum computed, missing parts noted." in migrated.stderr
        )
        change(shell, DAMAGES[0])
        assert (await shell.run("verify", "--deep")).code == 1


def dumped(source: Path, copy: Path) -> None:
    """Copy as `sqlite3 FILE .dump | sqlite3 COPY` does, which leaves out the mark in the header."""
    with closing(sqlite3.connect(source)) as connection, closing(sqlite3.connect(copy)) as new:
        new.executescript("\n".join(connection.iterdump()))


def vacuumed(source: Path, copy: Path) -> None:
    """Copy with `VACUUM INTO`."""
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))


def with_its_log(source: Path, copy: Path) -> None:
    """Copy the file and its log while another connection keeps the log from being emptied, as `cp` does."""
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("UPDATE tasks SET added_at = added_at")
        connection.commit()
        shutil.copy(source, copy)
        shutil.copy(f"{source}-wal", f"{copy}-wal")


@pytest.mark.parametrize(
    "make",
    [dumped, *(pytest.param(make, marks=thorough) for make in (vacuumed, with_its_log))],
    ids=lambda make: make.__name__,
)
async def test_row_47_a_copy_made_with_common_tools_is_recognised_and_used(
    shell: Shell, make: Callable[[Path, Path], None]
) -> None:
    async with stand_in(tasks=3, duration_s=12) as api:
        shell.talks_to(api.base_url)
        assert (await shell.run("backfill", *api.catalogue.ids()[:2])).code == 0
        make(shell.database, shell.folder / "copy.db")
        shell.database = shell.folder / "copy.db"

        read = await shell.run("verify", "--deep", "--db", "copy.db")
        written = await shell.run("backfill", *api.catalogue.ids(), "--db", "copy.db")

        assert (read.code, written.code) == (0, 0), read.stderr + written.stderr
        assert_kept(shell, api)
        assert shell.rows("PRAGMA application_id") == [(0x48525653,)]


async def test_row_47_from_a_place_that_may_only_be_read_is_read_and_nothing_else(shell: Shell) -> None:
    async with stand_in(tasks=2, duration_s=12) as api:
        shell.talks_to(api.base_url)
        assert (await shell.run("backfill", *api.catalogue.ids())).code == 0
    place = shell.folder / "place"
    place.mkdir()
    there = shutil.copy(shell.database, place / "h.db")
    place.chmod(0o555)
    shell.sabotage(NO_PRIVILEGES)
    a_task = api.catalogue.ids()[0]
    try:
        for command in (
            ["status"],
            ["show", a_task, "--json"],
            ["verify", "--deep"],
            ["backup", "b.db"],
        ):
            read = await shell.run(*command, "--db", str(there))
            assert read.code == 0, read.stderr
        refused = await shell.run("add", "x", "--db", str(there))
        assert (refused.code, "cannot be written" in refused.stderr) == (4, True), refused.stderr
        assert [file.name for file in place.iterdir()] == ["h.db"]
    finally:
        place.chmod(0o755)
    assert (shell.folder / "b.db").exists()


async def test_row_47_a_log_that_cannot_be_read_there_is_named_and_not_left_out(shell: Shell) -> None:
    await shell.add(["a"])
    place = shell.folder / "place"
    place.mkdir()
    with_its_log(shell.database, place / "h.db")
    place.chmod(0o555)
    shell.sabotage(NO_PRIVILEGES)
    try:
        refused = await shell.run("status", "--db", str(place / "h.db"))
    finally:
        place.chmod(0o755)
    assert refused.code == 4
    assert "has a write-ahead log with what was stored last" in refused.stderr


async def test_row_47_the_database_of_another_program_is_not_taken_for_a_copy(shell: Shell) -> None:
    change(
        shell,
        "CREATE TABLE schema_migrations (version INTEGER, name TEXT)",
        "INSERT INTO schema_migrations VALUES (1, '0001_tasks_and_embeddings')",
        "CREATE TABLE tasks (id INTEGER, task_id TEXT)",
    )
    assert "belongs to another program" in (await shell.run("add", "a")).stderr


AUDIT = (
    "CREATE TABLE audit (what TEXT, id INTEGER PRIMARY KEY)",
    "CREATE TRIGGER added AFTER INSERT ON tasks BEGIN INSERT INTO audit (what) VALUES (NEW.task_id), ('again'); END",
    "CREATE TRIGGER changed AFTER UPDATE ON tasks BEGIN INSERT INTO audit (what) VALUES (NEW.state); END",
    "CREATE TRIGGER stored AFTER INSERT ON embeddings BEGIN INSERT INTO audit (what) VALUES (NEW.position); END",
    "ALTER TABLE tasks ADD COLUMN note TEXT NOT NULL DEFAULT 'mine'",
    "CREATE INDEX mine ON tasks (note, state)",
)


async def test_row_48_counts_are_right_beside_tables_and_triggers_of_others(shell: Shell) -> None:
    async with stand_in(tasks=4, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids()[:1])
        change(shell, *AUDIT)

        added = await shell.run("add", *api.catalogue.ids())

        assert "3 new, 1 known" in added.stderr
        assert (await shell.run("backfill")).code == 0
        assert_kept(shell, api)
        change(shell, "INSERT INTO tasks (task_id, state, ended_at) VALUES ('x', 'failed', 1), ('y', 'failed', 1)")
        assert "2 tasks" in (await shell.run("retry", "--state", "failed")).stderr


REFUSING = {
    "a row in part": "CREATE TRIGGER foreign_one AFTER INSERT ON embeddings WHEN NEW.position = 1"
    " BEGIN SELECT RAISE(FAIL, 'not on Mondays'); END",
    "a vector, silently": "CREATE TRIGGER foreign_one BEFORE INSERT ON embeddings WHEN NEW.position = 1"
    " BEGIN SELECT RAISE(IGNORE); END",
}


@pytest.mark.parametrize(
    "trigger",
    [
        pytest.param(trigger, id=name, marks=() if number == 0 else thorough)
        for number, (name, trigger) in enumerate(REFUSING.items())
    ],
)
async def test_row_48_a_trigger_that_refuses_is_named_and_nothing_is_lost(shell: Shell, trigger: str) -> None:
    async with stand_in(tasks=2, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        change(shell, trigger)

        refused = await shell.run("backfill")

        assert refused.code == 4, refused.stderr
        assert ("rigger of another program" in refused.stderr, "harvested" in shell.states().values()) == (True, False)
        assert ("IGNORE" in trigger) != ("not on Mondays" in refused.stderr)
        change(shell, "DROP TRIGGER foreign_one")
        assert (await shell.run("backfill")).code == 0
        assert_kept(shell, api)


async def test_row_48_a_row_that_a_trigger_drops_is_not_called_known(shell: Shell) -> None:
    await shell.add(["a"])
    change(shell, "CREATE TRIGGER t BEFORE INSERT ON tasks WHEN NEW.task_id = 'b' BEGIN SELECT RAISE(IGNORE); END")

    added = await shell.run("add", "a", "b", "c")

    assert (added.code, "has dropped the row of the task b" in added.stderr) == (4, True), added.stderr
    assert shell.states() == {"a": "pending"}


async def test_row_48_a_shell_that_waits_inserts_beside_a_harvest(shell: Shell) -> None:
    async with stand_in(tasks=12, duration_s=120) as api:
        shell.talks_to(api.base_url)
        running = await shell.start("backfill", *api.catalogue.ids())
        await until(lambda: len(api.requests) > 0)
        statement = "INSERT INTO tasks (task_id, state, ended_at) VALUES (?, 'failed', 1)"
        for number in range(20):
            with closing(sqlite3.connect(shell.database, timeout=60)) as connection, connection:
                connection.execute(statement, (f"x{number}",))
        assert (await running.ended()).code == 0
        harvested = [state for task_id, state in shell.states().items() if not task_id.startswith("x")]
        assert (harvested, shell.count("failed")) == (["harvested"] * 12, 20)


@pytest.mark.parametrize(
    "duration_s",
    [pytest.param(12, id="decoded in place", marks=thorough), pytest.param(120, id="decoded in a worker")],
)
async def test_row_49_numbers_that_no_float_gives_back_are_given_back_as_they_were_sent(
    shell: Shell, duration_s: float
) -> None:
    async with stand_in(tasks=3, duration_s=duration_s) as api:
        api.faults.add(Fault(kind="exact_numbers"))
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        video = (await given_back(shell, api.catalogue.ids()[0]))["video_embedding"]
        numbers = [str(video["metadata"][name]) for name in ("checksum", "gain", "rate")]
        assert numbers == ["123456789012345678901234567890", "1E-400", "0.1234567890123456789"]
        assert video["segments"][0]["frame_hash"] == 2**128 - 1


async def test_row_49_a_number_of_a_vector_that_is_near_no_float_is_refused_with_the_reason(shell: Shell) -> None:
    async with stand_in(tasks=5, duration_s=12) as api:
        shell.talks_to(api.base_url)
        hit = dict(zip(api.catalogue.ids(), NO_FLOAT, strict=False))
        for task_id, kind in hit.items():
            api.faults.add(Fault(kind=kind, tasks=(task_id,), times=1))

        ended = await shell.run("backfill", *api.catalogue.ids(), "--no-wait")

        assert ended.code == 1, ended.stderr
        assert_kept(shell, api, {task_id: shell.states()[task_id] for task_id in hit})
        reported = {task_id: said_about(shell, task_id)[0] for task_id in hit}
        assert {task_id: ("segments_invalid", NO_FLOAT[kind]) for task_id, kind in hit.items()} == reported
        assert "harvested" not in {shell.states()[task_id] for task_id in hit}
