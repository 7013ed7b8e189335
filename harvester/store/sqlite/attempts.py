"""Store one row for each request about a task: together they are the task's history."""

import sqlite3
from collections.abc import Sequence

from harvester.domain.tasks.records import Attempt
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.row_batches import write_rows

MAX_RECENT = 500


def insert_attempts(connection: sqlite3.Connection, attempts: Sequence[tuple[int, Attempt]]) -> None:
    """Store attempts, each with the row id of its task."""
    rows = [
        (
            *(task, one.at_ms, one.endpoint, one.http_status, one.outcome),
            *(one.code, one.message, one.trace_id, one.bytes, one.duration_ms),
        )
        for task, one in attempts
    ]
    write_rows(connection, "insert_attempt", rows)


def recent_answers(connection: sqlite3.Connection, since_ms: int, now_ms: int) -> list[tuple[int, str]]:
    """Return task row ids and outcomes of the last requests since `since_ms` (Unix ms), the oldest first."""
    parameters = {"since": since_ms, "now": now_ms, "limit": MAX_RECENT}
    return [(task, outcome) for task, outcome in connection.execute(query("recent_attempts"), parameters)][::-1]


def is_heard_since(connection: sqlite3.Connection, since_ms: int, now_ms: int) -> bool:
    """Return whether one of the last requests since `since_ms` (Unix ms) has had an answer of the API."""
    parameters = {"since": since_ms, "now": now_ms, "limit": MAX_RECENT}
    return bool(connection.execute(query("is_heard_since"), parameters).fetchone()[0])
