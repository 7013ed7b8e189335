"""Migrate a database to the schema of this program by SQL files; each commits together with its record."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harvester.domain.errors import NewerSchemaError, NotOursError

APPLICATION_ID = 0x48525653
"""`HRVS` in the file's header marks the database as the harvester's."""

RECORDS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file; `version` is the number that its name begins with."""

    version: int
    name: str
    sql: str


def migrations_folder() -> Path:
    """Return where the SQL files are: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "migrations" / "sqlite"
    return installed if installed.is_dir() else package.parent / "migrations" / "sqlite"


def load_migrations(folder: Path | None = None) -> list[Migration]:
    """Return the migrations in order of version."""
    files = sorted((folder or migrations_folder()).glob("[0-9]*.sql"))
    return [Migration(int(file.name.split("_")[0]), file.stem, file.read_text("utf-8")) for file in files]


def statements(sql: str) -> Iterator[str]:
    """Split a script where SQLite says that a statement is complete, because triggers contain semicolons."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        yield pending


def applied_versions(connection: sqlite3.Connection) -> set[int]:
    """Return the versions that the database records; empty for a new file."""
    has_records = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'"
    ).fetchone()
    if not has_records:
        return set()
    return {version for (version,) in connection.execute("SELECT version FROM schema_migrations")}


def check_ours(connection: sqlite3.Connection, migrations: list[Migration]) -> set[int]:
    """Return the applied versions, or raise NotOursError or NewerSchemaError; changes nothing."""
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    # Read in this order, because another process may be creating the same database and commits both together.
    found = connection.execute("SELECT name FROM sqlite_schema LIMIT 1").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if found and application_id != APPLICATION_ID and not (application_id == 0 and _is_copy(connection, migrations)):
        raise NotOursError(
            f"The database {path!a} belongs to another program (it holds {found[0]!a}).",
            remedy="Give another file with --db or store.path.",
        )
    # Only after that check, because other migration tools have a table of the same name.
    applied = applied_versions(connection)
    newest = max((migration.version for migration in migrations), default=0)
    if applied and max(applied) > newest:
        raise NewerSchemaError(
            f"The database {path!a} has schema version {max(applied)}; this program knows up to {newest}.",
            remedy="Upgrade harvester, or use the version that wrote it.",
        )
    return applied


def _is_copy(connection: sqlite3.Connection, migrations: list[Migration]) -> bool:
    """Return whether it is our database without the mark: `.dump`, `.recover` and `.clone` do not copy the mark."""
    # The schema to compare with is made by the migrations of this module.
    from harvester.store.sqlite.schema import has_our_objects  # noqa: PLC0415

    names = {migration.version: migration.name for migration in migrations}
    try:
        records = connection.execute("SELECT version, name FROM schema_migrations").fetchall()
    except sqlite3.OperationalError:
        # Other migration tools have a table of the same name, with other columns.
        return False
    known = {version: name for version, name in records if version in names}
    return known.items() <= names.items() and 1 in known and has_our_objects(connection, known)


def mark(connection: sqlite3.Connection) -> None:
    """Write the mark into the header of a copy that has lost it."""
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def migrate(connection: sqlite3.Connection, migrations: list[Migration] | None = None) -> list[Migration]:
    """Apply the missing migrations and return them. A process that is killed meanwhile leaves the old schema.

    `connection` must be in autocommit mode (`isolation_level=None`).
    """
    known = load_migrations() if migrations is None else migrations
    if {migration.version for migration in known} <= check_ours(connection, known):
        mark(connection)
        return []
    return [migration for migration in known if _apply(connection, migration, known)]


def _apply(connection: sqlite3.Connection, migration: Migration, known: list[Migration]) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Check again under the write lock, because another process may have just applied it.
        if migration.version in check_ours(connection, known):
            connection.execute("ROLLBACK")
            return False
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(RECORDS)
        for statement in statements(migration.sql):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO schema_migrations (version, name) VALUES (?, ?)", (migration.version, migration.name)
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return True
