"""Notice triggers of other programs that silently drop a row or a change (`RAISE(IGNORE)`)."""

import sqlite3
from collections.abc import Sequence

from harvester.domain.errors import StoreError
from harvester.domain.tasks.task import Task
from harvester.store.sqlite.queries import query

TRIGGERS_REMEDY = (
    "Change or drop the trigger; SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' lists those that there are."
)


def check_stored(table: str, expected: int, stored: int) -> None:
    """Raise StoreError if a statement has stored fewer rows than it was given."""
    if stored != expected:
        raise _dropped(f"{expected - stored} of {expected} rows for the table {table}")


def check_changed_by_others(connection: sqlite3.Connection, task: Task, *, is_due: bool) -> None:
    """Raise StoreError if an UPDATE has not changed a task although its row still matches."""
    found = connection.execute(query("unchanged"), {"id": task.row_id, "claim": task.claim}).fetchone()
    if found is not None and (not is_due or found[0] == 0):
        raise _dropped(f"a change of the task {task.task_id}")


def check_known(connection: sqlite3.Connection, task_ids: Sequence[str]) -> None:
    """Raise StoreError for the first queued task that is missing."""
    if not connection.execute(query("has_triggers")).fetchone()[0]:
        return
    for task_id in task_ids:
        if connection.execute(query("find_task"), {"task_id": task_id}).fetchone() is None:
            raise _dropped(f"the row of the task {task_id}")


def _dropped(what: str) -> StoreError:
    return StoreError(f"A trigger of another program has dropped {what}.", remedy=TRIGGERS_REMEDY)
