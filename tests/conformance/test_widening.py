"""A result that was retrieved with a filter is asked for again by name, and a second retrieval never loses it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harvester.domain.tasks.embeddings import TaskEmbeddings
from harvester.domain.tasks.imported import ImportedResult, ImportOutcome
from harvester.domain.tasks.outcomes import Empty, Failed, Invalid, NotFound, Outcome, Retrieved
from harvester.domain.tasks.records import Attempt, Settlement
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS, Task, TaskState
from harvester.ports.queue_editor import QueueEditor, Widened
from harvester.ports.store import HarvestStore
from tests.conformance.actions import Picture, claim, claim_new, picture
from tests.conformance.backends import Backend
from tests.support.store_builders import NOW, embeddings, object_id, settlement

ONE = object_id(0)


def of_options(*options: str) -> TaskEmbeddings:
    return replace(embeddings(count=len(options)), options=list(options))


def harvested(task: Task, asked: tuple[str, ...] | None, *options: str) -> Settlement:
    return replace(settlement(task, Retrieved(of_options(*options))), retrieve_options=asked)


@pytest.fixture
async def visual(store: HarvestStore, editor: QueueEditor) -> Task:
    """A task that was retrieved with a filter, and two segments of its result."""
    task = await claim_new(store, editor)
    assert await store.settle([harvested(task, ("visual",), "visual", "visual")]) == [True]
    return task


@pytest.fixture
def seen(backend: Backend, place: Path) -> Callable[[], Picture]:
    return lambda: picture(backend, place, ONE)


def what_is_stored(seen: Picture) -> tuple[object, ...]:
    assert seen.details is not None
    return (seen.details.groups, seen.details.video, seen.api_json, seen.payload)


def state_and_options(seen: Picture) -> tuple[str, tuple[str, ...] | None]:
    assert seen.details is not None
    return seen.details.task["state"], seen.details.retrieve_options


@pytest.mark.parametrize(
    ("named", "asked"),
    [([], ()), (["audio"], ("visual", "audio")), (["audio", "visual"], ("visual", "audio"))],
)
@pytest.mark.usefixtures("visual")
async def test_the_stored_result_stays_until_the_wider_one_replaces_it(
    store: HarvestStore,
    editor: QueueEditor,
    seen: Callable[[], Picture],
    named: list[str],
    asked: tuple[str, ...],
) -> None:
    before = what_is_stored(seen())
    assert editor.narrower([ONE], named) == [ONE]
    assert editor.widen([ONE], named, NOW) == Widened([ONE])
    assert what_is_stored(seen()) == before
    assert editor.narrower([ONE], named) == []
    (again,) = await claim(store)
    assert (again.state, again.retrieve_options) == (TaskState.READY, asked)
    assert await store.settle([harvested(again, None, "visual", "audio", "visual")]) == [True]
    assert state_and_options(seen()) == ("harvested", asked)
    details = seen().details
    assert details is not None
    assert {group.option: group.count for group in details.groups} == {"visual": 2, "audio": 1}
    assert editor.narrower([ONE], named) == []
    assert editor.widen([ONE], named, NOW) == Widened(contained=[ONE])


@pytest.mark.usefixtures("visual")
async def test_a_result_that_holds_what_is_named_and_one_past_its_deadline_stay_harvested(
    store: HarvestStore, editor: QueueEditor, seen: Callable[[], Picture]
) -> None:
    await store.settle([harvested(await claim_new(store, editor, 1), None, "visual")])
    await store.settle([settlement(await claim_new(store, editor, 2), Failed("bad video"))])
    before, named = seen(), [ONE, object_id(1), object_id(2), object_id(3)]
    assert editor.widen(named, ["visual"], NOW) == Widened(contained=[ONE, object_id(1)])
    late = NOW + RETENTION_MS
    assert editor.widen(named, [], late) == Widened(contained=[object_id(1)], past_deadline={ONE: late})
    assert await claim(store, now_ms=late) == []
    assert seen() == before


ENDS: list[tuple[TaskState, Outcome]] = [
    (TaskState.FAILED, Failed("bad video")),
    (TaskState.EXPIRED, Empty()),
    (TaskState.MISSING, NotFound("gone")),
    (TaskState.REJECTED, Invalid("segments[0].float: NaN")),
]


@pytest.mark.parametrize(("state", "outcome"), ENDS, ids=[state for state, _ in ENDS])
@pytest.mark.usefixtures("visual")
async def test_an_end_without_a_result_leaves_the_stored_one_and_the_task_harvested(
    store: HarvestStore, editor: QueueEditor, seen: Callable[[], Picture], state: TaskState, outcome: Outcome
) -> None:
    before = what_is_stored(seen())
    editor.widen([ONE], [], NOW)
    (again,) = await claim(store)
    ended = settlement(again, outcome, now_ms=NOW + DAY_MS, body=b"{}")
    assert await store.settle([replace(ended, decision=replace(ended.decision, state=state))]) == [True]
    assert state_and_options(seen()) == ("harvested", ("visual",))
    assert what_is_stored(seen()) == before
    details = seen().details
    assert details is not None
    assert details.task["error_code"] == (ended.decision.problem and ended.decision.problem.code)
    assert editor.dead_letters() == []
    assert editor.widen([ONE], [], NOW) == Widened([ONE])
    assert await claim(store) != []


@pytest.mark.parametrize("options", [("visual",), ("audio", "audio", "visual"), ("audio", "audio")])
@pytest.mark.usefixtures("visual")
async def test_a_result_with_less_of_a_stored_option_replaces_nothing(
    store: HarvestStore, editor: QueueEditor, seen: Callable[[], Picture], options: tuple[str, ...]
) -> None:
    before = what_is_stored(seen())
    editor.widen([ONE], [], NOW)
    (again,) = await claim(store)
    assert await store.settle([harvested(again, None, *options)]) == [True]
    assert state_and_options(seen()) == ("harvested", ("visual",))
    assert what_is_stored(seen()) == before


@pytest.mark.usefixtures("visual")
async def test_a_task_that_has_no_other_options_holds_everything_after_it_was_asked_for_again(
    store: HarvestStore, editor: QueueEditor, seen: Callable[[], Picture]
) -> None:
    editor.widen([ONE], [], NOW)
    (again,) = await claim(store)
    await store.settle([harvested(again, None, "visual", "visual")])
    assert state_and_options(seen()) == ("harvested", ())


@pytest.mark.usefixtures("visual")
async def test_while_it_is_asked_for_again_a_choice_adds_to_what_is_stored(
    store: HarvestStore, editor: QueueEditor
) -> None:
    editor.widen([ONE], [], NOW)
    editor.add([ONE], NOW, ["audio"])
    assert editor.widen([ONE], ["visual"], NOW) == Widened(contained=[ONE])
    assert editor.widen([ONE], ["audio"], NOW) == Widened([ONE])
    assert [task.retrieve_options for task in await claim(store)] == [("visual", "audio")]


@pytest.mark.usefixtures("visual")
async def test_an_answer_under_way_is_stale_when_more_is_asked_for(
    store: HarvestStore, editor: QueueEditor, seen: Callable[[], Picture]
) -> None:
    editor.widen([ONE], ["audio"], NOW)
    (under_way,) = await claim(store)
    assert editor.widen([ONE], [], NOW) == Widened([ONE])
    assert await store.settle([harvested(under_way, None, "visual", "visual", "audio")]) == [False]
    (again,) = await claim(store)
    assert again.retrieve_options == ()
    assert await store.settle([harvested(again, None, "visual", "visual", "audio", "text")]) == [True]
    assert state_and_options(seen()) == ("harvested", ())


async def test_a_first_answer_under_way_is_stale_when_another_choice_is_made(
    store: HarvestStore, editor: QueueEditor
) -> None:
    editor.add([ONE], NOW, ["visual"])
    (under_way,) = await claim(store)
    editor.add([ONE], NOW, ["visual"])
    assert await claim(store) == []
    editor.add([ONE], NOW, [])
    assert await store.settle([harvested(under_way, None, "visual")]) == [False]
    (again,) = await claim(store)
    assert again.retrieve_options == ()


@pytest.mark.usefixtures("visual")
async def test_an_import_does_not_replace_the_result_of_a_task_that_is_asked_for_again(
    store: HarvestStore, editor: QueueEditor, seen: Callable[[], Picture]
) -> None:
    editor.widen([ONE], [], NOW)
    before = seen()
    assert before.details is not None
    attempt = Attempt(at_ms=NOW, endpoint="import", outcome="retrieved")
    result = ImportedResult(ONE, "file", of_options("audio"), attempt)
    assert await store.import_results([result], NOW) == [ImportOutcome.OTHER]
    assert seen() == before
