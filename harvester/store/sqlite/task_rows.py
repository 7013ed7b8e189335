"""The rows of {claimable} tasks."""

from typing import Any

from harvester.domain.tasks.task import Task, TaskState
from harvester.store.sqlite.json_columns import load_json


def task_of(row: tuple[Any, ...]) -> Task:
    """Return the task of a row of {claimable}: the columns are in the order of the fields, as names take longer."""
    key, task_id, state, *others = row
    if others[-1] is not None:
        others[-1] = tuple(load_json(others[-1]))
    return Task(key, task_id, TaskState(state), *others)
