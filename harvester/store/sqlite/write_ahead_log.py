"""Limit the length of the write-ahead log beside the database.

SQLite copies the log into the database after a thousand pages (32 MB here), but never shortens the log's file, which
may fill a small volume. https://www.sqlite.org/wal.html, section 6.
"""

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from harvester.ports.space import LOG_BYTES, FreeSpace


def log_path(database: Path) -> Path:
    """Return the path of the log: beside the file itself, if the path is a link."""
    return Path(os.path.realpath(database) + "-wal")


def log_bytes(database: Path) -> int:
    """Return the bytes of the log, 0 without one."""
    try:
        return log_path(database).stat().st_size
    except OSError:
        return 0


def free_bytes(database: Path) -> int | None:
    """Return the bytes that this user may still write on the database's volume; None if the system does not say."""
    try:
        return shutil.disk_usage(log_path(database).parent).free
    except OSError:
        return None


def free_space(database: Path, database_bytes: int) -> FreeSpace | None:
    """Return the free and the needed bytes; `database_bytes` is the file's length after all of the log was copied.

    Needed are that copy, a log at its limit, and its copy.
    """
    free = free_bytes(database)
    if free is None:
        return None
    length = log_bytes(database)
    to_copy = max(0, database_bytes - _size(database))
    return FreeSpace(length, free, to_copy + max(0, LOG_BYTES - length) + LOG_BYTES)


def limit_log(connection: sqlite3.Connection) -> None:
    """Limit the log in bytes, whatever the size of the pages."""
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA wal_autocheckpoint = {max(1, LOG_BYTES // page_bytes)}")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")


def shrink_log(connection: sqlite3.Connection) -> bool:
    """Copy the log into the database and empty it; return False if a program reads it, or there is no room.

    It copies as much as possible in any case, and does not wait.
    """
    (patience_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        with suppress(sqlite3.Error):
            (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not is_busy
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience_ms}")
    return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
