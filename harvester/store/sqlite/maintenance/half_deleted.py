"""Mend what remains where another program has deleted rows without their references.

A whole result whose document names its task gets that task back, because the platform may have dropped it. What is not
whole, and what belongs to nothing, is removed: it would meet the next task that SQLite gives the same row id.
"""

import sqlite3
from collections.abc import Callable

from harvester.domain.tasks.task import deadline_ms
from harvester.domain.tasks.task_id import is_content_id
from harvester.ports.maintenance import Mended
from harvester.store.sqlite.content import StoredContent, read_content, vectors_of
from harvester.store.sqlite.json_columns import dump_json
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.transaction import in_transaction
from harvester.store.sqlite.widening import remove_result

_OF_A_TASK = ("forget_attempts", "forget_payload", "forget_listed", "forget_labels", "forget_expedited")


def mend(connection: sqlite3.Connection) -> list[Mended]:
    """Mend what half-deleted tasks have left, one transaction each; return what was done."""
    without_task = [key for (key,) in connection.execute(query("rows_without_task")).fetchall()]
    without_video = connection.execute(query("rows_without_video")).fetchall()
    done = [in_transaction(connection, _mending(key)) for key in without_task]
    done += [in_transaction(connection, _clearing(key, task_id)) for key, task_id in without_video]
    return [one for one in done if one is not None]


def _mending(key: int) -> Callable[[sqlite3.Connection], Mended | None]:
    def body(connection: sqlite3.Connection) -> Mended | None:
        if connection.execute(query("has_task"), {"task": key}).fetchone() is not None:
            # SQLite has given the row id to a new task meanwhile.
            return None
        if connection.execute(query("find_video"), {"task": key}).fetchone() is None:
            return _remove(connection, key)
        stored = read_content(connection, key, "", vectors_of(connection, key))
        task_id = stored.received_id
        if not stored.has_right_vectors:
            return _remove(connection, key)
        if task_id is None or not stored.is_right_for(task_id):
            # The vectors are whole, and perhaps all that is left of an imported file: a person decides.
            return None
        known = connection.execute(query("stored_or_forgotten"), {"task_id": task_id}).fetchone()
        if known is None:
            return _restore(connection, key, task_id, stored)
        # An open task of that id will be harvested; until then the vectors stay.
        return _remove(connection, key) if known[0] else None

    return body


def _clearing(key: int, task_id: str) -> Callable[[sqlite3.Connection], Mended | None]:
    def body(connection: sqlite3.Connection) -> Mended | None:
        # It may have been harvested meanwhile.
        if (key, task_id) not in connection.execute(query("rows_without_video")).fetchall():
            return None
        remove_result(connection, key)
        return Mended(task_id, "the rest of a result without its video has been removed")

    return body


def _remove(connection: sqlite3.Connection, key: int) -> Mended:
    remove_result(connection, key)
    for name in _OF_A_TASK:
        connection.execute(query(name), {"tasks": dump_json([key]).decode()})
    return Mended(None, f"what remained of the task with row id {key}, which was deleted, has been removed")


def _restore(connection: sqlite3.Connection, key: int, task_id: str, stored: StoredContent) -> Mended:
    video = stored.content.video
    harvested_at, created_at = video["harvested_at"], video["created_at"]
    is_content = is_content_id(task_id)
    row = {
        "id": key,
        "task_id": task_id,
        "harvested_at": harvested_at,
        "created_at": created_at,
        "expires_at": None if is_content else deadline_ms(task_id, created_at_ms=created_at, added_at_ms=harvested_at),
        "source": "file" if is_content else "api",
    }
    connection.execute(query("restore_task"), row)
    return Mended(task_id, "the task was deleted and its result was not: it is harvested again")
