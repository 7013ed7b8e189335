"""Read a sample of the queue, with the rows that the next harvest would import or make due first; change nothing."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from harvester.domain.errors import InvalidTaskId
from harvester.domain.planning.queue_sample import QueuedTask, QueueSample
from harvester.domain.tasks.task import OPEN_STATES, TaskState, deadline_ms
from harvester.domain.tasks.task_id import validate_task_id
from harvester.store.sqlite.counts import task_counts
from harvester.store.sqlite.deadlines import deadlines
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.task_rows import task_of

SAMPLE_SIZE = 4_000
"""Tasks: the least size of the sample; a queue of less than twice as many is read whole."""

HEAD = 500
"""Due tasks from each end of the queue, as many as a harvest reads."""

NEW = 2 * SAMPLE_SIZE
"""Rows inserted by other programs: the most that are ordered by deadline."""


def read_queue_sample(connection: sqlite3.Connection, now_ms: int) -> QueueSample:
    """Return the queue as a harvest that begins now would find it; call it within one transaction."""
    counts = task_counts(connection)
    total = sum(counts[state] for state in OPEN_STATES)
    each = max(1, total // SAMPLE_SIZE)
    sampled = {state: _StateSample(connection, state, each) for state in OPEN_STATES}
    due = {state: sampled[state].less_refused(_count_due(connection, state, now_ms)) for state in OPEN_STATES}
    in_hand, processes = connection.execute(query("in_hand"), {"now": now_ms}).fetchone()
    new = [(turn.task.expires_at_ms, each) for one in sampled.values() for turn in one.new]
    return QueueSample(
        at_ms=now_ms,
        open_tasks=sum(sampled[state].less_refused(counts[state]) for state in OPEN_STATES),
        ready_due=due[TaskState.READY],
        pending_due=due[TaskState.PENDING],
        in_hand=in_hand,
        processes=processes,
        each=each,
        sampled=_by_deadline(turn for one in sampled.values() for turn in (*one.known, *one.new)),
        head=_head(connection, now_ms),
        deadlines=sorted([*deadlines(connection, now_ms), *new]),
    )


@dataclass(slots=True)
class _StateSample:
    """The sample of one state: tasks, inserted rows without a deadline, and the number of rows with an invalid id."""

    connection: sqlite3.Connection
    state: TaskState
    each: int
    known: list[QueuedTask] = field(default_factory=list)
    new: list[QueuedTask] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        for row in self.connection.execute(query("every_nth"), {"state": self.state, "every": self.each}):
            turn = _turn(row)
            if turn is None:
                self.refused += self.each
            else:
                (self.new if _is_new(row) else self.known).append(turn)

    def less_refused(self, count: int) -> int:
        return max(0, count - self.refused)


def _head(connection: sqlite3.Connection, now_ms: int) -> list[QueuedTask]:
    """Return the tasks of the next requests: of each state the first and last due ones, and some due later."""
    rows = connection.execute(query("inserted_tasks"), {"limit": NEW}).fetchall()
    for state in OPEN_STATES:
        parameters = {"state": state, "now": now_ms, "limit": HEAD}
        rows += connection.execute(query("next_due_tasks"), parameters)
        for direction in (1, -1):
            rows += connection.execute(query("due_after_wait"), parameters | {"direction": direction})
        for name in ("due", "due_newest", "due_overdue"):
            rows += [(0, *row) for row in connection.execute(query(name), parameters)]
    turns = _by_deadline({row[1]: turn for row in rows if (turn := _turn(row)) is not None}.values())
    kept = [turn for turn in turns if turn.due_ms > now_ms]
    for state in OPEN_STATES:
        due = [turn for turn in turns if turn.task.state is state and turn.due_ms <= now_ms]
        in_time = [turn for turn in due if not turn.task.is_past_deadline(now_ms)]
        overdue = [turn for turn in due if turn.task.is_past_deadline(now_ms)]
        kept += in_time[:HEAD] + in_time[HEAD:][-HEAD:] + overdue[: max(0, HEAD - len(in_time))]
    return _by_deadline(kept)


def _turn(row: tuple[Any, ...]) -> QueuedTask | None:
    """Return the task with the deadline that a harvest would give it; None if its id is invalid."""
    due_ms, key, task_id, state, added_at, expires_at, created_at, *rest = row
    if _is_new(row):
        try:
            validate_task_id(task_id)
        except InvalidTaskId:
            return None
        expires_at = max(1, deadline_ms(task_id, created_at_ms=created_at, added_at_ms=added_at))
    return QueuedTask(task_of((key, task_id, state, added_at, expires_at, created_at, *rest)), due_ms)


def _is_new(row: tuple[Any, ...]) -> bool:
    return row[5] is None or row[5] <= 0


def _by_deadline(turns: Iterable[QueuedTask]) -> list[QueuedTask]:
    return sorted(turns, key=lambda turn: (turn.task.expires_at_ms, turn.task.row_id))


def _count_due(connection: sqlite3.Connection, state: TaskState, now_ms: int) -> int:
    return int(connection.execute(query("count_due"), {"state": state, "now": now_ms}).fetchone()[0])
