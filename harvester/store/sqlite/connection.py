"""Open the database, and set its pragmas."""

import sqlite3
import time
from pathlib import Path
from typing import Literal

from harvester.domain.errors import NotOursError, StoreError
from harvester.store.sqlite.database_path import check_exists, check_place, create_private, is_unchanging, may_write
from harvester.store.sqlite.maintenance.file_systems import LOCAL_DISK, refuse_network
from harvester.store.sqlite.migrations import check_ours, load_migrations, migrate
from harvester.store.sqlite.opened_file import OpenedFile, refuse_second_names, refuse_strange_log
from harvester.store.sqlite.sqlite_errors import primary_code, store_error
from harvester.store.sqlite.write_ahead_log import limit_log

PAGE_SIZE_BYTES = 32768
"""Bytes. With this page size vectors of 2 KB take 1.12 times their raw bytes, and those of 4 KB 1.17 times.

With 16384 they would take 1.18 and 1.35 times; the default, 4096, doubles the file.
"""

BUSY_TIMEOUT_S = 30.0
CACHE_KIB = 16 * 1024


class Connection(sqlite3.Connection):
    """A connection that knows which file it has opened; `file` is None if it only reads."""

    file: OpenedFile | None = None


def open_for_writing(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Connection:
    """Open or create the database at the newest schema; statements wait `busy_timeout_s` for other writers.

    Only the file's owner can read it. Raises StoreError.
    """
    check_place(path)
    refuse_network(path)
    refuse_second_names(path)
    refuse_strange_log(path)
    try:
        create_private(path)
        file = OpenedFile(path)
        connection = _connect(path, "rwc")
        try:
            _prepare(connection, path, busy_timeout_s)
            file.note_log(connection)
            file.check(connection)
            connection.file = file
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if primary_code(error) == sqlite3.SQLITE_CANTOPEN and not may_write(path.resolve().parent):
            raise StoreError(
                f"The database {str(path)!a} is in a folder that can only be read.",
                remedy="Copy it to another folder, or use another file with --db or store.path.",
            ) from error
        raise store_error(path, error) from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, busy_timeout_s: float) -> None:
    """Check that the database is one of harvester's, set the pragmas, and migrate it to the newest schema."""
    # Affects an empty file only. A process that was killed while creating the file leaves a journal that empties it at
    # the next read.
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE_BYTES}")
    check_ours(connection, load_migrations())
    _set_write_pragmas(connection, path)
    migrate(connection)
    # Opening succeeds on a read-only file, and so does BEGIN IMMEDIATE: only a statement that may write fails.
    connection.execute("UPDATE schema_migrations SET version = version WHERE FALSE")
    _limit_cache(connection)
    connection.execute(f"PRAGMA busy_timeout = {round(busy_timeout_s * 1000)}")


def open_existing(path: Path) -> Connection:
    """Open for writing a database that must be there already. Raises StoreError."""
    check_exists(path)
    return open_for_writing(path)


def open_for_reading(path: Path, *, any_age: bool = False) -> Connection:
    """Open an existing database read-only; with `any_age` also at an older schema. Raises StoreError."""
    check_exists(path)
    refuse_second_names(path, reading=True)
    try:
        connection = _connect(path, "ro", is_immutable=is_unchanging(path))
        try:
            applied = check_ours(connection, load_migrations())
            if not applied:
                raise NotOursError(
                    f"The database {str(path)!a} is empty.",
                    remedy="Run `harvester migrate` or `harvester add`.",
                )
            if not any_age and max(applied) < max(migration.version for migration in load_migrations()):
                raise StoreError(f"The database {str(path)!a} has an older schema.", remedy="Run `harvester migrate`.")
            _limit_cache(connection)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise store_error(path, error) from error
    return connection


def _connect(path: Path, mode: Literal["rwc", "ro"], *, is_immutable: bool = False) -> Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}{'&immutable=1' if is_immutable else ''}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )
    # An id that is not UTF-8, inserted by another program, must not make the whole table unreadable.
    connection.text_factory = _lenient_text
    try:
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _limit_cache(connection: sqlite3.Connection) -> None:
    """Limit the cache after the first read: before it, SQLite assumes pages of 4 KB and allows four times as many."""
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def _lenient_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _set_write_pragmas(connection: sqlite3.Connection, path: Path) -> None:
    _switch_to_wal(connection, path)
    # FULL makes each commit durable, not only consistent: acknowledged commits survive a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    limit_log(connection)


def _switch_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch to WAL, and retry: SQLite fails at once if two processes switch a new file at the same time."""
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up_at:
                raise
            time.sleep(0.01)
        else:
            break
    if mode != "wal":
        # If memory cannot be shared, SQLite keeps the old journal without an error.
        raise StoreError(f"The file system of {str(path)!a} cannot hold SQLite's write-ahead log.", remedy=LOCAL_DISK)
