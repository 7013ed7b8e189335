"""A forgotten task leaves nothing behind but a tombstone, beside harvests that work on others."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask, ListSettlement
from harvester.domain.tasks.outcomes import Ready, Retrieved
from harvester.domain.tasks.task import Task, TaskState
from harvester.domain.tasks.task_list import TaskFilter
from harvester.ports.queue_editor import Forgotten, QueueEditor
from harvester.ports.store import HarvestStore
from harvester.service.list_settlement import queue_page
from tests.conformance.actions import claim, claim_new, pictures, row
from tests.conformance.backends import Backend
from tests.support.store_builders import LEASE_MS, NOW, embeddings, lease, object_id, settlement

A, B, C = (object_id(number) for number in range(3))
ALL = TaskFilter()


def known(backend: Backend, place: Path, *task_ids: str) -> list[str]:
    found = pictures(backend, place, task_ids)
    return [task_id for task_id, picture in found.items() if picture.details is not None]


async def harvest_new(store: HarvestStore, editor: QueueEditor, number: int) -> Task:
    task = await claim_new(store, editor, number)
    await store.settle([settlement(task, Retrieved(embeddings()))])
    return task


async def test_a_harvested_task_is_removed_and_the_others_stay(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    for number in range(2):
        await harvest_new(store, editor, number)
    editor.label([A, B], {"show": "news"})
    before = pictures(backend, place, [B])

    done = editor.forget([A, C, A], NOW, ALL)

    assert (done.count, done.claimed, done.unknown, done.left) == (1, [], [C], [])
    assert editor.forget([A, C], NOW, ALL) == Forgotten(0, [], [C], [], [A])
    assert known(backend, place, A, B) == [B]
    assert pictures(backend, place, [B]) == before
    assert [one for one in backend.maintenance(place).verify(deep=True) if not one.is_warning] == []


async def test_discovery_does_not_bring_a_forgotten_task_back(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    editor.add([A], NOW)
    editor.forget([A], NOW, ALL)
    entries = [ListedTask(task_id, Ready(), MediaMetadata()) for task_id in (A, B)]

    queued = await queue_page(store, entries, NOW, random.Random(0))

    assert (queued.new_ids, queued.known) == ([B], 1)
    assert known(backend, place, A, B) == [B]


async def test_naming_the_id_again_queues_it_until_it_is_forgotten_again(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    await harvest_new(store, editor, 0)
    editor.label([A], {"show": "news"})
    editor.forget([A], NOW, ALL)

    assert editor.add([A], NOW + 1) == 1

    assert row(backend, place, A, "state", "added_at", "attempts") == (TaskState.PENDING, NOW + 1, 0)
    (details,) = (one.details for one in pictures(backend, place, [A]).values())
    assert details is not None
    assert (details.video, details.attempts, details.labels) == (None, [], {})
    assert [task.task_id for task in await claim(store, now_ms=NOW + 1)] == [A]
    await store.release("daemon")
    assert editor.forget([A], NOW + 2, ALL).count == 1
    assert (await queue_page(store, [ListedTask(A, Ready(), MediaMetadata())], NOW + 2, random.Random(0))).new_ids == []


async def test_a_task_that_a_process_works_on_stays(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    task = await claim_new(store, editor)
    editor.add([B], NOW)

    done = editor.forget([A, B], NOW, ALL)

    assert (done.count, done.claimed) == (1, [A])
    assert known(backend, place, A, B) == [A]
    assert await store.settle([settlement(task, Retrieved(embeddings()))]) == [True]


async def test_the_result_of_a_forgotten_task_reaches_no_other_one(
    backend: Backend, store: HarvestStore, other: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    """The row id of a removed task may be given to the next one, and its fencing number may be the same."""
    stale = await claim_new(store, editor)
    after_the_lease_ms = NOW + LEASE_MS + 1
    assert editor.forget([A], after_the_lease_ms, ALL).count == 1
    editor.add([B], after_the_lease_ms)
    (task,) = await claim(other, "other", now_ms=after_the_lease_ms)

    assert await store.settle([settlement(stale, Retrieved(embeddings()))]) == [False]

    assert row(backend, place, B, "state", "lease_owner") == (TaskState.PENDING, "other")
    assert await other.settle([settlement(task, Retrieved(embeddings()))]) == [True]


async def test_a_task_that_was_due_when_it_was_forgotten_is_not_claimed_as_another_one(
    store: HarvestStore, editor: QueueEditor
) -> None:
    editor.add([A], NOW)
    due = (await store.due(NOW, limit=1)).pending
    editor.forget([A], NOW, ALL)
    editor.add([B], NOW)
    now_due = (await store.due(NOW, limit=1)).pending

    assert [task.task_id for task in (*due, *now_due)] == [A, B]
    assert await claim_as_read(store, due) == []
    assert await claim_as_read(store, now_due) == [B]


async def claim_as_read(store: HarvestStore, tasks: Sequence[Task]) -> list[str]:
    return [task.task_id for task in await store.claim(lease(), tasks)]


async def test_a_task_that_was_due_when_it_was_forgotten_lets_no_other_one_wait(
    store: HarvestStore, editor: QueueEditor
) -> None:
    editor.add([A], NOW)
    due = (await store.due(NOW, limit=1)).pending
    editor.forget([A], NOW, ALL)
    editor.add([B], NOW)

    await store.postpone([(task, NOW + LEASE_MS) for task in due], NOW)

    assert [task.task_id for task in (await store.due(NOW, limit=1)).pending] == [B]


@pytest.mark.parametrize("is_finished", [False, True])
async def test_a_forgotten_task_is_given_back_without_another_ones_claim(
    backend: Backend, store: HarvestStore, other: HarvestStore, editor: QueueEditor, place: Path, *, is_finished: bool
) -> None:
    """The claim of a suspended process has ended, and its task was forgotten; the process then goes on."""
    stale = await claim_new(store, editor)
    after_the_lease_ms = NOW + LEASE_MS + 1
    assert editor.forget([A], after_the_lease_ms, ALL).count == 1
    editor.add([B], after_the_lease_ms)
    await claim(other, "other", now_ms=after_the_lease_ms)

    finished = [stale] if is_finished else []
    await store.apply_list_page(ListSettlement([], after_the_lease_ms, claimed=[stale], finished=finished))

    assert row(backend, place, B, "state", "lease_owner") == (TaskState.PENDING, "other")


async def test_only_tasks_that_still_meet_the_condition_are_removed(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    await harvest_new(store, editor, 0)
    editor.add([B], NOW)

    done = editor.forget([A, B], NOW, TaskFilter(states=(TaskState.HARVESTED,)))

    assert (done.count, done.unknown, done.claimed) == (1, [], [])
    assert known(backend, place, A, B) == [B]


async def test_matching_tasks_are_counted(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    await harvest_new(store, editor, 0)
    editor.add([B, C], NOW)

    with backend.reader(place).insights() as insights:
        counts = [insights.count_tasks(wanted) for wanted in (ALL, TaskFilter(states=(TaskState.FAILED,)))]

    assert [(one.tasks, one.segments, one.open) for one in counts] == [(3, 2, 2), (0, 0, 0)]


async def test_much_is_removed_in_several_transactions(
    store: HarvestStore, editor: QueueEditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.store.sqlite.forgetting.MAX_SEGMENTS", 3)
    for number in range(3):
        await harvest_new(store, editor, number)

    first = editor.forget([A, B, C], NOW, ALL)
    second = editor.forget(first.left, NOW, ALL)

    assert (first.count, first.left) == (2, [C])
    assert (second.count, second.left) == (1, [])
