"""Tasks that come before all others at their next request. Each function is the body of one transaction."""

import sqlite3
from collections.abc import Sequence

from harvester.domain.tasks.task import TaskState
from harvester.ports.queue_editor import Expedited
from harvester.store.sqlite.queries import query


def expedite(connection: sqlite3.Connection, task_ids: Sequence[str]) -> Expedited:
    """Make open tasks due that wait for no confirmation, and put them first; a claimed one stays with its owner."""
    connection.execute(query("drop_answered"))
    done, held, left = 0, list[str](), dict[str, TaskState | None]()
    for task_id in dict.fromkeys(task_ids):
        named = {"task_id": task_id}
        row = connection.execute(query("find_to_expedite"), named).fetchone()
        state = None if row is None else TaskState(row[0])
        if state is None or not state.is_open:
            left[task_id] = state
        elif row[1]:
            held.append(task_id)
        else:
            connection.execute(query("expedite"), named)
            connection.execute(query("make_named_due"), named)
            done += 1
    return Expedited(done, held, left)
