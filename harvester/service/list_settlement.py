"""Turns pages of the list into stored changes: read the rows that a page names, decide, settle.

The store settles a change only while the row is as it was read; a row that another process has changed or claimed since
is left alone. Neither step is cancelled: an answer that has arrived is stored.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress

import anyio

from harvester.domain.planning.backoff import Rng
from harvester.domain.planning.list_decisions import decide_listed, listed_state
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.listing import ListedChange, ListedRow, ListedTask, ListSettlement, new_task
from harvester.domain.tasks.records import Attempt
from harvester.domain.tasks.task import Task, TaskState
from harvester.ports.store import ListStore


@dataclass(slots=True)
class Queued:
    """How listed tasks were queued: the ids of the new ones, and how many were known.

    `new_states` counts the new tasks by state, `moved` the known tasks that the list put into another state, by it.
    """

    new_ids: list[str] = field(default_factory=list)
    new_states: Counter[TaskState] = field(default_factory=Counter)
    known: int = 0
    moved: Counter[TaskState] = field(default_factory=Counter)

    def add(self, other: "Queued") -> None:
        """Add the counts of another page."""
        self.new_ids += other.new_ids
        self.new_states += other.new_states
        self.known += other.known
        self.moved += other.moved


async def queue_page(
    store: ListStore, entries: Sequence[ListedTask], now_ms: int, rng: Rng, *, key: str | None = None
) -> Queued:
    """Queue unknown tasks, and use the other entries as answers of status calls, which saves such calls.

    The entries also name the models of stored results without one. `key` is the fingerprint of the API key that the
    list was requested with. Other tasks that have ended, and claimed ones, stay as they are. Raises StoreError.
    """
    with anyio.CancelScope(shield=True):
        rows = await store.listed_rows([entry.task_id for entry in entries]) if entries else {}
        changes = [
            change
            for entry in entries
            if (change := _queue_change(entry, rows.get(entry.task_id), now_ms, rng, key)) is not None
        ]
        stored = await store.apply_list_page(ListSettlement(changes, now_ms)) if changes else []
        if entries:
            await store.name_models(entries, now_ms)
    return _count(len(entries), compress(changes, stored))


async def settle_page(  # noqa: PLR0913  # all are about one page
    store: ListStore,
    entries: Sequence[ListedTask],
    claimed: Sequence[Task],
    *,
    finished: Sequence[Task],
    attempt: Attempt,
    rng: Rng,
    times: ProcessingTimes,
    key: str | None = None,
) -> list[ListedChange]:
    """Settle the open tasks that a page names, and give the claimed ones back; return the stored changes.

    Nothing is queued. The page counts as an attempt at each claimed task that it names and at each of `finished`.
    Tasks that other processes have claimed stay as they are. Raises StoreError.
    """
    claims = {task.row_id: task.claim for task in claimed}
    with anyio.CancelScope(shield=True):
        rows = await store.listed_rows([entry.task_id for entry in entries]) if entries else {}
        changes = []
        for entry in entries:
            row = rows.get(entry.task_id)
            if row is None or not row.is_open or (row.is_claimed and claims.get(row.task.row_id) != row.task.claim):
                continue
            decision = decide_listed(row.task, entry, attempt.at_ms, rng, times, key=key)
            changes.append(ListedChange(entry.describe(row.task), entry, decision))
        stored = await store.apply_list_page(ListSettlement(changes, attempt.at_ms, claimed, finished, attempt))
    return list(compress(changes, stored))


def _queue_change(
    entry: ListedTask, row: ListedRow | None, now_ms: int, rng: Rng, key: str | None
) -> ListedChange | None:
    """Return None for a task that has ended."""
    if row is not None and not row.is_open:
        return None
    task = new_task(entry.task_id, now_ms) if row is None else row.task
    is_claimed = row is not None and row.is_claimed
    decision = None if is_claimed else decide_listed(task, entry, now_ms, rng, key=key)
    return ListedChange(entry.describe(task), entry, decision, is_new=row is None)


def _count(entries: int, stored: Iterable[ListedChange]) -> Queued:
    queued = Queued()
    for change in stored:
        if change.decision is None:
            continue
        if change.is_new:
            queued.new_ids.append(change.task.task_id)
            queued.new_states[listed_state(change.decision)] += 1
        elif change.decision.state is not change.task.state:
            queued.moved[listed_state(change.decision)] += 1
    queued.known = entries - len(queued.new_ids)
    return queued
