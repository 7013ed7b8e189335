"""Run statements in one transaction."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from harvester.store.sqlite.connection import Connection

T = TypeVar("T")
C = TypeVar("C", bound=sqlite3.Connection)


def in_transaction(connection: C, body: Callable[[C], T]) -> T:
    """Run `body` between BEGIN IMMEDIATE and COMMIT; roll back on any error.

    Raises MovedFileError if the file is not at its path any more. It checks before the commit, so that the opened file
    has nothing that was not acknowledged, and after it, because only then the answer is certain.
    """
    file = connection.file if isinstance(connection, Connection) else None
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = body(connection)
        if file is not None:
            file.check(connection)
        connection.execute("COMMIT")
    except BaseException:
        # After a failed COMMIT SQLite may have rolled back by itself.
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise
    if file is not None:
        file.check(connection)
    return result
