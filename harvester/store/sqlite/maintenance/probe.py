"""Check in limited time whether the database can be written now."""

import sqlite3
from contextlib import closing
from pathlib import Path

from harvester.store.sqlite.sqlite_errors import primary_code, store_error

TIMEOUT_S = 5.0
"""Seconds: longer than any transaction of this program, shorter than the time-out of a health check."""


def why_not_writable(path: Path, timeout_s: float = TIMEOUT_S) -> str | None:
    """Return a sentence that says why the database cannot be written, None if it can. Writes nothing."""
    try:
        # Use a separate connection, because the writer's may be waiting for the same lock.
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout_s, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            # A read-only file refuses only a statement that may write.
            connection.execute("UPDATE schema_migrations SET version = version WHERE FALSE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_BUSY:
            return f"The database has been locked by another program for {timeout_s:.0f} s."
        return store_error(path, error).sentence
    return None
