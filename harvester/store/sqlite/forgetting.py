"""Remove tasks with all that belongs to them. A tombstone keeps discovery from queueing them again."""

import sqlite3
from collections.abc import Sequence

from harvester.domain.tasks.task_list import TaskFilter
from harvester.ports.queue_editor import Forgotten
from harvester.store.sqlite.foreign_triggers import check_stored
from harvester.store.sqlite.json_columns import dump_json
from harvester.store.sqlite.labels import unknown_among
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.task_list import filter_parameters
from harvester.store.sqlite.widening import remove_results

MAX_SEGMENTS = 10_000
"""Segments after which a transaction takes no further task: about 40 MB, which the write-ahead log must hold."""


def forget(connection: sqlite3.Connection, task_ids: Sequence[str], now_ms: int, wanted: TaskFilter) -> Forgotten:
    """Remove those of the tasks that meet the filter and that no process works on. The body of one transaction."""
    named = {"task_ids": dump_json(list(dict.fromkeys(task_ids))).decode(), "now": now_ms}
    absent = unknown_among(connection, dict.fromkeys(task_ids))
    buried = {task_id for (task_id,) in connection.execute(query("forgotten_among"), named)}
    keys: list[int] = []
    claimed: list[str] = []
    left: list[str] = []
    segments = 0
    for key, task_id, is_claimed, count in connection.execute(
        query("find_forgettable"), {**named, **filter_parameters(wanted)}
    ):
        if segments >= MAX_SEGMENTS:
            left.append(task_id)
        elif is_claimed:
            claimed.append(task_id)
        else:
            keys.append(key)
            segments += count
    _remove(connection, keys, now_ms)
    unknown = [task_id for task_id in absent if task_id not in buried]
    return Forgotten(len(keys), claimed, unknown, left, [task_id for task_id in absent if task_id in buried])


def _remove(connection: sqlite3.Connection, task_keys: Sequence[int], now_ms: int) -> None:
    remove_results(connection, task_keys)
    keys = {"tasks": dump_json(task_keys).decode()}
    for name in ("forget_attempts", "forget_payload", "forget_listed", "forget_labels", "forget_expedited"):
        connection.execute(query(name), keys)
    connection.execute(query("bury"), {**keys, "now": now_ms})
    check_stored("tasks", len(task_keys), connection.execute(query("forget_task"), keys).rowcount)
