"""Expedited tasks are due and come first, until the API has answered about them."""

from harvester.domain.tasks.outcomes import NotFound, Processing, Retrieved
from harvester.domain.tasks.records import Decision
from harvester.domain.tasks.task import TaskState
from harvester.domain.tasks.task_list import TaskFilter
from harvester.ports.queue_editor import Expedited, QueueEditor
from harvester.ports.store import HarvestStore
from tests.conformance.actions import claim, claim_new, ids_of
from tests.support.store_builders import NOW, embeddings, object_id, settlement, settlement_as

IDS = [object_id(number) for number in range(6)]


async def expedited(store: HarvestStore, *, limit: int = 2) -> list[str]:
    due = await store.due(NOW, limit=limit, newest=False)
    return sorted(task.task_id for task in (*due.ready, *due.pending) if task.row_id in due.expedited)


async def test_an_expedited_task_is_among_the_first_due_ones_until_it_is_answered(
    store: HarvestStore, editor: QueueEditor
) -> None:
    editor.add(IDS, NOW)
    every = (await store.due(NOW, limit=10)).pending
    last = every[-1]
    await store.postpone([(last, NOW + 60_000)], NOW)
    assert await expedited(store) == []

    assert editor.expedite([last.task_id, last.task_id]) == Expedited(1, [], {})

    assert await expedited(store) == [last.task_id]
    assert len((await store.due(NOW, limit=10)).pending) == len(IDS)
    (task,) = [one for one in await claim(store) if one.task_id == last.task_id]
    assert await expedited(store) == []
    await store.settle([settlement(task, Processing("processing"))])
    await store.make_all_due(NOW)
    assert await expedited(store, limit=10) == []


async def test_the_selection_of_a_process_holds_for_expedited_tasks(store: HarvestStore, editor: QueueEditor) -> None:
    editor.add(IDS, NOW)
    await store.select(IDS[:1], NOW)

    editor.expedite(IDS[:2])

    assert await expedited(store) == IDS[:1]


async def test_tasks_that_have_ended_or_wait_for_a_confirmation_stay_as_they_are(
    store: HarvestStore, editor: QueueEditor
) -> None:
    harvested, denied = await claim_new(store, editor, 0), await claim_new(store, editor, 1)
    doubted = Decision(TaskState.PENDING, next_attempt_at_ms=NOW + 60_000, doubted_at_ms=NOW)
    answer = settlement_as(denied, doubted, outcome=NotFound("no", "none"))
    await store.settle([settlement(harvested, Retrieved(embeddings())), answer])

    done = editor.expedite([harvested.task_id, denied.task_id, IDS[5]])

    assert done == Expedited(0, [denied.task_id], {harvested.task_id: TaskState.HARVESTED, IDS[5]: None})
    assert await expedited(store) == []


async def test_a_forgotten_task_is_no_longer_expedited(store: HarvestStore, editor: QueueEditor) -> None:
    editor.add(IDS[:1], NOW)
    editor.expedite(IDS[:1])

    assert editor.forget(IDS[:1], NOW, TaskFilter()).count == 1

    assert await expedited(store) == []
    assert ids_of(list((await store.due(NOW, limit=10)).pending)) == []
