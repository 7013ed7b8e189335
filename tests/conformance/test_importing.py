"""A result from a file is stored once and whole, beside harvests that work on the same tasks."""

from dataclasses import replace
from pathlib import Path

import pytest

from harvester.domain.tasks.imported import ImportedResult, ImportOutcome
from harvester.domain.tasks.outcomes import Failed, Retrieved
from harvester.domain.tasks.records import Attempt
from harvester.domain.tasks.task import TaskState
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from tests.conformance.actions import claim, claim_new, picture, row
from tests.conformance.backends import Backend, Fault
from tests.support.store_builders import LEASE_MS, NOW, embeddings, object_id, settlement

STORED, KNOWN, CLAIMED, OTHER = ImportOutcome

A_FILE = "file-0123456789abcdef01234567"

MANY_STATEMENTS = 60
"""More than a group of two results takes: the last failures come before the commit."""


def result(task_id: str = A_FILE, *, count: int = 2, replaces: bool = False) -> ImportedResult:
    attempt = Attempt(at_ms=NOW, endpoint="import", outcome="imported", message="output.json")
    return ImportedResult(task_id, "bedrock", embeddings(count), attempt, replaces)


async def test_a_new_task_is_harvested_at_once(backend: Backend, store: HarvestStore, place: Path) -> None:
    assert await store.import_results([result()], NOW) == [STORED]

    assert row(backend, place, A_FILE, "state", "source", "ended_at") == (TaskState.HARVESTED, "bedrock", NOW)
    seen = picture(backend, place, A_FILE)
    assert seen.details is not None
    assert [one.endpoint for one in seen.details.attempts] == ["import"]
    assert [group.count for group in seen.details.groups] == [2]
    assert seen.api_json is not None
    assert await store.next_due_ms() is None


async def test_a_second_import_changes_nothing(backend: Backend, store: HarvestStore, place: Path) -> None:
    await store.import_results([result()], NOW)
    before = picture(backend, place, A_FILE)

    assert await store.import_results([result()], NOW + 1) == [KNOWN]
    assert await store.import_results([result(count=3)], NOW + 1) == [OTHER]
    assert picture(backend, place, A_FILE) == before
    assert await store.harvested_among([A_FILE, object_id(1)]) == {A_FILE: 0}


async def test_the_second_of_two_results_of_one_task_in_a_group_is_known(store: HarvestStore) -> None:
    assert await store.import_results([result(), result(), result(object_id(1))], NOW) == [STORED, KNOWN, STORED]
    two = object_id(2)
    assert await store.import_results([result(two), result(two, count=3)], NOW) == [STORED, OTHER]


async def test_a_result_that_replaces_takes_the_place_of_the_stored_one(
    backend: Backend, store: HarvestStore, place: Path
) -> None:
    await store.import_results([result()], NOW)

    assert await store.import_results([result(count=5, replaces=True)], NOW + 1) == [STORED]
    details = picture(backend, place, A_FILE).details
    assert details is not None
    assert [group.count for group in details.groups] == [5]


async def test_an_open_task_and_one_that_has_failed_become_harvested(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    failed = await claim_new(store, editor, 1)
    await store.settle([settlement(failed, Failed("bad video"))])
    editor.add([object_id(2)], NOW)

    assert await store.import_results([result(object_id(1)), result(object_id(2))], NOW) == [STORED, STORED]
    for task_id in (object_id(1), object_id(2)):
        assert row(backend, place, task_id, "state", "error_code") == (TaskState.HARVESTED, None)


async def test_a_task_that_a_harvest_has_claimed_stays_with_it(
    backend: Backend, store: HarvestStore, other: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    task = await claim_new(other, editor)
    before = picture(backend, place, task.task_id)

    assert await store.import_results([result(task.task_id), result()], NOW) == [CLAIMED, STORED]
    assert picture(backend, place, task.task_id) == before
    assert await other.settle([settlement(task, Retrieved(embeddings()))]) == [True]


async def test_the_result_of_a_harvest_that_died_comes_too_late_after_an_import(
    store: HarvestStore, other: HarvestStore, editor: QueueEditor
) -> None:
    task = await claim_new(other, editor)

    assert await store.import_results([result(task.task_id)], NOW + LEASE_MS) == [STORED]
    assert await other.settle([settlement(task, Failed("bad video"))]) == [False]


@pytest.mark.parametrize("statements", range(0, MANY_STATEMENTS, 4))
async def test_a_fault_in_the_middle_leaves_nothing_behind(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path, statements: int
) -> None:
    editor.add([object_id(1)], NOW)
    await store.import_results([result()], NOW)
    before = [picture(backend, place, task_id) for task_id in (object_id(1), A_FILE, object_id(2))]
    backend.fail_next(store, statements)

    group = [result(object_id(1)), replace(result(count=3), replaces=True), result(object_id(2))]
    with pytest.raises(Fault):
        await store.import_results(group, NOW + 1)

    assert [picture(backend, place, task_id) for task_id in (object_id(1), A_FILE, object_id(2))] == before


async def test_the_id_of_an_imported_body_is_never_asked_about(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    await store.import_results([result()], NOW)
    unknown = A_FILE.replace("0", "f")

    assert editor.add([A_FILE, unknown, object_id(1)], NOW) == 2
    assert [task.task_id for task in await claim(store)] == [object_id(1)]
    assert row(backend, place, unknown, "state", "error_code") == (TaskState.REJECTED, "task_id_invalid")
    assert row(backend, place, A_FILE, "state") == (TaskState.HARVESTED,)
    assert await store.import_results([result(unknown)], NOW) == [STORED]


async def test_imports_say_nothing_about_the_answers_of_the_api(store: HarvestStore, editor: QueueEditor) -> None:
    task = await claim_new(store, editor, 1)
    await store.settle([settlement(task, Retrieved(embeddings()))])
    before = await store.recent_answers(NOW - 1, NOW + 1)
    await store.import_results([result()], NOW)

    assert await store.recent_answers(NOW - 1, NOW + 1) == before != []
    assert await claim(store) == []
