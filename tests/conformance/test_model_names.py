"""Results without a model are found, and a page of the list names them, whole or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest

from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.model_gaps import ModelGaps
from harvester.domain.tasks.outcomes import Ready, Retrieved
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS, Task
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from tests.conformance.actions import claim, picture
from tests.conformance.backends import Backend, Fault
from tests.support.store_builders import NOW, embeddings, object_id, settlement

HOUR_MS = 3600 * 1000

ENOUGH_STATEMENTS = 12
"""Statements, more than naming takes: the last failures come before the commit."""


def nameless() -> Retrieved:
    """A result that says nothing of its model and its file."""
    whole = embeddings()
    metadata = replace(whole.metadata, model_name=None, input_filename=None, duration=None)
    return Retrieved(replace(whole, metadata=metadata))


async def harvest(store: HarvestStore, editor: QueueEditor, *numbers: int, outcome: Retrieved | None = None) -> None:
    editor.add([object_id(number) for number in numbers], NOW)
    tasks = await claim(store)
    assert await store.settle([settlement(task, outcome or nameless()) for task in tasks]) == [True] * len(numbers)


def entry(number: int = 0, model_name: str | None = "marengo3.5", *, input_filename: str | None = None) -> ListedTask:
    metadata = MediaMetadata(model_name, 12.5, input_filename, input_type="audio")
    return ListedTask(object_id(number), Ready(), metadata)


def damage(backend: Backend, place: Path) -> list[str]:
    return [finding.text for finding in backend.maintenance(place).verify(deep=True) if not finding.is_warning]


async def waiting(store: HarvestStore, now_ms: int = NOW, *, limit: int = 100) -> list[str]:
    return [one.task.task_id for one in await store.unnamed_results(now_ms, limit=limit)]


def video(backend: Backend, place: Path, number: int = 0) -> dict[str, object]:
    details = picture(backend, place, object_id(number)).details
    assert details is not None
    assert details.video is not None
    return details.video


async def task_without(store: HarvestStore, now_ms: int = NOW) -> Task:
    (found,) = await store.unnamed_results(now_ms, limit=1)
    return found.task


async def test_only_results_without_a_model_wait_for_one(store: HarvestStore, editor: QueueEditor) -> None:
    await harvest(store, editor, 1, outcome=Retrieved(embeddings()))
    assert (await waiting(store), await store.model_gaps()) == ([], ModelGaps())
    await harvest(store, editor, 2)
    (found,) = await store.unnamed_results(NOW, limit=10)
    assert (found.task.task_id, found.harvested_at_ms) == (object_id(2), NOW)
    assert found.task.expires_at_ms == NOW + RETENTION_MS
    assert await store.model_gaps() == ModelGaps(results=1)


async def test_a_check_counts_results_without_a_model(
    backend: Backend, place: Path, store: HarvestStore, editor: QueueEditor
) -> None:
    def counted() -> list[str]:
        return [one.text for one in backend.maintenance(place).verify(deep=False) if "model" in one.text]

    await harvest(store, editor, 1, 2)
    (finding,) = counted()
    assert finding.startswith("2 results without a known model")
    await store.name_models([entry(1), entry(2)], NOW)
    assert counted() == []


async def test_an_entry_names_the_model_and_fills_in_what_the_result_lacks(
    backend: Backend, place: Path, store: HarvestStore, editor: QueueEditor
) -> None:
    await harvest(store, editor, 0)
    assert await store.name_models([entry(input_filename="talk.mp3")], NOW + 1) == 1
    stored = video(backend, place)
    assert (stored["model_name"], stored["model_source"]) == ("marengo3.5", "list")
    assert (stored["input_filename"], stored["duration"], stored["input_type"]) == ("talk.mp3", 12.5, "audio")
    assert (await waiting(store), await store.model_gaps()) == ([], ModelGaps())
    assert damage(backend, place) == []


async def test_what_a_result_says_of_itself_stays(
    backend: Backend, place: Path, store: HarvestStore, editor: QueueEditor
) -> None:
    own = nameless()
    metadata = replace(own.embeddings.metadata, input_filename="own.mp4")
    await harvest(store, editor, 0, outcome=Retrieved(replace(own.embeddings, metadata=metadata)))
    await store.name_models([entry(input_filename="other.mp4")], NOW)
    assert video(backend, place)["input_filename"] == "own.mp4"
    assert await store.name_models([entry(model_name="marengo3.0")], NOW) == 0
    assert video(backend, place)["model_name"] == "marengo3.5"


async def test_entries_without_a_model_and_of_other_tasks_name_nothing(
    store: HarvestStore, editor: QueueEditor
) -> None:
    await harvest(store, editor, 1)
    editor.add([object_id(2)], NOW)
    assert await store.name_models([entry(1, None), entry(2), entry(3)], NOW) == 0
    assert await waiting(store) == [object_id(1)]


async def test_the_list_is_asked_again_ever_more_rarely_and_not_after_the_deadline(
    store: HarvestStore, editor: QueueEditor
) -> None:
    await harvest(store, editor, 1)
    task = await task_without(store)
    for asked_ms, again_ms in ((NOW, NOW + HOUR_MS), (NOW + 3 * HOUR_MS, NOW + 6 * HOUR_MS)):
        await store.models_not_listed([task], asked_ms)
        assert await waiting(store, again_ms - 1) == []
        assert await waiting(store, again_ms) == [object_id(1)]
    await store.models_not_listed([task], NOW + 6 * DAY_MS)
    assert await waiting(store, NOW + RETENTION_MS) == []
    assert await store.model_gaps() == ModelGaps(results=1, asked=1)


async def test_a_result_past_its_deadline_is_asked_for_once(store: HarvestStore, editor: QueueEditor) -> None:
    await harvest(store, editor, 1)
    late_ms = NOW + 10 * RETENTION_MS
    assert await waiting(store, late_ms) == [object_id(1)]
    await store.models_not_listed([await task_without(store)], late_ms)
    assert await waiting(store, late_ms + HOUR_MS) == []


async def test_those_that_were_never_asked_for_come_first(store: HarvestStore, editor: QueueEditor) -> None:
    await harvest(store, editor, 1, 2, 3)
    first = (await store.unnamed_results(NOW, limit=10))[:2]
    await store.models_not_listed([one.task for one in first], NOW)
    found = await waiting(store, NOW + 2 * HOUR_MS)
    assert len(found) == 3
    assert found[0] not in [one.task.task_id for one in first]
    assert await waiting(store, NOW + 2 * HOUR_MS, limit=1) == found[:1]


async def test_after_a_selection_only_its_results_are_asked_for(store: HarvestStore, editor: QueueEditor) -> None:
    await harvest(store, editor, 1, 2)
    await store.select([object_id(2)], NOW)
    assert await waiting(store) == [object_id(2)]
    # A page names others, too: that costs nothing.
    assert await store.name_models([entry(1)], NOW) == 1


async def test_many_results_are_named_by_one_page(
    backend: Backend, place: Path, store: HarvestStore, editor: QueueEditor
) -> None:
    numbers = range(50)
    await harvest(store, editor, *numbers)
    assert await store.name_models([entry(number) for number in numbers], NOW) == 50
    assert damage(backend, place) == []


@pytest.mark.parametrize("dies", [False, True], ids=["fails", "dies"])
async def test_a_fault_at_any_statement_leaves_a_result_whole(
    backend: Backend,
    place: Path,
    editor: QueueEditor,
    dies: bool,  # noqa: FBT001
) -> None:
    async with backend.open(place) as store:
        await harvest(store, editor, 0)
    for statements in range(ENOUGH_STATEMENTS):
        async with backend.open(place) as store:
            (backend.kill_next if dies else backend.fail_next)(store, statements)
            with pytest.raises(Fault):
                await store.name_models([entry(input_filename="talk.mp3")], NOW)
        assert video(backend, place)["model_name"] is None
    assert damage(backend, place) == []
    async with backend.open(place) as store:
        assert await waiting(store) == [object_id(0)]
        assert await store.name_models([entry()], NOW) == 1
