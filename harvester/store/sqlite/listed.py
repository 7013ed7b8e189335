"""Listed tasks into the queue, a page in one transaction; or, for a dry run, only compared with it."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harvester.domain.limits.endpoint import BudgetLease, RateLimit, reserve
from harvester.domain.limits.shared_limits import LimitSnapshot, LimitUpdate
from harvester.domain.planning.decisions import LISTED_FAILED, decide_listed, unchanged
from harvester.domain.planning.plan import Rng
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.records import Attempt, Decision
from harvester.domain.tasks.task import Task, TaskState, deadline_ms
from harvester.store.sqlite.attempts import insert_attempts
from harvester.store.sqlite.connection import exists, open_for_reading, translating_errors
from harvester.store.sqlite.foreign_triggers import check_stored
from harvester.store.sqlite.limits import known_limits
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.queue import defer
from harvester.store.sqlite.results import keep_metadata

_Row = dict[str, Any]

NOT_UNFINISHED = "not unfinished"
"""The outcome for a task that a page of all unfinished ones does not show."""

_NEW: _Row = {
    "id": 0,
    "created_at": None,
    "failures": 0,
    "gone": 0,
    "invalid": 0,
    "claim": 0,
    "unfinished_at": None,
    "doubted_at": None,
    "api_version": None,
    "other_id": None,
    "seen_with": None,
    "error_code": None,
    "error_message": None,
}


@dataclass(slots=True)
class Queued:
    """What became of listed tasks: the new ones, and how many were known.

    `new_states` counts the new ones by state, `moved` those known ones that the list took to another state.
    """

    new_ids: list[str] = field(default_factory=list)
    new_states: Counter[TaskState] = field(default_factory=Counter)
    known: int = 0
    moved: Counter[TaskState] = field(default_factory=Counter)

    def add(self, other: "Queued") -> None:
        """Count what became of another page."""
        self.new_ids += other.new_ids
        self.new_states += other.new_states
        self.known += other.known
        self.moved += other.moved


@dataclass(frozen=True, slots=True)
class Heard:
    """What a page said about one open task: the task as it was, and what became of it (None: nothing new)."""

    task: Task
    listed: ListedTask
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class _Change:
    """What the list makes of one task: `row` is None for an unknown one, `decision` for one that stays as it is."""

    listed: ListedTask
    row: _Row | None
    decision: Decision | None


def queue_listed(
    connection: sqlite3.Connection, tasks: Iterable[ListedTask], now_ms: int, rng: Rng, key: str | None = None
) -> Queued:
    """Queue what is unknown, and take for an answer what the list says about the rest. One transaction's body.

    `key` is the fingerprint of the API key that the list was asked for with.

    An entry counts as the answer of a status call, and so saves one. Tasks that have ended stay as they are, and so do
    those that somebody works on.
    """
    changes = [_change(connection, listed, now_ms, rng, key) for listed in tasks]
    for change in changes:
        _store(connection, change, now_ms)
    return _told(changes)


def compare_listed(connection: sqlite3.Connection, tasks: Iterable[ListedTask], now_ms: int, rng: Rng) -> Queued:
    """Tell what `queue_listed` would do; changes nothing."""
    return _told([_change(connection, listed, now_ms, rng) for listed in tasks])


def hear(  # noqa: PLR0913  # all are about one page
    connection: sqlite3.Connection,
    tasks: Iterable[ListedTask],
    claimed: Sequence[Task],
    *,
    finished: Sequence[Task],
    attempt: Attempt,
    rng: Rng,
    times: ProcessingTimes,
    key: str | None = None,
) -> list[Heard]:
    """Take for an answer what a page of the list says about open tasks; nothing is queued. One transaction's body.

    `claimed` are the tasks that the page was asked for, and `finished` those of them that have finished because it does
    not hold them. It counts as an attempt for each of which it tells, and the others are given back. `attempt` is that
    request, without outcome.
    """
    claims, heard = {task.key: task.claim for task in claimed}, []
    for listed in tasks:
        row = _find(connection, listed)
        if row is None or not TaskState(row["state"]).is_open or not _is_free(row, claims):
            continue
        change = _Change(listed, row, _decision(listed, row, attempt.at_ms, rng, times, key=key))
        task = _task(listed, row, TaskState(row["state"]), attempt.at_ms)
        heard.append(Heard(task, listed, change.decision))
        is_asked = task.key in claims
        _store(connection, change, attempt.at_ms, charged=is_asked)
        if is_asked:
            insert_attempts(connection, [(task.key, replace(attempt, outcome=listed.outcome.kind))])
    # Of a task that is known to be ready the page says nothing new: it is given back.
    told = {one.task.key for one in heard if one.decision is not None} | {task.key for task in finished}
    for task in finished:
        if connection.execute(query("presume_ready"), {"id": task.key, "claim": task.claim}).rowcount:
            insert_attempts(connection, [(task.key, replace(attempt, outcome=NOT_UNFINISHED))])
    defer(connection, ((task, 0) for task in claimed if task.key not in told))
    return heard


def _is_free(row: _Row, claims: Mapping[int, int]) -> bool:
    return row["lease_owner"] is None or claims.get(row["id"]) == row["claim"]


def _find(connection: sqlite3.Connection, listed: ListedTask) -> _Row | None:
    cursor = connection.execute(query("find_listed"), {"task_id": listed.task_id})
    names = [column[0] for column in cursor.description]
    found = cursor.fetchone()
    return None if found is None else dict(zip(names, found, strict=True))


def _change(
    connection: sqlite3.Connection, listed: ListedTask, now_ms: int, rng: Rng, key: str | None = None
) -> _Change:
    row = _find(connection, listed)
    is_free = row is None or _is_free(row, {})
    return _Change(listed, row, _decision(listed, row, now_ms, rng, key=key) if is_free else None)


def _decision(  # noqa: PLR0913  # the last two have defaults
    listed: ListedTask,
    row: _Row | None,
    now_ms: int,
    rng: Rng,
    times: ProcessingTimes | None = None,
    *,
    key: str | None = None,
) -> Decision | None:
    state = TaskState.PENDING if row is None else TaskState(row["state"])
    if not state.is_open:
        return None
    task = _task(listed, row, state, now_ms)
    if state is TaskState.PENDING:
        return decide_listed(task, listed.outcome, now_ms, rng, times, key=key)
    if row is None or row["created_at"] is not None or listed.created_at_ms is None:
        return None
    # Known to be ready: all there is to learn is when it was created, hence its deadline.
    return replace(unchanged(task), next_attempt_at_ms=row["next_attempt_at"])


def _task(listed: ListedTask, row: _Row | None, state: TaskState, now_ms: int) -> Task:
    known = _NEW | {"added_at": now_ms} if row is None else row
    created = known["created_at"] if listed.created_at_ms is None else listed.created_at_ms
    return Task(
        key=known["id"],
        task_id=listed.task_id,
        state=state,
        added_at_ms=known["added_at"],
        expires_at_ms=deadline_ms(listed.task_id, created_at_ms=created, added_at_ms=known["added_at"]),
        created_at_ms=created,
        failures=known["failures"],
        gone=known["gone"],
        invalid=known["invalid"],
        claim=known["claim"],
        unfinished_at_ms=known["unfinished_at"],
        model_name=listed.metadata.model_name,
        duration_s=listed.metadata.duration,
        doubted_at_ms=known["doubted_at"],
        version=known["api_version"],
        other_id=known["other_id"],
        seen_with=known["seen_with"],
        error_code=known["error_code"],
        error_message=known["error_message"],
    )


def _store(connection: sqlite3.Connection, change: _Change, now_ms: int, *, charged: bool = False) -> None:
    listed, decision = change.listed, change.decision
    key = None if change.row is None else change.row["id"]
    if decision is not None:
        problem = decision.problem
        values = {
            "state": decision.state,
            "created_at": decision.created_at_ms,
            "expires_at": decision.expires_at_ms,
            "ended_at": None if decision.state.is_open else now_ms,
            "next_attempt_at": decision.next_attempt_at_ms if decision.state.is_open else 0,
            "error_code": problem.code if problem else None,
            "error_message": problem.message if problem else None,
            "error_at": now_ms if problem else None,
            "unfinished_at": decision.unfinished_at_ms,
            "doubted_at": decision.doubted_at_ms,
            "seen_with": decision.seen_with,
            "now": now_ms,
        }
        if key is None:
            values |= {"task_id": listed.task_id}
            # Not the id of the last inserted row: a trigger may have inserted another one, or none.
            inserted = connection.execute(query("queue_listed"), values).fetchall()
            check_stored("tasks", 1, len(inserted))
            key = inserted[0][0]
        else:
            values |= {"id": key, "failures": decision.failures, "gone": decision.gone, "invalid": decision.invalid}
            values["charged"] = int(charged)
            connection.execute(query("update_listed"), values)
    if key is not None and (change.row is None or TaskState(change.row["state"]).is_open):
        keep_metadata(connection, key, listed.metadata, now_ms)


def _told(changes: Sequence[_Change]) -> Queued:
    queued = Queued()
    for change in changes:
        row, decision = change.row, change.decision
        if row is None:
            queued.new_ids.append(change.listed.task_id)
            queued.new_states[_listed_state(decision)] += 1
        else:
            queued.known += 1
            if decision is not None and decision.state is not TaskState(row["state"]):
                queued.moved[_listed_state(decision)] += 1
    return queued


def _listed_state(decision: Decision | None) -> TaskState:
    """Return the state that the list gives a task: of one that it calls failed, the reason is still to be asked for."""
    if decision is None:
        return TaskState.PENDING
    is_failed = decision.problem is not None and decision.problem.code == LISTED_FAILED
    return TaskState.FAILED if is_failed else decision.state


class DryRunStore:
    """Stands in for the store in a dry run: compares, and takes no requests out of the shared budget. Writes nothing.

    Where there is no database yet, every task is new. Close it with `contextlib.closing`. Raises StoreError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = open_for_reading(path) if exists(path) else None
        self._arrival_ms = 0.0

    def close(self) -> None:
        """Close the database."""
        if self._connection is not None:
            self._connection.close()

    async def queue_listed(self, tasks: Sequence[ListedTask], now_ms: int, rng: Rng, key: str | None = None) -> Queued:
        """Tell what would be queued."""
        if self._connection is None:
            return _told([_Change(listed, None, _decision(listed, None, now_ms, rng, key=key)) for listed in tasks])
        with translating_errors(self.path):
            return compare_listed(self._connection, tasks, now_ms, rng)

    async def lease_requests(self, limit: RateLimit, count: int, now_ms: int) -> BudgetLease:
        """Wait for one's turn behind what others have taken out of the budget."""
        row = None if self._connection is None else self._connection.execute(query("budget_arrival")).fetchone()
        taken_ms = max(self._arrival_ms, row[0] if row else 0.0)
        start_ms, self._arrival_ms = reserve(taken_ms, now_ms, limit, count)
        return BudgetLease(start_ms, (await self.share_limits(LimitUpdate(), now_ms)).blocks)

    async def share_limits(self, _news: LimitUpdate, now_ms: int) -> LimitSnapshot:
        """Return what is known."""
        return LimitSnapshot() if self._connection is None else known_limits(self._connection, now_ms)
