"""The write-ahead log beside the database: how long it may become, and how it becomes short again.

SQLite counts in pages, copies the log into the database after a thousand of them (32 MB here), and keeps the file at
its longest: on a small volume that is all there is. https://www.sqlite.org/wal.html, section 6.
"""

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from harvester.ports.space import LOG_BYTES, Room


def log_path(database: Path) -> Path:
    """Return where SQLite keeps the log: beside the file itself, where the path is a link to it."""
    return Path(os.path.realpath(database) + "-wal")


def log_bytes(database: Path) -> int:
    """Return the length of the log, 0 without one."""
    try:
        return log_path(database).stat().st_size
    except OSError:
        return 0


def free_bytes(database: Path) -> int | None:
    """Return what this user may still write on the volume of the database; None where the system does not say."""
    try:
        return shutil.disk_usage(log_path(database).parent).free
    except OSError:
        return None


def room(database: Path, database_bytes: int) -> Room | None:
    """Return what room there is. `database_bytes` is how long the file is once all of the log has been copied into it.

    Needed are that copy, a log at its limit, and a copy of that.
    """
    free = free_bytes(database)
    if free is None:
        return None
    length = log_bytes(database)
    to_copy = max(0, database_bytes - _size(database))
    return Room(length, free, to_copy + max(0, LOG_BYTES - length) + LOG_BYTES)


def limit_log(connection: sqlite3.Connection) -> None:
    """Bound the log by bytes, whatever the size of the pages."""
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA wal_autocheckpoint = {max(1, LOG_BYTES // page_bytes)}")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")


def shrink_log(connection: sqlite3.Connection) -> bool:
    """Copy the log into the database and cut it to nothing; False where a program reads, or there is no room for that.

    What can be copied is copied in any case. Does not wait.
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
