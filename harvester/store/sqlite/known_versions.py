"""Read which API versions know the newest tasks."""

import sqlite3

from harvester.domain.planning.known_versions import MAX_KNOWN
from harvester.domain.tasks.task import RETENTION_MS, ApiVersion
from harvester.store.sqlite.queries import query


def known_versions(connection: sqlite3.Connection) -> list[tuple[int, ApiVersion]]:
    """Return the creation time (Unix milliseconds) and version of each of the last queued tasks that an answer named.

    The newest is last. Older tasks are left out, because to look for them would read the whole table.
    """
    rows = connection.execute(query("known_versions"), {"limit": MAX_KNOWN, "retention": RETENTION_MS}).fetchall()
    return [(created_ms, version) for created_ms, version in reversed(rows)]
