"""Records of requests: each attempt at a task has its row, which is the story of the task."""

import sqlite3
from dataclasses import dataclass

from harvester.store.queries import query

MAX_RECENT = 500


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request about a task, for its story. `bytes` as received, before decompression."""

    at_ms: int
    endpoint: str
    outcome: str
    http_status: int | None = None
    code: str | None = None
    message: str | None = None
    trace_id: str | None = None
    bytes: int = 0
    duration_ms: int = 0


def insert_attempt(connection: sqlite3.Connection, task_key: int, attempt: Attempt) -> None:
    """Keep the record of one request about a task."""
    row = {
        "task": task_key,
        "at": attempt.at_ms,
        "endpoint": attempt.endpoint,
        "http_status": attempt.http_status,
        "outcome": attempt.outcome,
        "code": attempt.code,
        "message": attempt.message,
        "trace_id": attempt.trace_id,
        "bytes": attempt.bytes,
        "duration_ms": attempt.duration_ms,
    }
    connection.execute(query("insert_attempt"), row)


def recent_answers(connection: sqlite3.Connection, since_ms: int, now_ms: int) -> list[tuple[int, str]]:
    """Return the outcomes of the last requests since that time with the row ids of their tasks, the oldest first."""
    parameters = {"since": since_ms, "now": now_ms, "limit": MAX_RECENT}
    return [(task, outcome) for task, outcome in connection.execute(query("recent_attempts"), parameters)][::-1]
