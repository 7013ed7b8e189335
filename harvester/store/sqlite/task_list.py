"""The list of tasks, page by page."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from harvester.domain.tasks.task import TaskState
from harvester.domain.tasks.task_list import TaskCount, TaskFilter, TaskLine
from harvester.store.sqlite.json_columns import dump_json, load_json
from harvester.store.sqlite.queries import query


def list_tasks(connection: sqlite3.Connection, wanted: TaskFilter, *, after: int, limit: int) -> list[TaskLine]:
    """Return the first `limit` tasks after the row id `after` that meet the filter."""
    page = {**filter_parameters(wanted), "after": after, "limit": limit}
    return [_line(*row) for row in connection.execute(query("list_tasks"), page)]


def count_tasks(connection: sqlite3.Connection, wanted: TaskFilter) -> TaskCount:
    """Count the tasks that meet the filter."""
    return TaskCount(*connection.execute(query("count_matching"), filter_parameters(wanted)).fetchone())


def filter_parameters(wanted: TaskFilter) -> dict[str, Any]:
    """Return the parameters of {matches}."""
    return {
        "states": _listed([state.value for state in wanted.states]),
        "reasons": _listed(wanted.reasons),
        "models": _listed(wanted.models),
        "input_types": _listed(wanted.input_types),
        "labels": dump_json(list(wanted.labels.items())).decode(),
        "name": wanted.name,
        "since": wanted.since_ms,
        "ended_before": wanted.ended_before_ms,
    }


def label_keys(connection: sqlite3.Connection) -> list[str]:
    """Return the keys of all labels."""
    return [key for (key,) in connection.execute(query("label_keys"))]


def _listed(values: Sequence[str]) -> str | None:
    return dump_json(list(values)).decode() if values else None


def _line(key: int, task_id: str, state: str, *columns: Any) -> TaskLine:
    others = [*columns[:-1], load_json(columns[-1])]
    return TaskLine(key, task_id, TaskState(state), *others)
