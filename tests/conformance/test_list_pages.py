"""A page of the list against what another process does to its rows between the read and the write."""

import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedChange, ListedRow, ListedTask, ListSettlement
from harvester.domain.tasks.outcomes import Failed, Processing, Ready, Retrieved
from harvester.domain.tasks.records import Attempt
from harvester.domain.tasks.task import Task
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from harvester.service.list_settlement import Queued, queue_page, settle_page
from tests.conformance.actions import Picture, claim, claim_new, picture, row
from tests.conformance.backends import Backend
from tests.support.store_builders import LEASE_MS, NOW, embeddings, lease, object_id, settlement

Action = Callable[[HarvestStore], Awaitable[object]]

REQUESTED = Attempt(NOW, "list", "", http_status=200)
AN_ID = object_id(0)


def listed(outcome: Ready | Failed | Processing, number: int = 0) -> ListedTask:
    return ListedTask(object_id(number), outcome, MediaMetadata("marengo3.0", 12.5, created_at_ms=NOW - 480_000))


class Interrupted:
    """The two steps of a store for a page of the list; `meanwhile` happens between the two."""

    def __init__(self, store: HarvestStore, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._meanwhile = meanwhile

    async def listed_rows(self, task_ids: Sequence[str]) -> dict[str, ListedRow]:
        rows = await self._store.listed_rows(task_ids)
        await self._meanwhile()
        return rows

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        return await self._store.apply_list_page(page)

    async def name_models(self, entries: Sequence[ListedTask], now_ms: int) -> int:
        return await self._store.name_models(entries, now_ms)


async def discover(store: Interrupted, *page: ListedTask) -> Queued:
    return await queue_page(store, page, NOW, random.Random(0))


async def poll(store: Interrupted, *page: ListedTask, claimed: Task, is_gap: bool = False) -> list[ListedChange]:
    finished = [claimed] if is_gap else []
    return await settle_page(
        store, page, [claimed], finished=finished, attempt=REQUESTED, rng=random.Random(0), times=ProcessingTimes()
    )


async def claimed_by_another(other: HarvestStore) -> Task:
    (task,) = await claim(other, "another", now_ms=NOW + LEASE_MS)
    return task


async def harvested(other: HarvestStore) -> None:
    await other.settle([settlement(await claimed_by_another(other), Retrieved(embeddings()))])


async def found_unfinished(other: HarvestStore) -> None:
    await other.settle([settlement(await claimed_by_another(other), Processing(), now_ms=NOW + 1)])


async def claimed_and_given_back(other: HarvestStore) -> None:
    await claimed_by_another(other)
    await other.release("another")


ACTIONS = [claimed_by_another, harvested, found_unfinished, claimed_and_given_back]

each_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
outcomes = pytest.mark.parametrize("outcome", [Ready(), Processing(), Failed("No sound.")], ids=lambda one: one.kind)


class After:
    """Runs an action, and records what is stored after it."""

    def __init__(self, backend: Backend, place: Path, action: Callable[[], Awaitable[object]]) -> None:
        self._backend = backend
        self._place = place
        self._action = action
        self.stored: Picture | None = None

    async def __call__(self) -> None:
        await self._action()
        self.stored = picture(self._backend, self._place, AN_ID)

    def is_all(self) -> bool:
        """Whether nothing has changed since the action."""
        return self.stored is not None and picture(self._backend, self._place, AN_ID) == self.stored


@each_action
@outcomes
async def test_discovery_leaves_a_row_as_another_has_left_it(
    backend: Backend,
    place: Path,
    store: HarvestStore,
    other: HarvestStore,
    editor: QueueEditor,
    action: Action,
    outcome: Ready | Processing | Failed,
) -> None:
    editor.add([AN_ID], NOW)
    after = After(backend, place, lambda: action(other))
    assert await discover(Interrupted(store, after), listed(outcome)) == Queued(known=1)
    assert after.is_all()


@each_action
@outcomes
async def test_the_list_poller_leaves_a_row_as_another_has_left_it(
    backend: Backend,
    place: Path,
    store: HarvestStore,
    other: HarvestStore,
    editor: QueueEditor,
    action: Action,
    outcome: Ready | Processing | Failed,
) -> None:
    """The page was requested for the task, the lease has ended, and nothing of the answer is charged to it."""
    mine = await claim_new(store, editor)
    after = After(backend, place, lambda: action(other))
    assert await poll(Interrupted(store, after), listed(outcome), claimed=mine) == []
    assert after.is_all()


@each_action
async def test_a_task_that_the_page_does_not_show_stays_as_another_has_left_it(
    backend: Backend, place: Path, store: HarvestStore, other: HarvestStore, editor: QueueEditor, action: Action
) -> None:
    mine = await claim_new(store, editor)
    after = After(backend, place, lambda: action(other))
    await poll(Interrupted(store, after), listed(Processing(), 5), claimed=mine, is_gap=True)
    assert after.is_all()


async def test_a_result_of_ones_own_that_comes_between_stays(
    backend: Backend, place: Path, store: HarvestStore, editor: QueueEditor
) -> None:
    mine = await claim_new(store, editor)
    after = After(backend, place, lambda: store.settle([settlement(mine, Retrieved(embeddings()))]))
    assert await poll(Interrupted(store, after), listed(Processing()), claimed=mine) == []
    assert after.is_all()


async def test_a_lease_that_is_renewed_between_is_no_change(
    backend: Backend, place: Path, store: HarvestStore, editor: QueueEditor
) -> None:
    mine = await claim_new(store, editor)
    interrupted = Interrupted(store, lambda: store.renew(lease(now_ms=NOW + 1)))
    changes = await poll(interrupted, listed(Ready()), claimed=mine)
    assert [one.task.row_id for one in changes] == [mine.row_id]
    assert row(backend, place, AN_ID, "state", "attempts", "lease_owner") == ("ready", 1, None)


async def test_a_task_that_another_queues_between_is_known(
    backend: Backend, place: Path, store: HarvestStore, editor: QueueEditor
) -> None:
    async def queue_it() -> None:
        editor.add([AN_ID], NOW)

    queued = await discover(Interrupted(store, queue_it), listed(Ready()), listed(Ready(), 1))
    assert (queued.new_ids, queued.known) == ([object_id(1)], 1)
    assert row(backend, place, AN_ID, "state", "claim") == ("pending", 0)
