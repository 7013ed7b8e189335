"""Figures of the queue: counts, the next due time, the nearest deadline, the ends by reason."""

import sqlite3

from harvester.domain.tasks.model_gaps import ModelGaps
from harvester.domain.tasks.queue_reports import Deadline, Ends, Troubled, Urgency
from harvester.domain.tasks.task import DAY_MS, OPEN_STATES, TaskState
from harvester.store.sqlite.queries import Scope, query


def task_counts(connection: sqlite3.Connection, scope: Scope = Scope.ALL) -> dict[TaskState, int]:
    """Return the number of tasks in each state, 0 included."""
    found = dict(connection.execute(scope.query("count_by_state")).fetchall())
    return {state: found.get(state, 0) for state in TaskState}


class TaskCounter:
    """Counts the tasks of one connection by state; counts again only after the database has changed.

    Counting reads an index of all tasks, and an idle daemon calls this every few seconds.
    """

    def __init__(self) -> None:
        self._seen: tuple[int, int, Scope] | None = None
        self._counts: dict[TaskState, int] = {}

    def count(self, connection: sqlite3.Connection, scope: Scope = Scope.ALL) -> dict[TaskState, int]:
        """Return the number of tasks in each state, 0 included; the caller may change it."""
        # Read the version before counting: a commit by others in between then leads to a new count next time.
        (of_others,) = connection.execute("PRAGMA data_version").fetchone()
        seen = (of_others, connection.total_changes, scope)
        if seen != self._seen:
            self._counts = task_counts(connection, scope)
            self._seen = seen
        return dict(self._counts)


def next_due_ms(connection: sqlite3.Connection, scope: Scope = Scope.ALL) -> int | None:
    """Return when the next open task falls due (Unix ms): 0 if one is due now, None if none is open."""
    statement = scope.query("next_due")
    due = [connection.execute(statement, {"state": state}).fetchone()[0] for state in OPEN_STATES]
    return min((at for at in due if at is not None), default=None)


def nearest_deadline(connection: sqlite3.Connection, scope: Scope = Scope.ALL) -> Deadline | None:
    """Return the nearest deadline of the open tasks; None if none is open."""
    nearest = connection.execute(scope.query("nearest_deadline")).fetchone()
    return Deadline(*nearest) if nearest else None


def urgency(connection: sqlite3.Connection, now_ms: int) -> Urgency:
    """Return how urgent the open tasks are; it takes time in proportion to the tasks that expire within a day."""
    nearest = nearest_deadline(connection)
    oldest = connection.execute(query("oldest_open")).fetchone()
    return Urgency(
        nearest_deadline_ms=nearest.expires_at_ms if nearest else None,
        expiring_within_a_day=connection.execute(query("count_expiring"), {"before": now_ms + DAY_MS}).fetchone()[0],
        oldest_added_at_ms=oldest[1] if oldest else None,
    )


def task_states(connection: sqlite3.Connection, since_ms: int, scope: Scope = Scope.ALL) -> dict[str, TaskState]:
    """Return the states of the tasks that are open or have ended since that time (Unix ms), by task id."""
    rows = connection.execute(scope.query("task_states"), {"since": since_ms})
    return {task_id: TaskState(state) for task_id, state in rows}


def ends_by_reason(connection: sqlite3.Connection, since_ms: int, scope: Scope = Scope.ALL) -> list[Ends]:
    """Return the ends other than `harvested` since that time, the most frequent reason first."""
    statement = scope.query("ends_by_reason")
    rows = connection.execute(statement, {"since": since_ms}).fetchall()
    return [Ends(TaskState(state), code, count, task_id, message) for state, code, count, task_id, message in rows]


def troubled(connection: sqlite3.Connection, since_ms: int, scope: Scope = Scope.ALL) -> Troubled | None:
    """Return the open tasks whose last answer since that time was an error; None without any."""
    statement = scope.query("troubled")
    count, task_id, message, _ = connection.execute(statement, {"since": since_ms}).fetchone()
    return Troubled(count, task_id, message or "") if count else None


def held(connection: sqlite3.Connection) -> Troubled | None:
    """Return the open tasks whose last answers brought no result; None without any."""
    count, task_id, message, _ = connection.execute(query("held")).fetchone()
    return Troubled(count, task_id, message or "") if count else None


def held_by_reason(connection: sqlite3.Connection, after_ms: int, scope: Scope = Scope.ALL) -> dict[str, int]:
    """Return how many open tasks wait for a confirmation until after that time (Unix ms), by reason.

    The reason is UNKNOWN if the API does not know the task, else an error code.
    """
    statement = scope.query("held_by_reason")
    return dict(connection.execute(statement, {"after": after_ms}).fetchall())


def model_gaps(connection: sqlite3.Connection) -> ModelGaps:
    """Return how many results have no model."""
    return ModelGaps(*connection.execute(query("model_gaps")).fetchone())
