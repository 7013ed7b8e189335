import itertools
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.errors import NewerSchemaError
from harvester.store.sqlite.connection import open_for_reading, open_for_writing
from harvester.store.sqlite.migrations import (
    APPLICATION_ID,
    Migration,
    applied_versions,
    check_ours,
    load_migrations,
    migrate,
    statements,
)
from tests.support.store_builders import add_tasks, contents, object_id, schema

NEWEST = max(migration.version for migration in load_migrations())

GOOD = "ALTER TABLE tasks ADD COLUMN note TEXT;\nCREATE TABLE notes (id INTEGER PRIMARY KEY) STRICT;\n"
BAD = GOOD + "INSERT INTO notes VALUES (1);\nINSERT INTO no_such_table VALUES (1);\n"


def pragma(connection: sqlite3.Connection, name: str) -> int | str:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    assert isinstance(value, int | str)
    return value


def with_next(sql: str) -> list[Migration]:
    return [*load_migrations(), Migration(NEWEST + 1, "next", sql)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page_size", 32768),
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("application_id", APPLICATION_ID),
        ("encoding", "UTF-8"),
        ("integrity_check", "ok"),
    ],
)
def test_a_new_database_is_set_up_as_designed(connection: sqlite3.Connection, name: str, value: int | str) -> None:
    assert pragma(connection, name) == value


def test_a_new_database_has_every_migration_on_record(connection: sqlite3.Connection) -> None:
    assert applied_versions(connection) == {migration.version for migration in load_migrations()}


def test_only_the_owner_may_read_the_files(connection: sqlite3.Connection, path: Path) -> None:
    add_tasks(connection, object_id(1))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"harvester.db": 0o600, "harvester.db-shm": 0o600, "harvester.db-wal": 0o600}


def test_a_file_created_through_a_link_is_as_private(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(path)
    open_for_writing(tmp_path / "link.db").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_file_is_as_good_as_none(path: Path) -> None:
    path.touch()
    with closing(open_for_writing(path)) as connection:
        assert (pragma(connection, "page_size"), pragma(connection, "application_id")) == (32768, APPLICATION_ID)


def test_a_path_with_the_signs_of_a_uri_is_taken_literally(tmp_path: Path) -> None:
    path = tmp_path / "50% of #1? ümlaut.db"
    open_for_writing(path).close()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    open_for_reading(path).close()


def test_opening_again_changes_nothing(path: Path) -> None:
    with closing(open_for_writing(path)) as connection:
        add_tasks(connection, object_id(1))
    before = path.read_bytes()
    open_for_writing(path).close()
    assert path.read_bytes() == before


def test_migrating_again_applies_nothing(connection: sqlite3.Connection) -> None:
    before = schema(connection), contents(connection)
    assert migrate(connection) == []
    assert (schema(connection), contents(connection)) == before


def test_a_new_migration_is_applied_once_and_keeps_the_rows(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(1))
    known = with_next(GOOD)
    assert [migration.version for migration in migrate(connection, known)] == [NEWEST + 1]
    assert migrate(connection, known) == []
    assert connection.execute("SELECT task_id, note FROM tasks").fetchall() == [(object_id(1), None)]


def test_a_migration_that_fails_leaves_the_old_schema(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(1))
    before = schema(connection), contents(connection), applied_versions(connection)
    with pytest.raises(sqlite3.OperationalError, match="no_such_table"):
        migrate(connection, with_next(BAD))
    assert (schema(connection), contents(connection), applied_versions(connection)) == before
    assert not connection.in_transaction


def test_a_migration_that_failed_can_be_repaired_and_applied(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, with_next(BAD))
    migrate(connection, with_next(GOOD))
    assert applied_versions(connection) == {migration.version for migration in with_next(GOOD)}


@pytest.mark.parametrize("moment", range(1, 7))
def test_a_database_that_another_process_creates_between_two_checks_is_accepted(path: Path, moment: int) -> None:
    checks = itertools.count(1)

    def create_in_between(_sql: str) -> None:
        if next(checks) == moment:
            open_for_writing(path).close()

    with closing(sqlite3.connect(path)) as connection:
        connection.set_trace_callback(create_in_between)
        assert check_ours(connection, load_migrations()) in (
            set(),
            {migration.version for migration in load_migrations()},
        )


def record_a_newer_version(path: Path) -> None:
    with closing(open_for_writing(path)) as connection:
        migrate(connection, with_next(GOOD))


@pytest.mark.parametrize("opened", [open_for_writing, open_for_reading])
def test_a_newer_schema_is_refused_with_both_versions(path: Path, opened: Callable[[Path], sqlite3.Connection]) -> None:
    record_a_newer_version(path)
    before = path.read_bytes()
    with pytest.raises(NewerSchemaError) as refusal:
        opened(path)
    assert refusal.value.sentence == (
        f"The database {str(path)!r} has schema version {NEWEST + 1}; this program knows up to {NEWEST}."
    )
    assert (refusal.value.exit_code, path.read_bytes()) == (4, before)


def test_triggers_keep_their_semicolons() -> None:
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  DELETE FROM b;\n  DELETE FROM c;\nEND;\n"
    first, last = "-- One; two.\nCREATE TABLE a (x);\n", "CREATE TABLE b (x) -- no semicolon"
    assert list(statements(first + trigger + last)) == [first, trigger, last]


@given(st.lists(st.sampled_from(["CREATE TABLE a (x);", "-- a; b", "'", "';'", "/* ; */", "BEGIN", "\n", " ", "END;"])))
def test_splitting_loses_no_character(parts: list[str]) -> None:
    sql = "".join(parts)
    assert "".join(statements(sql)).rstrip() == sql.rstrip()


def test_the_denials_of_an_older_program_begin_anew_because_it_did_not_record_whose_they_are(path: Path) -> None:
    older = [one for one in load_migrations() if one.version < 13]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, older)
        connection.execute("INSERT INTO tasks (task_id, gone, api_version) VALUES ('a', 3, NULL), ('b', 2, 'v2')")
        migrate(connection)
        rows = connection.execute("SELECT task_id, gone, api_version, denied_by FROM tasks ORDER BY id").fetchall()
    assert rows == [("a", 0, None, None), ("b", 2, "v2", None)]
