"""A task has one label for each key, whatever becomes of it."""

from pathlib import Path

from harvester.domain.tasks.outcomes import Retrieved
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from tests.conformance.actions import claim_new, picture
from tests.conformance.backends import Backend
from tests.support.store_builders import NOW, embeddings, object_id, settlement

A, B, UNKNOWN = object_id(0), object_id(1), object_id(2)


def labels(backend: Backend, place: Path, task_id: str) -> dict[str, str]:
    details = picture(backend, place, task_id).details
    assert details is not None
    return dict(details.labels)


def test_tasks_are_queued_with_labels(backend: Backend, editor: QueueEditor, place: Path) -> None:
    assert editor.add([A, B], NOW, labels={A: {"show": "news", "season": "3"}}) == 2

    assert labels(backend, place, A) == {"show": "news", "season": "3"}
    assert labels(backend, place, B) == {}


def test_a_known_task_gets_new_values_and_keeps_the_others(backend: Backend, editor: QueueEditor, place: Path) -> None:
    editor.add([A], NOW, labels={A: {"show": "news", "season": "3"}})

    assert editor.add([A], NOW, labels={A: {"show": "late news"}}) == 0

    assert labels(backend, place, A) == {"show": "late news", "season": "3"}


def test_an_empty_value_removes_the_label(backend: Backend, editor: QueueEditor, place: Path) -> None:
    editor.add([A, B], NOW, labels={key: {"show": "news", "season": "3"} for key in (A, B)})

    assert editor.label([A], {"show": "", "place": "studio 2", "none": ""}) == []

    assert labels(backend, place, A) == {"season": "3", "place": "studio 2"}
    assert labels(backend, place, B) == {"show": "news", "season": "3"}


def test_unknown_tasks_are_named_and_the_others_labelled(backend: Backend, editor: QueueEditor, place: Path) -> None:
    editor.add([A], NOW)

    assert editor.label([UNKNOWN, A], {"show": "news"}) == [UNKNOWN]

    assert labels(backend, place, A) == {"show": "news"}
    assert picture(backend, place, UNKNOWN).details is None


async def test_a_harvest_leaves_labels_alone(
    backend: Backend, store: HarvestStore, editor: QueueEditor, place: Path
) -> None:
    task = await claim_new(store, editor)
    editor.label([task.task_id], {"show": "news"})

    assert await store.settle([settlement(task, Retrieved(embeddings()))]) == [True]

    assert labels(backend, place, task.task_id) == {"show": "news"}
