"""Store the bodies of rejected answers; `harvester.domain.tasks.dead_letter` defines their form."""

import sqlite3

from harvester.domain.tasks.dead_letter import DeadLetter, Payload
from harvester.domain.tasks.task import TaskState
from harvester.store.sqlite.foreign_triggers import check_stored
from harvester.store.sqlite.queries import query


def store_payload(connection: sqlite3.Connection, task_key: int, payload: Payload) -> None:
    """Store the body of a task's answer, replacing an older one. Raises StoreError."""
    row = {
        "task": task_key,
        "received_at": payload.received_at_ms,
        "body": payload.body,
        "is_cut": int(payload.is_cut),
        "encoding": payload.encoding,
    }
    check_stored("payloads", 1, connection.execute(query("store_payload"), row).rowcount)


def load_payload(connection: sqlite3.Connection, task_key: int) -> Payload | None:
    """Return the stored body of a task's answer, None without one."""
    row = connection.execute(query("find_payload"), {"task": task_key}).fetchone()
    return None if row is None else Payload(row[0], row[1], bool(row[2]), row[3])


def dead_letters(connection: sqlite3.Connection) -> list[DeadLetter]:
    """Return the ended tasks with a stored body, without the bodies."""
    rows = connection.execute(query("dead_letters"))
    return [DeadLetter(key, task_id, TaskState(state), bool(is_cut)) for key, task_id, state, is_cut in rows]
