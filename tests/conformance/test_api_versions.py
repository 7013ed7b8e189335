"""The API version that knows a task is stored with it, and a later process learns it from there."""

import random
from dataclasses import replace

import pytest

from harvester.domain.planning.decisions import Circumstances, decide
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import NotFound, Outcome, Processing, Ready, Retrieved, UnknownHere
from harvester.domain.tasks.task import ApiVersion, Task, TaskState
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from harvester.service.list_settlement import queue_page
from tests.conformance.actions import claim, claim_new
from tests.conformance.backends import Backend
from tests.support.store_builders import NOW, embeddings, object_id, settlement_as

LATER = NOW + 3600_000


async def answer(store: HarvestStore, task: Task, outcome: Outcome, version: ApiVersion) -> None:
    circumstances = Circumstances(
        version=version, is_other_version=task.denied_by is not None and version != task.denied_by
    )
    decision = decide(task, outcome, NOW, random.Random(0), circumstances=circumstances)
    await store.settle([settlement_as(task, replace(decision, next_attempt_at_ms=0), outcome=outcome)])


async def again(store: HarvestStore) -> Task:
    (task,) = await claim(store, now_ms=LATER, limit=1)
    return task


@pytest.mark.parametrize("outcome", [Processing(), Retrieved(embeddings())], ids=["processing", "retrieved"])
async def test_the_version_that_answers_is_stored_whichever_it_is(
    store: HarvestStore, editor: QueueEditor, outcome: Outcome
) -> None:
    editor.add([object_id(1), object_id(2)], NOW)
    first, second = await claim(store, limit=2)
    await answer(store, first, outcome, "v1")
    await answer(store, second, outcome, "v2")
    assert [version for _, version in await store.known_versions()] == ["v1", "v2"]


async def test_the_times_of_known_tasks_are_those_of_their_creation(store: HarvestStore, editor: QueueEditor) -> None:
    task = await claim_new(store, editor)
    assert await store.known_versions() == []
    created_ms = NOW - 1234
    await answer(store, task, Processing("processing", created_ms, MediaMetadata(created_at_ms=created_ms)), "v1")
    assert await store.known_versions() == [(created_ms, "v1")]


async def test_a_reader_knows_the_same_versions(store: HarvestStore, editor: QueueEditor, backend: Backend) -> None:
    await answer(store, await claim_new(store, editor), Ready(), "v2")
    with backend.reader(store.path).insights() as insights:
        assert insights.known_versions() == await store.known_versions()


async def test_which_version_has_denied_a_task_outlives_the_process(store: HarvestStore, editor: QueueEditor) -> None:
    await answer(store, await claim_new(store, editor), UnknownHere("No."), "v2")
    denied = await again(store)
    assert (denied.gone, denied.denied_by, denied.version, denied.doubted_at_ms) == (1, "v2", None, None)
    await answer(store, denied, NotFound("No."), "v1")
    denied = await again(store)
    assert (denied.gone, denied.denied_by, denied.version) == (2, "v1", None)
    await answer(store, denied, Processing(), "v2")
    known = await again(store)
    assert (known.gone, known.denied_by, known.version) == (0, None, "v2")


async def test_a_retry_begins_anew_and_keeps_the_version_that_is_known(
    store: HarvestStore, editor: QueueEditor
) -> None:
    task = replace(await claim_new(store, editor), version="v2", gone=4, denied_by="v1")
    ended = decide(task, NotFound("No."), NOW, random.Random(0))
    missing = replace(ended, state=TaskState.MISSING)
    await store.settle([settlement_as(task, missing, outcome=NotFound("No."))])
    editor.put_back([task.task_id], [])
    found = await again(store)
    assert (found.gone, found.denied_by, found.version) == (0, None, "v2")


@pytest.mark.parametrize("version", ["v2", None])
async def test_an_entry_of_the_list_stores_the_version_that_alone_can_have_made_the_task(
    store: HarvestStore, version: ApiVersion | None
) -> None:
    entry = ListedTask(object_id(1), Ready(), MediaMetadata(created_at_ms=NOW - 1), version)
    await queue_page(store, [entry], NOW, random.Random(0))
    assert (await again(store)).version == version


async def test_a_known_ready_task_learns_its_version_from_the_list(store: HarvestStore, editor: QueueEditor) -> None:
    task = await claim_new(store, editor)
    ready = replace(decide(task, Ready(), NOW, random.Random(0)), version=None)
    await store.settle([settlement_as(task, ready, outcome=Ready())])
    entry = ListedTask(task.task_id, Ready(), MediaMetadata(created_at_ms=NOW - 1), "v2")
    await queue_page(store, [entry], NOW, random.Random(0))
    assert (await again(store)).version == "v2"
