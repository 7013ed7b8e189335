"""The result of a claim is stored once, whole, and only while the claim is the task's last one."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harvester.domain.tasks.outcomes import (
    Failed,
    Invalid,
    Outcome,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
    Transient,
)
from harvester.domain.tasks.queue_reports import Deadline, Ends
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS, Task, TaskState
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from tests.conformance.actions import Picture, claim, claim_new, picture, row
from tests.conformance.backends import Backend, Fault
from tests.support.store_builders import LEASE_MS, NOW, embeddings, lease, object_id, settlement

COUNTERS = ("attempts", "failures", "error_code", "error_message", "error_at")

OUTCOMES: list[Outcome] = [Ready(), Retrieved(embeddings()), Failed("bad video"), Transient("reset", "connection_lost")]

EACH_OUTCOME = pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)

ENOUGH_STATEMENTS = 30
"""Statements, more than the group below takes: the last failures come before the commit."""


def rejected(task: Task, body: bytes, encoding: str | None = None) -> Settlement:
    last = replace(task, invalid=2)
    return settlement(last, Invalid("segments[0].float: NaN"), body=body, encoding=encoding)


@pytest.fixture
async def task(store: HarvestStore, editor: QueueEditor) -> Task:
    return await claim_new(store, editor)


@pytest.fixture
def picture_of(backend: Backend, place: Path) -> Callable[[Task], Picture]:
    """Return a function that shows all stored data of a task."""
    return lambda task: picture(backend, place, task.task_id)


@EACH_OUTCOME
async def test_the_result_of_a_stale_owner_changes_nothing(
    store: HarvestStore, other: HarvestStore, picture_of: Callable[[Task], Picture], task: Task, outcome: Outcome
) -> None:
    (taken_over,) = await claim(other, "backfill", now_ms=NOW + LEASE_MS)
    before = picture_of(task)
    assert await store.settle([settlement(task, outcome)]) == [False]
    assert picture_of(task) == before
    assert await other.settle([settlement(taken_over, outcome)]) == [True]


@EACH_OUTCOME
async def test_repeating_a_result_whose_acknowledgement_was_lost_changes_nothing(
    store: HarvestStore, picture_of: Callable[[Task], Picture], task: Task, outcome: Outcome
) -> None:
    await store.settle([settlement(task, outcome)])
    before = picture_of(task)
    assert await store.settle([settlement(task, outcome)]) == [False]
    assert picture_of(task) == before


async def test_one_claim_settles_once_even_within_a_group(
    store: HarvestStore, picture_of: Callable[[Task], Picture], task: Task
) -> None:
    twice = settlement(task, Retrieved(embeddings(count=3)))
    assert await store.settle([twice, twice]) == [True, False]
    details = picture_of(task).details
    assert details is not None
    assert (len(details.attempts), [group.count for group in details.groups]) == (1, [3])


async def test_a_refused_result_leaves_the_rest_of_its_group_alone(
    store: HarvestStore, editor: QueueEditor, task: Task
) -> None:
    await claim(store, "backfill", now_ms=NOW + LEASE_MS)
    valid = await claim_new(store, editor, 1)
    group = [settlement(task, Failed("bad video")), settlement(valid, Retrieved(embeddings()))]
    assert await store.settle(group) == [False, True]


async def test_a_late_result_is_stored_while_no_other_owner_has_claimed_the_task(
    store: HarvestStore, task: Task
) -> None:
    await store.release("daemon")
    assert await store.settle([settlement(task, Failed("bad video"))]) == [True]


@EACH_OUTCOME
async def test_harvested_is_never_undone(
    store: HarvestStore, editor: QueueEditor, picture_of: Callable[[Task], Picture], task: Task, outcome: Outcome
) -> None:
    await store.settle([settlement(task, Retrieved(embeddings(count=3)))])
    before = picture_of(task)
    for number in range(3):
        await store.settle([settlement(replace(task, claim=number), outcome, now_ms=NOW + DAY_MS)])
    editor.add([task.task_id], NOW)
    editor.put_back([task.task_id], [*TaskState])
    assert await claim(store, now_ms=NOW + DAY_MS) == []
    assert picture_of(task) == before


@pytest.mark.parametrize("statements", range(ENOUGH_STATEMENTS))
async def test_an_error_at_any_statement_stores_nothing_of_the_group(
    backend: Backend, store: HarvestStore, editor: QueueEditor, picture_of: Callable[[Task], Picture], statements: int
) -> None:
    tasks = [await claim_new(store, editor, number) for number in range(3)]
    group = [
        settlement(tasks[0], Retrieved(embeddings())),
        rejected(tasks[1], b"{}"),
        settlement(tasks[2], Retrieved(embeddings(count=5))),
    ]
    before = [picture_of(task) for task in tasks]
    backend.fail_next(store, statements)
    with pytest.raises(Fault):
        await store.settle(group)
    assert [picture_of(task) for task in tasks] == before
    assert await store.settle(group) == [True, True, True]


@pytest.mark.parametrize("outcome", [Throttled("slow down"), Refused("bad key")], ids=["throttled", "refused"])
async def test_an_answer_that_says_nothing_about_the_task_leaves_its_counters_and_its_error_alone(
    backend: Backend, place: Path, store: HarvestStore, task: Task, outcome: Outcome
) -> None:
    await store.settle([settlement(task, Transient("reset", "connection_lost"))])
    (again,) = await claim(store, now_ms=NOW + DAY_MS)
    before = row(backend, place, task.task_id, *COUNTERS)
    await store.settle([settlement(again, outcome, now_ms=NOW + DAY_MS)])
    assert row(backend, place, task.task_id, *COUNTERS) == before
    assert before == (1, 1, "connection_lost", "reset", NOW)
    assert row(backend, place, task.task_id, "state", "next_attempt_at", "lease_owner") == ("pending", 0, None)


async def test_an_answer_without_a_problem_ends_the_last_error(
    backend: Backend, place: Path, store: HarvestStore, task: Task
) -> None:
    await store.settle([settlement(task, Transient("reset", "connection_lost"))])
    (again,) = await claim(store, now_ms=NOW + DAY_MS)
    await store.settle([settlement(again, Processing(), now_ms=NOW + DAY_MS)])
    assert row(backend, place, task.task_id, *COUNTERS) == (2, 0, None, None, None)


@pytest.mark.parametrize("encoding", [None, "gzip"])
async def test_the_body_of_a_rejected_answer_is_stored_as_gzip(
    store: HarvestStore, picture_of: Callable[[Task], Picture], task: Task, encoding: str | None
) -> None:
    body = b'{"segments": [NaN]}'
    await store.settle([rejected(task, gzip.compress(body) if encoding else body, encoding)])
    payload = picture_of(task).payload
    assert payload is not None
    assert gzip.decompress(payload.body) == body


async def test_a_task_rejected_again_keeps_the_newest_body(
    store: HarvestStore, editor: QueueEditor, picture_of: Callable[[Task], Picture], task: Task
) -> None:
    await store.settle([rejected(task, b"first")])
    editor.put_back([task.task_id], [])
    (again,) = await claim(store)
    await store.settle([rejected(again, b"second")])
    payload = picture_of(task).payload
    assert payload is not None
    assert gzip.decompress(payload.body) == b"second"


async def test_no_body_is_stored_while_a_task_is_still_tried(
    store: HarvestStore, picture_of: Callable[[Task], Picture], task: Task
) -> None:
    await store.settle([settlement(task, Invalid("segments[0].float: NaN"), body=b"{}")])
    assert picture_of(task).payload is None


async def test_each_request_is_on_record(
    store: HarvestStore, picture_of: Callable[[Task], Picture], task: Task
) -> None:
    made = settlement(task, Transient("reset", "connection_lost"))
    attempt = replace(made.attempt, code="c", message="m", trace_id="t", bytes=7, duration_ms=9)
    await store.settle([replace(made, attempt=attempt)])
    details = picture_of(task).details
    assert details is not None
    assert details.attempts == [attempt]


async def test_old_attempts_are_deleted_and_the_tasks_stay(store: HarvestStore, editor: QueueEditor) -> None:
    editor.add([object_id(1)], NOW)
    for turn in range(3):
        (task,) = await claim(store)
        await store.settle([settlement(task, Ready(), now_ms=NOW + turn)])
    assert (await store.prune(NOW + 2), await store.prune(NOW + 2)) == (2, 0)
    assert (await store.counts())[TaskState.READY] == 1


async def test_ends_are_grouped_by_reason_the_most_frequent_first(store: HarvestStore, editor: QueueEditor) -> None:
    editor.add([object_id(number) for number in range(4)], NOW)
    tasks = await claim(store)
    codes = ["too_short", "no_sound", "no_sound", "too_old"]
    await store.settle(
        [
            settlement(task, Failed(f"because {code}", code), now_ms=NOW - (code == "too_old"))
            for task, code in zip(tasks, codes, strict=True)
        ]
    )
    assert await store.ends(NOW) == [
        Ends(TaskState.FAILED, "no_sound", 2, object_id(1), "because no_sound"),
        Ends(TaskState.FAILED, "too_short", 1, object_id(0), "because too_short"),
    ]


async def test_states_are_those_of_open_tasks_and_of_what_has_ended_since(
    store: HarvestStore, editor: QueueEditor
) -> None:
    editor.add([object_id(number) for number in range(4)], NOW)
    early, late, *_ = await claim(store)
    await store.settle(
        [
            settlement(early, Failed("bad video"), now_ms=NOW - 1),
            settlement(late, Failed("bad video"), now_ms=NOW),
        ]
    )
    still_open = {object_id(number): TaskState.PENDING for number in range(4)}
    del still_open[early.task_id], still_open[late.task_id]

    assert await store.states(0) == still_open | dict.fromkeys([early.task_id, late.task_id], TaskState.FAILED)
    assert await store.states(NOW) == still_open | {late.task_id: TaskState.FAILED}
    await store.select([early.task_id, object_id(9)], NOW)
    assert await store.states(0) == {early.task_id: TaskState.FAILED, object_id(9): TaskState.PENDING}


async def test_the_next_due_task_says_when_to_look_again(store: HarvestStore, editor: QueueEditor) -> None:
    assert await store.next_due_ms() is None
    editor.add([object_id(1)], NOW)
    assert await store.next_due_ms() == 0
    (task,) = await claim(store)
    assert await store.next_due_ms() == NOW + LEASE_MS
    await store.settle([settlement(task, Failed("bad video"))])
    assert await store.next_due_ms() is None


async def test_the_nearest_deadline_is_that_of_an_open_task(store: HarvestStore, editor: QueueEditor) -> None:
    assert await store.nearest_deadline() is None
    editor.add([object_id(1)], NOW)
    (task,) = await claim(store)
    assert await store.nearest_deadline() == Deadline(object_id(1), NOW // 1000 * 1000 + RETENTION_MS)
    await store.settle([settlement(task, Failed("bad video"))])
    assert await store.nearest_deadline() is None


async def test_an_end_is_put_back_claimed_and_settled_in_one_transaction(
    store: HarvestStore, editor: QueueEditor, picture_of: Callable[[Task], Picture], task: Task
) -> None:
    await store.settle([rejected(task, b"{}")])
    before = picture_of(task)

    def fail(_task: Task) -> Settlement:
        raise Fault

    with pytest.raises(Fault):
        editor.settle_ended(lease("kept"), task.task_id, fail)
    assert picture_of(task) == before

    def harvest(claimed: Task) -> Settlement:
        return settlement(claimed, Retrieved(embeddings()))

    assert editor.settle_ended(lease("kept"), task.task_id, harvest)
    assert (await store.counts())[TaskState.HARVESTED] == 1
    assert not editor.settle_ended(lease("kept"), task.task_id, harvest)
