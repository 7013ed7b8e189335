"""Migrations in real processes: killed at each statement, and several at once."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.migrations import load_migrations, migrate, migrations_folder
from tests.support.killed_migrations import open_killed_at, statements
from tests.support.store_builders import contents, insert_like_another_program, object_id, schema
from tests.support.thorough import thorough

OPENS_ON_DEMAND = """
import sys
from pathlib import Path
from harvester.store.sqlite.connection import open_for_writing

for line in sys.stdin:
    try:
        open_for_writing(Path(line.rstrip("\\n"))).close()
        print("opened", flush=True)
    except Exception as error:
        print(f"{error!r} {error.__cause__!r}", flush=True)
"""

KILLED_CREATING = """
import os, signal, sqlite3, sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("CREATE TABLE spilled (x)")
for _ in range(50):
    connection.execute("INSERT INTO spilled VALUES (zeroblob(9000))")
os.kill(os.getpid(), signal.SIGKILL)
"""

SECOND = """
ALTER TABLE tasks ADD COLUMN note TEXT;
CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT) STRICT;
CREATE TRIGGER noted AFTER INSERT ON notes BEGIN
    UPDATE tasks SET note = new.text;
    DELETE FROM notes;
END;
INSERT INTO notes (text) VALUES ('migrated');
CREATE INDEX notes_by_text ON notes (text);
DROP TRIGGER noted;
"""

OPENERS = 3
NAME = "harvester.db"


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """The real ones and another."""
    folder = copytree(migrations_folder(), tmp_path / "migrations")
    (folder / "9999_second.sql").write_text(SECOND)
    return folder


def template(folder: Path, *, is_new: bool) -> Path:
    """An empty folder, or one with a database that lacks the newest of the real migrations and holds a task."""
    made = folder / "template"
    made.mkdir()
    if not is_new:
        older = copytree(migrations_folder(), folder / "older migrations")
        max(older.glob("*.sql")).unlink()
        assert open_killed_at(0, made / NAME, older) == 0
        insert_like_another_program(made / NAME, "INSERT INTO tasks (task_id) VALUES (?)", [object_id(1)])
    return made


def schema_of(path: Path) -> list[Any]:
    """Return what a client without the program finds."""
    with closing(sqlite3.connect(path)) as connection:
        return schema(connection)


def possible_schemas(folder: Path, migrations: Path) -> list[list[Any]]:
    """The schemas before, between and after the migrations."""
    schemas: list[list[Any]] = [[]]
    with closing(sqlite3.connect(folder / "step by step.db", isolation_level=None)) as connection:
        for migration in load_migrations(migrations):
            migrate(connection, [migration])
            schemas.append(schema(connection))
    return schemas


def state(path: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            "schema": schema(connection),
            "rows": contents(connection),
            "page_size": connection.execute("PRAGMA page_size").fetchall(),
            "integrity": connection.execute("PRAGMA integrity_check").fetchall(),
        }


@pytest.mark.parametrize(
    "is_new",
    [pytest.param(True, id="all migrations", marks=thorough), pytest.param(False, id="the newest two")],
)
def test_killed_at_any_statement_the_old_schema_is_left_and_the_next_start_completes(
    tmp_path: Path, migrations: Path, *, is_new: bool
) -> None:
    before = template(tmp_path, is_new=is_new)
    undisturbed = copytree(before, tmp_path / "undisturbed") / NAME
    statement_count, fatal_ones = statements(undisturbed, migrations)
    possible = possible_schemas(tmp_path, migrations)

    def kill_and_start_again(fatal: int) -> tuple[int, bool, int, dict[str, Any]]:
        path = copytree(before, tmp_path / f"killed {fatal}") / NAME
        killed = open_killed_at(fatal, path, migrations)
        # Checked in a copy, because opening the file repairs it.
        left = copytree(path.parent, tmp_path / f"left {fatal}") / NAME
        is_whole = schema_of(left) in possible
        return killed, is_whole, open_killed_at(0, path, migrations), state(path)

    results = [kill_and_start_again(fatal) for fatal in fatal_ones]
    assert statement_count > 25
    assert len(fatal_ones) > 5
    assert results == [(-signal.SIGKILL, True, 0, state(undisturbed))] * len(fatal_ones)


def test_processes_that_create_a_database_at_the_same_time_all_succeed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENS_ON_DEMAND]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(OPENERS)
    ]
    paths = [tmp_path / f"{number}.db" for number in range(30)]
    answers = []
    try:
        for path in paths:
            for process in processes:
                assert process.stdin
                process.stdin.write(f"{path}\n")
                process.stdin.flush()
            answers += [process.stdout.readline() for process in processes if process.stdout]
    finally:
        for process in processes:
            process.communicate()
    with closing(open_for_writing(tmp_path / "alone.db")) as alone:
        expected = schema(alone)
    assert answers == ["opened\n"] * (OPENERS * len(paths))
    assert [schema_of(path) for path in paths] == [expected] * len(paths)


def test_a_file_that_a_killed_process_left_with_a_hot_journal_gets_the_right_page_size(path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_CREATING, str(path)], check=False)
    assert (path.stat().st_size > 0, path.with_name(path.name + "-journal").exists()) == (True, True)
    with closing(open_for_writing(path)) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (32768,)
