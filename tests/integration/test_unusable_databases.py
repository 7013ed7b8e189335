"""A database that cannot be used ends every command with 4, says what to do, and stays as it is."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.shell import Shell, stand_in

AN_ID = "66f537778d9641fe5a0d101f"
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


def corrupt_page(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


@pytest.mark.parametrize(
    ("spoil", "begins_with_ours", "says"),
    [
        (folder, False, "is a folder. Give a file with --db or store.path."),
        (text_file, False, "is not a SQLite database. Give another file with --db or store.path."),
        (foreign_database, False, "belongs to another program (it holds 'notes'). Give another file with --db"),
        (newer_schema, True, "has schema version 999; this program knows up to"),
        (corrupt_page, True, "is damaged. Restore a backup, or save what is readable with `sqlite3 FILE .recover`."),
    ],
)
async def test_every_command_says_what_is_wrong_with_the_database_and_leaves_it_alone(
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
        assert (command, 1) == (command, len(one.stderr.splitlines())), one.stderr
        assert says in one.stderr
    assert before == (shell.database.read_bytes() if shell.database.is_file() else b"")


@pytest.mark.parametrize("command", [["add", AN_ID], ["backfill", AN_ID], ["status"]])
async def test_a_folder_that_does_not_exist_is_named(shell: Shell, command: list[str]) -> None:
    ended = await shell.run(*command, "--db", "absent/harvester.db")

    expected = "The folder of the database 'absent/harvester.db' does not exist. Create it, or give another --db."
    assert (ended.code, ended.stderr) == (4, f"harvester: {expected}\n")


async def test_a_vector_that_was_changed_on_disk_is_found_by_a_deep_look(shell: Shell) -> None:
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
