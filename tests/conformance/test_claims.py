"""Claims: their owner, order and end; leases, fencing numbers, back-off, retries, named tasks."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.planning.decisions import decide
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.outcomes import Failed, NotFound, Processing, Ready, Retrieved, Transient
from harvester.domain.tasks.queue_reports import Deadline
from harvester.domain.tasks.records import HeldLeases, Lease
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS, Task, TaskState
from harvester.ports.queue_editor import PutBack, QueueEditor
from harvester.ports.store import HarvestStore
from tests.conformance.actions import claim, claim_new, ids_of, make_ready, picture, row, throwaway
from tests.conformance.backends import BACKENDS, Backend
from tests.support.store_builders import LEASE_MS, NOW, embeddings, lease, object_id, settlement, settlement_as

EVERY_BACKEND = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
"""For properties: hypothesis wants no fixture that is made anew for each test."""


async def back_off(store: HarvestStore, editor: QueueEditor, number: int = 0) -> int:
    """Queue a task and let it fail; return when it is due again."""
    task = await claim_new(store, editor, number)
    failed = settlement(task, Transient("reset", "connection_lost"))
    failed = replace(failed, decision=replace(failed.decision, next_attempt_at_ms=NOW + 5_000))
    await store.settle([failed])
    return NOW + 5_000


def test_an_id_is_queued_once(editor: QueueEditor) -> None:
    ids = [object_id(1), object_id(2), object_id(1)]
    assert (editor.add(ids, NOW), editor.add(ids, NOW + 1)) == (2, 0)


async def test_queueing_a_known_id_leaves_it_as_it_is(
    backend: Backend, place: Path, store: HarvestStore, editor: QueueEditor
) -> None:
    task = await claim_new(store, editor)
    await store.settle([settlement(task, Retrieved(embeddings()))])
    before = picture(backend, place, task.task_id)
    editor.add([task.task_id], NOW + DAY_MS)
    assert picture(backend, place, task.task_id) == before


async def test_the_nearest_deadline_is_claimed_first(store: HarvestStore, editor: QueueEditor) -> None:
    days = [3, 1, 6, 2]
    ids = {day: object_id(day, created_ms=NOW - day * DAY_MS) for day in days}
    editor.add([*ids.values()], NOW)
    assert ids_of(await claim(store)) == [ids[6], ids[3], ids[2], ids[1]]


async def test_ready_tasks_come_before_all_others(store: HarvestStore, editor: QueueEditor) -> None:
    ready_late, ready_soon = object_id(1), object_id(2, created_ms=NOW - DAY_MS)
    await make_ready(store, editor, ready_late, ready_soon)
    urgent = object_id(3, created_ms=NOW - 6 * DAY_MS)
    editor.add([urgent], NOW)
    assert ids_of(await claim(store)) == [ready_soon, ready_late, urgent]


@EVERY_BACKEND
@given(
    days=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    limits=st.lists(st.integers(1, 5), min_size=1, max_size=6),
)
def test_claims_follow_one_order_whatever_their_limits(backend: Backend, days: list[int], limits: list[int]) -> None:
    ids = [object_id(number, created_ms=NOW - day * DAY_MS) for number, day in enumerate(days)]

    async def claims() -> list[list[Task]]:
        async with throwaway(backend) as (store, editor):
            editor.add(ids, NOW)
            return [await claim(store, f"owner {turn}", limit=limit) for turn, limit in enumerate(limits)]

    in_order = sorted(ids, key=lambda task_id: (task_id[:8], ids.index(task_id)))
    starts = [sum(limits[:turn]) for turn in range(len(limits))]
    expected = [in_order[start : start + limit] for start, limit in zip(starts, limits, strict=True)]
    assert [ids_of(tasks) for tasks in asyncio.run(claims())] == expected


async def test_a_limit_counts_ready_and_pending_together(store: HarvestStore, editor: QueueEditor) -> None:
    await make_ready(store, editor, object_id(1), object_id(2))
    editor.add([object_id(3), object_id(4)], NOW)
    assert ids_of(await claim(store, limit=3)) == [object_id(1), object_id(2), object_id(3)]


async def test_two_owners_never_get_the_same_task(
    store: HarvestStore, other: HarvestStore, editor: QueueEditor
) -> None:
    editor.add([*(object_id(number) for number in range(10))], NOW)
    mine, theirs = await claim(store, "daemon", limit=6), await claim(other, "backfill", limit=6)
    assert sorted(ids_of(mine) + ids_of(theirs)) == [object_id(number) for number in range(10)]


async def test_a_claim_carries_the_row(store: HarvestStore, editor: QueueEditor) -> None:
    editor.add([object_id(1)], NOW)
    (task,) = await claim(store)
    created_ms = NOW - 3 * DAY_MS
    await store.settle([settlement(task, Processing(created_at_ms=created_ms))])
    (again,) = await claim(store, now_ms=NOW + DAY_MS)
    assert again == replace(
        task, created_at_ms=created_ms, expires_at_ms=created_ms + RETENTION_MS, claim=3, unfinished_at_ms=NOW
    )


async def test_the_counters_come_back_with_the_next_claim(store: HarvestStore, editor: QueueEditor) -> None:
    task, outcome = await claim_new(store, editor), NotFound("no such task")
    await store.settle([settlement_as(task, decide(task, outcome, NOW, random.Random(0)), outcome=outcome)])
    (again,) = await claim(store, now_ms=NOW + DAY_MS)
    assert (again.gone, again.failures, again.invalid) == (1, 0, 0)


async def test_a_lease_keeps_the_task_until_it_ends(store: HarvestStore, editor: QueueEditor) -> None:
    await claim_new(store, editor)
    assert await claim(store, "backfill", now_ms=NOW + LEASE_MS - 1) == []


async def test_a_lease_that_has_ended_returns_the_task_with_a_higher_number(
    store: HarvestStore, editor: QueueEditor
) -> None:
    task = await claim_new(store, editor)
    (again,) = await claim(store, "backfill", now_ms=NOW + LEASE_MS)
    assert again == replace(task, claim=task.claim + 1)


async def test_a_renewed_lease_keeps_the_task(store: HarvestStore, editor: QueueEditor) -> None:
    task = await claim_new(store, editor)
    later = lease("daemon", now_ms=NOW + LEASE_MS // 2)
    assert await store.renew(later) == 1
    assert await claim(store, "backfill", now_ms=NOW + LEASE_MS) == []
    assert await store.settle([settlement(task, Ready())]) == [True]


async def test_only_the_owners_leases_are_renewed(store: HarvestStore, editor: QueueEditor) -> None:
    await claim_new(store, editor)
    stranger = lease("backfill", now_ms=NOW + LEASE_MS // 2)
    assert await store.renew(stranger) == 0
    assert len(await claim(store, "backfill", now_ms=NOW + LEASE_MS)) == 1


async def test_a_lease_lost_to_another_owner_is_not_renewed(
    backend: Backend, place: Path, store: HarvestStore, editor: QueueEditor
) -> None:
    task = await claim_new(store, editor)
    await claim(store, "backfill", now_ms=NOW + LEASE_MS)
    assert await store.renew(lease("daemon", now_ms=NOW + LEASE_MS + 1)) == 0
    assert row(backend, place, task.task_id, "lease_owner", "lease_until") == ("backfill", NOW + 2 * LEASE_MS)


async def test_a_released_task_is_due_at_once(store: HarvestStore, editor: QueueEditor) -> None:
    task = await claim_new(store, editor)
    assert await store.release("daemon") == 1
    assert await claim(store, "backfill") == [replace(task, claim=2)]


async def test_only_the_owners_tasks_are_released(store: HarvestStore, editor: QueueEditor) -> None:
    await claim_new(store, editor)
    assert await store.release("backfill") == 0
    assert await claim(store, "backfill") == []


async def test_a_backed_off_task_is_not_claimed_before_its_time(store: HarvestStore, editor: QueueEditor) -> None:
    due_ms = await back_off(store, editor)
    assert await claim(store, now_ms=due_ms - 1) == []
    assert len(await claim(store, now_ms=due_ms)) == 1


async def test_an_ended_task_is_not_claimed(store: HarvestStore, editor: QueueEditor) -> None:
    await store.settle([settlement(await claim_new(store, editor), Failed("bad video"))])
    assert await claim(store, now_ms=NOW + DAY_MS) == []


async def test_an_early_wake_brings_back_the_backed_off_and_leaves_the_claimed(
    store: HarvestStore, editor: QueueEditor
) -> None:
    await back_off(store, editor, 1)
    await claim_new(store, editor, 2)
    await store.make_all_due(NOW)
    assert ids_of(await claim(store, "backfill")) == [object_id(1)]


async def test_naming_a_task_wakes_it_and_leaves_the_others_asleep(store: HarvestStore, editor: QueueEditor) -> None:
    await back_off(store, editor, 1)
    await back_off(store, editor, 2)
    assert await store.select([object_id(2)], NOW) == 0
    assert ids_of(await claim(store)) == [object_id(2)]


async def test_claims_and_figures_can_be_restricted_to_the_named_ids(store: HarvestStore, editor: QueueEditor) -> None:
    editor.add([object_id(number, created_ms=NOW - number * 1000) for number in range(6)], NOW)
    named = [object_id(number, created_ms=NOW - number * 1000) for number in (4, 1, 99)]
    assert await store.select([*named, named[0]], NOW) == 1
    nearest = await store.nearest_deadline()
    assert nearest == Deadline(named[2], NOW - 99_000 + RETENTION_MS)
    assert (await store.counts())[TaskState.PENDING] == 3
    assert ids_of(await claim(store)) == [named[2], named[0], named[1]]


async def test_naming_other_ids_forgets_the_former_ones(store: HarvestStore, editor: QueueEditor) -> None:
    editor.add([object_id(1), object_id(2)], NOW)
    await store.select([object_id(1)], NOW)
    await store.select([object_id(2)], NOW)
    assert ids_of(await claim(store)) == [object_id(2)]


async def test_naming_concerns_one_process_only(store: HarvestStore, other: HarvestStore) -> None:
    await other.select([object_id(2)], NOW)
    await store.select([object_id(1)], NOW)
    assert ids_of(await claim(other)) == [object_id(2)]


@pytest.mark.parametrize("state", [state for state in TaskState if not state.is_open])
async def test_every_end_but_harvested_can_be_retried(
    store: HarvestStore, editor: QueueEditor, state: TaskState
) -> None:
    task = await claim_new(store, editor)
    ended = settlement(task, Failed("bad video"))
    await store.settle([replace(ended, decision=replace(ended.decision, state=state, gone=2, invalid=1))])
    by_id = editor.put_back([task.task_id], [])
    by_state = editor.put_back([], [state])
    is_retried = state is not TaskState.HARVESTED
    assert by_id == PutBack(int(is_retried), {} if is_retried else {task.task_id: state})
    assert by_state == PutBack(0, {})
    again = replace(task, claim=3, error_code="task_failed", error_message="bad video")
    assert await claim(store) == ([again] if is_retried else [])


async def test_a_claim_brings_what_to_retrieve_and_an_open_task_may_be_given_another_choice(
    store: HarvestStore, editor: QueueEditor
) -> None:
    editor.add([object_id(1), object_id(2)], NOW)
    editor.add([object_id(2)], NOW, ["audio"])
    editor.add([object_id(3)], NOW, [])
    assert [task.retrieve_options for task in await claim(store)] == [None, ("audio",), ()]


async def test_another_choice_makes_a_task_due_whose_choice_was_refused(
    store: HarvestStore, editor: QueueEditor
) -> None:
    editor.add([object_id(1), object_id(2)], NOW, ["audio"])
    for task, code in zip(await claim(store), ("embedding_option_refused", "connection_lost"), strict=True):
        waits = settlement(task, Transient("Not now.", code))
        later = replace(waits.decision, next_attempt_at_ms=NOW + LEASE_MS)
        assert await store.settle([replace(waits, decision=later)]) == [True]
    editor.add([object_id(1), object_id(2)], NOW, [])
    assert [task.task_id for task in await claim(store)] == [object_id(1)]


async def failed(store: HarvestStore, asked: tuple[str, ...] | None = None) -> Task:
    """Claim the only task, let it end as failed, and return it as claimed."""
    (task,) = await claim(store)
    ended = settlement(task, Failed("bad video"))
    decision = replace(ended.decision, state=TaskState.FAILED)
    assert await store.settle([replace(ended, decision=decision, retrieve_options=asked)]) == [True]
    return task


@pytest.mark.parametrize("asked", [None, (), ("visual",)])
async def test_what_was_asked_for_is_kept_and_a_retry_may_choose_more(
    store: HarvestStore, editor: QueueEditor, asked: tuple[str, ...] | None
) -> None:
    editor.add([object_id(1)], NOW, ["audio"])
    assert (await failed(store, asked)).retrieve_options == ("audio",)
    editor.put_back([object_id(1)], [])
    # The task is open now, and stays as it is.
    editor.put_back([object_id(1)], [], ["transcription"])
    assert (await failed(store)).retrieve_options == (("audio",) if asked is None else asked)
    editor.put_back([object_id(1)], [], ["visual", "transcription"])
    assert (await failed(store)).retrieve_options == ("visual", "transcription")
    editor.put_back([], [TaskState.FAILED], [])
    assert (await failed(store)).retrieve_options == ()


async def test_retrying_by_state_takes_all_of_that_state_and_no_other(store: HarvestStore, editor: QueueEditor) -> None:
    for number in range(3):
        await store.settle([settlement(await claim_new(store, editor, number), Failed("bad video"))])
    await store.settle([settlement(await claim_new(store, editor, 3), Retrieved(embeddings()))])
    assert editor.put_back([], [*TaskState]).count == 3
    assert ids_of(await claim(store)) == [object_id(number) for number in range(3)]


@pytest.mark.parametrize("created_at_ms", [-62_135_596_800_000, 0, -RETENTION_MS])
async def test_an_absurd_creation_time_does_not_hide_a_task(
    store: HarvestStore, editor: QueueEditor, created_at_ms: int
) -> None:
    # 0001-01-01T00:00:00Z is what Go programs write for "no time".
    task = await claim_new(store, editor)
    await store.settle([settlement(task, Processing(created_at_ms=created_at_ms))])
    assert ids_of(await claim(store, now_ms=NOW + DAY_MS)) == [task.task_id]


async def test_a_task_that_is_not_worth_a_request_yet_sleeps(store: HarvestStore, editor: QueueEditor) -> None:
    editor.add([object_id(1)], NOW)
    (seen,) = (await store.due(NOW, limit=5)).pending
    await store.postpone([(seen, NOW + 5_000)], NOW)
    assert await claim(store, now_ms=NOW + 4_999) == []
    assert len(await claim(store, now_ms=NOW + 5_000)) == 1


async def test_what_was_put_off_while_the_clock_was_ahead_is_woken(store: HarvestStore, editor: QueueEditor) -> None:
    editor.add([object_id(1), object_id(2)], NOW)
    asleep, claimed = (await store.due(NOW, limit=5)).pending
    await store.postpone([(asleep, NOW + 20 * 3_600_000)], NOW)
    other = Lease("other", NOW + DAY_MS, NOW)
    await store.claim(other, [claimed])
    assert [task.row_id for task in await claim(store)] == [asleep.row_id]


@pytest.mark.parametrize(("ahead_ms", "woken"), [(3 * 3_600_000, 1), (61_000, 1), (60_000, 0), (0, 0)])
async def test_waits_set_by_a_clock_that_was_ahead_are_distinguished_from_right_ones(
    store: HarvestStore, editor: QueueEditor, ahead_ms: int, woken: int
) -> None:
    editor.add([object_id(1), object_id(2)], NOW)
    asleep, claimed = (await store.due(NOW, limit=5)).pending
    noted_ms = NOW + ahead_ms
    await store.postpone([(asleep, noted_ms + 5_000)], noted_ms)
    other = Lease("other", noted_ms + LEASE_MS, noted_ms)
    await store.claim(other, [claimed])
    assert await store.make_misdated_due(NOW) == woken
    assert len(await claim(store)) == woken


async def test_an_answer_notes_when_its_wait_was_set(store: HarvestStore, editor: QueueEditor) -> None:
    await back_off(store, editor)
    assert await store.make_misdated_due(NOW - 60_000) == 0
    assert await store.make_misdated_due(NOW - 61_000) == 1


async def test_dead_owners_lose_what_they_have_not_renewed_since_it_was_looked_at(
    store: HarvestStore, editor: QueueEditor
) -> None:
    task = await claim_new(store, editor)
    (held,) = await store.held_leases()
    assert held == HeldLeases("daemon", NOW + LEASE_MS, LEASE_MS, 1)
    await store.renew(lease(now_ms=NOW + 1))
    assert await store.free([held]) == 0
    (held,) = await store.held_leases()
    assert await store.free([held]) == 1
    assert await claim(store, "backfill") == [replace(task, claim=2)]


async def test_what_is_claimed_is_not_put_off(
    backend: Backend, place: Path, store: HarvestStore, editor: QueueEditor
) -> None:
    editor.add([object_id(1)], NOW)
    (seen,) = (await store.due(NOW, limit=5)).pending
    (claimed,) = await claim(store)
    await store.postpone([(seen, NOW + DAY_MS)], NOW)
    await store.postpone([(claimed, NOW + DAY_MS)], NOW)
    assert row(backend, place, claimed.task_id, "next_attempt_at") == (NOW + LEASE_MS,)


async def test_of_two_who_saw_a_task_one_claims_it(
    store: HarvestStore, other: HarvestStore, editor: QueueEditor
) -> None:
    editor.add([object_id(1)], NOW)
    seen = (await store.due(NOW, limit=5)).pending
    one, another = await store.claim(lease("one"), seen), await other.claim(lease("another"), seen)
    assert (len(one), len(another)) == (1, 0)


async def test_old_tasks_do_not_hide_the_newest(store: HarvestStore, editor: QueueEditor) -> None:
    for number in range(10):
        created_ms = NOW - (10 - number) * 60_000
        editor.add([object_id(number, created_ms=created_ms)], NOW)
    due = await store.due(NOW, limit=3)
    assert ids_of(list(due.pending)) == [
        object_id(number, created_ms=NOW - (10 - number) * 60_000) for number in (0, 1, 2, 7, 8, 9)
    ]
    assert not due.is_whole
    assert (await store.due(NOW, limit=11)).is_whole


@pytest.mark.parametrize("others", [0, 3, 30])
async def test_old_tasks_do_not_hide_the_newest_of_those_that_were_named(
    store: HarvestStore, editor: QueueEditor, others: int
) -> None:
    ids = [object_id(number, created_ms=NOW - (10 - number) * 60_000) for number in range(10)]
    older = [object_id(number, created_ms=NOW - DAY_MS) for number in range(others)]
    newer = [object_id(number, created_ms=NOW - 1_000) for number in range(others)]
    editor.add([*ids, *older, *newer], NOW)
    await store.select(ids, NOW)
    due = await store.due(NOW, limit=3)
    assert ids_of(list(due.pending)) == [ids[number] for number in (0, 1, 2, 7, 8, 9)]
    assert not due.is_whole
    assert (await store.due(NOW, limit=11)).is_whole


AGED = st.tuples(st.integers(0, 14), st.booleans(), st.booleans())
"""A task's age in half days, whether it was named, and whether it is due."""


@EVERY_BACKEND
@given(tasks=st.lists(AGED, max_size=25), limit=st.integers(1, 8))
def test_the_named_tasks_are_found_wherever_they_are_among_the_others(
    backend: Backend, tasks: list[tuple[int, bool, bool]], limit: int
) -> None:
    now_ms = NOW + RETENTION_MS - 5 * DAY_MS
    ids = [object_id(number, created_ms=NOW - age * DAY_MS // 2) for number, (age, _, _) in enumerate(tasks)]
    named = {task_id for task_id, (_, is_named, _) in zip(ids, tasks, strict=True) if is_named}

    async def read_due() -> tuple[DueTasks, list[Task], int | None, list[int]]:
        async with throwaway(backend) as (store, editor):
            editor.add(ids, NOW)
            # Naming a task makes it due, so the others are put off afterwards.
            await store.select(sorted(named), NOW)
            async with backend.open(store.path) as other:
                seen = (await other.due(NOW, limit=len(tasks) + 1)).pending
                asleep = [(task, now_ms + task.row_id) for task in seen if not tasks[ids.index(task.task_id)][2]]
                await other.postpone(asleep, NOW)
                everything = (await other.due(now_ms, limit=len(tasks) + 1)).pending
            due = await store.due(now_ms, limit=limit)
            expected = [task for task in everything if task.task_id in named]
            return due, expected, await store.next_due_ms(), [at_ms for task, at_ms in asleep if task.task_id in named]

    due, expected, next_ms, sleeping = asyncio.run(read_due())
    in_time = [task for task in expected if not task.is_past_deadline(now_ms)]
    newest = [task for task in in_time[-limit:] if task not in expected[:limit]]
    assert due == DueTasks([], [*expected[:limit], *newest], is_whole=len(expected) < limit)
    assert next_ms == (0 if expected else min(sleeping, default=None))


async def test_what_is_overdue_is_due_last(store: HarvestStore, editor: QueueEditor) -> None:
    overdue, old, young = (
        object_id(number, created_ms=NOW - age_ms) for number, age_ms in enumerate([8 * DAY_MS, 6 * DAY_MS, DAY_MS])
    )
    editor.add([young, overdue, old], NOW)
    assert ids_of(list((await store.due(NOW, limit=10)).pending)) == [old, young, overdue]


async def test_a_claim_that_does_not_wake_leaves_the_backed_off_asleep(
    store: HarvestStore, editor: QueueEditor
) -> None:
    due_ms = await back_off(store, editor)
    assert await claim(store, now_ms=due_ms, make_due=False) == []
    await store.make_all_due(NOW + 1)
    assert len(await claim(store, now_ms=NOW + 1, make_due=False)) == 1


async def test_an_early_wake_takes_over_what_a_dead_process_left(store: HarvestStore, editor: QueueEditor) -> None:
    await claim_new(store, editor)
    await store.make_all_due(NOW + LEASE_MS - 1)
    assert await claim(store, now_ms=NOW + LEASE_MS - 1, make_due=False) == []
    await store.make_all_due(NOW + LEASE_MS)
    assert len(await claim(store, now_ms=NOW + LEASE_MS, make_due=False)) == 1


async def test_renew_and_release_count_the_owners_claims(store: HarvestStore, editor: QueueEditor) -> None:
    editor.add([object_id(1), object_id(2)], NOW)
    await claim(store)
    assert (await store.renew(lease()), await store.renew(lease("another"))) == (2, 0)
    assert (await store.release("another"), await store.release("daemon"), await store.release("daemon")) == (0, 2, 0)
