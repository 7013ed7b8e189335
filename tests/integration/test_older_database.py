"""A database that the program of commit 455a68a wrote is upgraded and verified, with all that it holds.

`older_database.db.gz` was written by that program, the last one before its modules moved into packages: one task by
`backfill` and one by `discover` with the stand-in, the others by its store, with the answers of `builders.settlement`.
"""

import gzip
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.shell import Shell

SAVED = gzip.decompress(Path(__file__).with_name("older_database.db.gz").read_bytes())

REJECTED = "68e778000000000000000003"
"""Its kept body is a result that this program understands."""

STATES = {
    "6b0d78a39d797c290a7f3114": "harvested",
    "68e778000000000000000001": "harvested",
    "68e778000000000000000002": "harvested",
    "6b0d78a69d797c290a7f3113": "ready",
    REJECTED: "rejected",
    "68e778000000000000000004": "failed",
    "68e778000000000000000005": "missing",
    "68e778000000000000000006": "pending",
    "68e778000000000000000007": "pending",
    "68e778000000000000000008": "pending",
    "68e778000000000000000009": "pending",
}

DOCUMENTS = {
    "6b0d78a39d797c290a7f3114": "1711838137af872a1cc323f89f092c16a012e1c2dde7071eab74723a0cc1804f",
    "68e778000000000000000001": "611b218a8b0f34e38d2a09806fd71b625841b637610599ae9acea0c12c52d0be",
    "68e778000000000000000002": "83d7f4c0ccb3b7c6fe98b5e8d936b5a77f7f6cdef32903cdde49a57a0e39a67e",
}
"""SHA-256 of what `show --json` of that program wrote. The second task's numbers are no 32-bit floats."""


@pytest.fixture
async def upgraded(shell: Shell) -> Shell:
    shell.database.write_bytes(SAVED)
    migrated = await shell.run("migrate")
    assert migrated.code == 0, migrated.stderr
    return shell


def rows_of(path: Path, columns: dict[str, str]) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT {names} FROM {table} ORDER BY {names}").fetchall()
            for table, names in columns.items()
        }


def columns_of(path: Path) -> dict[str, str]:
    """Return the columns of each table but the list of migrations, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return {
            table: ", ".join(
                column
                for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")
                # Its form is another one now.
                if column != "content_blake2b"
            )
            for (table,) in tables.fetchall()
            if table != "schema_migrations"
        }


async def test_every_row_is_there(upgraded: Shell, tmp_path: Path) -> None:
    before = tmp_path / "before.db"
    before.write_bytes(SAVED)
    columns = columns_of(before)

    assert rows_of(upgraded.database, columns) == rows_of(before, columns)
    assert upgraded.states() == STATES


async def test_results_have_the_columns_of_this_program(upgraded: Shell) -> None:
    columns = "model_name, model_source, input_type, content_form, is_checked"

    assert set(upgraded.rows(f"SELECT {columns} FROM videos")) == {("marengo3.0", "answer", "video", 2, 1)}
    assert "older version" not in (await upgraded.run("verify")).stdout


async def test_it_is_sound_and_gives_back_the_same_documents(upgraded: Shell) -> None:
    verified = await upgraded.run("verify", "--deep")
    shown = {task_id: await upgraded.run("show", task_id, "--json") for task_id in DOCUMENTS}

    assert verified.code == 0, verified.stdout
    assert {task_id: hashlib.sha256(one.stdout.encode()).hexdigest() for task_id, one in shown.items()} == DOCUMENTS


async def test_the_kept_body_is_harvested(upgraded: Shell) -> None:
    again = await upgraded.run("retry", "--from-kept", REJECTED)
    verified = await upgraded.run("verify", "--deep")

    assert (again.code, again.stderr) == (0, "1 task harvested from kept bodies, 0 not.\n")
    assert verified.code == 0, verified.stdout
    assert upgraded.states() == STATES | {REJECTED: "harvested"}
