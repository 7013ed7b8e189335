"""The list has the tasks that meet its conditions, page by page."""

from dataclasses import replace
from pathlib import Path

import pytest

from harvester.domain.tasks.outcomes import Failed, Retrieved
from harvester.domain.tasks.task import TaskState
from harvester.domain.tasks.task_list import TaskFilter, TaskLine
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from tests.conformance.actions import claim
from tests.conformance.backends import Backend
from tests.support.store_builders import NOW, embeddings, object_id, settlement

HOUR_MS = 3_600_000

HARVESTED, BROKEN, OPEN, LATER = (object_id(number) for number in range(4))

WORDS = 'The video "\u6771" is broken; please\nembed it again.'


@pytest.fixture
async def listed(store: HarvestStore, editor: QueueEditor, place: Path) -> Path:
    """A harvested task, a failed one, an open one, and one that was harvested an hour later."""
    editor.add([HARVESTED, BROKEN], NOW, labels={HARVESTED: {"show": "news", "season": "3"}, BROKEN: {"show": "news"}})
    result = embeddings()
    found = replace(result, metadata=replace(result.metadata, input_type="video"))
    first, second = await claim(store)
    await store.settle([settlement(first, Retrieved(found)), settlement(second, Failed(WORDS))])
    editor.add([LATER], NOW + HOUR_MS, labels={LATER: {"show": "late news"}})
    (third,) = await claim(store, now_ms=NOW + HOUR_MS)
    named = replace(result.metadata, model_name="marengo3.5", input_type="audio", input_filename="[1] song.mp3")
    later = Retrieved(replace(result, metadata=named))
    await store.settle([settlement(third, later, now_ms=NOW + HOUR_MS)])
    editor.add([OPEN], NOW)
    return place


def tasks(backend: Backend, place: Path, wanted: TaskFilter, *, limit: int = 100) -> list[TaskLine]:
    with backend.reader(place).insights() as insights:
        found = insights.tasks(wanted, after=-(2**63), limit=limit)
        while len(page := insights.tasks(wanted, after=found[-1].key, limit=limit)) if found else 0:
            found += page
    return found


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (TaskFilter(), [HARVESTED, BROKEN, LATER, OPEN]),
        (TaskFilter(states=(TaskState.HARVESTED, TaskState.PENDING)), [HARVESTED, LATER, OPEN]),
        (TaskFilter(reasons=("task_failed",)), [BROKEN]),
        (TaskFilter(reasons=("another",)), []),
        (TaskFilter(models=("marengo3.5", "marengo2.7")), [LATER]),
        (TaskFilter(input_types=("video",)), [HARVESTED]),
        (TaskFilter(labels={"show": "news"}), [HARVESTED, BROKEN]),
        (TaskFilter(labels={"show": "news", "season": "3"}), [HARVESTED]),
        (TaskFilter(labels={"season": "4"}), []),
        (TaskFilter(name="holi*.mp?"), [HARVESTED]),
        (TaskFilter(name="[[]1]*"), [LATER]),
        (TaskFilter(since_ms=NOW + 1), [LATER]),
        (TaskFilter(since_ms=NOW), [HARVESTED, BROKEN, LATER, OPEN]),
        (TaskFilter(ended_before_ms=NOW + 1), [HARVESTED, BROKEN]),
        (TaskFilter(states=(TaskState.HARVESTED,), labels={"show": "late news"}, since_ms=NOW), [LATER]),
    ],
)
def test_a_task_is_listed_if_it_meets_every_condition(
    backend: Backend, listed: Path, wanted: TaskFilter, expected: list[str]
) -> None:
    assert [task.task_id for task in tasks(backend, listed, wanted)] == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_pages_of_any_size_have_each_task_once(backend: Backend, listed: Path, limit: int) -> None:
    assert [one.task_id for one in tasks(backend, listed, TaskFilter(), limit=limit)] == [
        *(HARVESTED, BROKEN, LATER, OPEN)
    ]


def test_a_line_says_what_is_known(backend: Backend, listed: Path) -> None:
    harvested, broken, _, pending = tasks(backend, listed, TaskFilter())

    assert (harvested.model_name, harvested.input_type, harvested.input_filename) == (
        *("marengo3.0", "video", "holiday.mp4"),
    )
    assert (harvested.segments, harvested.added_at_ms, harvested.ended_at_ms) == (2, NOW, NOW)
    assert (harvested.reason, harvested.message, harvested.labels) == (None, None, {"season": "3", "show": "news"})
    assert (broken.state, broken.reason, broken.message) == (TaskState.FAILED, "task_failed", WORDS)
    assert (pending.ended_at_ms, pending.segments, pending.labels) == (None, None, {})
    assert pending.expires_at_ms == NOW + 7 * 24 * HOUR_MS


def test_the_keys_of_all_labels_are_known(backend: Backend, listed: Path) -> None:
    with backend.reader(listed).insights() as insights:
        assert insights.label_keys() == ["season", "show"]
