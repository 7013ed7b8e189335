"""Labels of tasks. Each function is the body of one transaction, or a part of it."""

import sqlite3
from collections.abc import Iterable, Mapping

from harvester.domain.tasks.labels import Labels
from harvester.store.sqlite.json_columns import dump_json
from harvester.store.sqlite.queries import query


def set_labels(connection: sqlite3.Connection, labels: Mapping[str, Labels]) -> None:
    """Set labels by task id; an empty value removes the label. Ids that were never queued are left out."""
    rows = [
        {"task_id": task_id, "key": key, "value": value}
        for task_id, changes in labels.items()
        for key, value in changes.items()
    ]
    connection.executemany(query("set_label"), [row for row in rows if row["value"]])
    connection.executemany(query("remove_label"), [row for row in rows if not row["value"]])


def unknown_among(connection: sqlite3.Connection, task_ids: Iterable[str]) -> list[str]:
    """Return those of the ids that were never queued."""
    named = dump_json(list(task_ids)).decode()
    return [task_id for (task_id,) in connection.execute(query("unknown_among"), {"task_ids": named})]


def labels_of(connection: sqlite3.Connection, task_key: int) -> dict[str, str]:
    """Return the labels of a task, by its row id."""
    return dict(connection.execute(query("labels_of"), {"task": task_key}).fetchall())
