import random
import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.domain.planning.decisions import decide
from harvester.domain.planning.plan import DueTasks
from harvester.domain.tasks.outcomes import Failed, NotFound, Processing, Ready, Retrieved, Transient
from harvester.domain.tasks.records import LONGEST_SLEEP_MS, HeldLeases, Lease
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS, Task, TaskState
from harvester.store.sqlite import queue
from harvester.store.sqlite.connection import in_transaction
from harvester.store.sqlite.counts import next_due_ms
from tests.unit.store.builders import (
    LEASE_MS,
    NOW,
    add_tasks,
    claim,
    claim_new,
    contents,
    embeddings,
    lease,
    object_id,
    row,
    settle_all,
    settlement,
    settlement_as,
    throwaway_database,
)


def ids_of(tasks: list[Task]) -> list[str]:
    return [task.task_id for task in tasks]


def make_ready(connection: sqlite3.Connection, *task_ids: str) -> None:
    add_tasks(connection, *task_ids)
    for task in claim(connection, "status asker"):
        if task.task_id in task_ids:
            settle_all(connection, settlement(task, Ready()))
    in_transaction(connection, lambda connection: queue.release(connection, "status asker"))


def back_off(connection: sqlite3.Connection, number: int = 0) -> int:
    """Queue a task and let it fail; return when it is due again."""
    task = claim_new(connection, number)
    failed = settlement(task, Transient("reset", "connection_lost"))
    failed = replace(failed, decision=replace(failed.decision, next_attempt_at_ms=NOW + 5_000))
    settle_all(connection, failed)
    return NOW + 5_000


def test_an_id_is_queued_once(connection: sqlite3.Connection) -> None:
    ids = [object_id(1), object_id(2), object_id(1)]
    assert in_transaction(connection, lambda connection: queue.add(connection, ids, NOW)) == 2
    assert in_transaction(connection, lambda connection: queue.add(connection, ids, NOW + 1)) == 0


def test_queueing_a_known_id_leaves_it_as_it_is(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    settle_all(connection, settlement(task, Retrieved(embeddings())))
    before = contents(connection)
    add_tasks(connection, task.task_id, now_ms=NOW + DAY_MS)
    assert contents(connection) == before


def test_the_nearest_deadline_is_claimed_first(connection: sqlite3.Connection) -> None:
    days = [3, 1, 6, 2]
    ids = {day: object_id(day, created_ms=NOW - day * DAY_MS) for day in days}
    add_tasks(connection, *ids.values())
    assert ids_of(claim(connection)) == [ids[6], ids[3], ids[2], ids[1]]


def test_ready_tasks_come_before_all_others(connection: sqlite3.Connection) -> None:
    ready_late, ready_soon = object_id(1), object_id(2, created_ms=NOW - DAY_MS)
    make_ready(connection, ready_late, ready_soon)
    urgent = object_id(3, created_ms=NOW - 6 * DAY_MS)
    add_tasks(connection, urgent)
    assert ids_of(claim(connection)) == [ready_soon, ready_late, urgent]


@settings(deadline=None)  # the disk may be slow
@given(
    days=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    limits=st.lists(st.integers(1, 5), min_size=1, max_size=6),
)
def test_claims_follow_one_order_whatever_their_limits(days: list[int], limits: list[int]) -> None:
    with throwaway_database() as connection:
        ids = [object_id(number, created_ms=NOW - day * DAY_MS) for number, day in enumerate(days)]
        add_tasks(connection, *ids)
        claimed = [claim(connection, f"owner {turn}", limit=limit) for turn, limit in enumerate(limits)]
    in_order = sorted(ids, key=lambda task_id: (task_id[:8], ids.index(task_id)))
    starts = [sum(limits[:turn]) for turn in range(len(limits))]
    expected = [in_order[start : start + limit] for start, limit in zip(starts, limits, strict=True)]
    assert [ids_of(tasks) for tasks in claimed] == expected


def test_a_limit_counts_ready_and_pending_together(connection: sqlite3.Connection) -> None:
    make_ready(connection, object_id(1), object_id(2))
    add_tasks(connection, object_id(3), object_id(4))
    assert ids_of(claim(connection, limit=3)) == [object_id(1), object_id(2), object_id(3)]


def test_two_owners_never_get_the_same_task(connection: sqlite3.Connection, other: sqlite3.Connection) -> None:
    add_tasks(connection, *(object_id(number) for number in range(10)))
    mine, theirs = claim(connection, "daemon", limit=6), claim(other, "backfill", limit=6)
    assert sorted(ids_of(mine) + ids_of(theirs)) == [object_id(number) for number in range(10)]


def test_a_claim_carries_the_row(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(1))
    (task,) = claim(connection)
    created_ms = NOW - 3 * DAY_MS
    settle_all(connection, settlement(task, Processing(created_at_ms=created_ms)))
    (again,) = claim(connection, now_ms=NOW + DAY_MS)
    assert again == replace(
        task, created_at_ms=created_ms, expires_at_ms=created_ms + RETENTION_MS, claim=3, unfinished_at_ms=NOW
    )


def test_the_counters_come_back_with_the_next_claim(connection: sqlite3.Connection) -> None:
    task, outcome = claim_new(connection), NotFound("no such task")
    settle_all(connection, settlement_as(task, decide(task, outcome, NOW, random.Random(0)), outcome=outcome))
    (again,) = claim(connection, now_ms=NOW + DAY_MS)
    assert (again.gone, again.failures, again.invalid) == (1, 0, 0)


def test_a_lease_keeps_the_task_until_it_ends(connection: sqlite3.Connection) -> None:
    claim_new(connection)
    assert claim(connection, "backfill", now_ms=NOW + LEASE_MS - 1) == []


def test_a_lease_that_has_ended_returns_the_task_with_a_higher_number(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    (again,) = claim(connection, "backfill", now_ms=NOW + LEASE_MS)
    assert again == replace(task, claim=task.claim + 1)


def test_a_renewed_lease_keeps_the_task(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    later = lease("daemon", now_ms=NOW + LEASE_MS // 2)
    assert in_transaction(connection, lambda connection: queue.renew(connection, later)) == 1
    assert claim(connection, "backfill", now_ms=NOW + LEASE_MS) == []
    assert settle_all(connection, settlement(task, Ready())) == [True]


def test_only_the_owners_leases_are_renewed(connection: sqlite3.Connection) -> None:
    claim_new(connection)
    stranger = lease("backfill", now_ms=NOW + LEASE_MS // 2)
    assert in_transaction(connection, lambda connection: queue.renew(connection, stranger)) == 0
    assert len(claim(connection, "backfill", now_ms=NOW + LEASE_MS)) == 1


def test_a_lease_lost_to_somebody_else_is_not_renewed(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    claim(connection, "backfill", now_ms=NOW + LEASE_MS)
    late = lease("daemon", now_ms=NOW + LEASE_MS + 1)
    assert in_transaction(connection, lambda connection: queue.renew(connection, late)) == 0
    assert row(connection, task.key, "lease_owner", "lease_until") == ("backfill", NOW + 2 * LEASE_MS)


def test_a_released_task_is_due_at_once(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    assert in_transaction(connection, lambda connection: queue.release(connection, "daemon")) == 1
    assert claim(connection, "backfill") == [replace(task, claim=2)]


def test_only_the_owners_tasks_are_released(connection: sqlite3.Connection) -> None:
    claim_new(connection)
    assert in_transaction(connection, lambda connection: queue.release(connection, "backfill")) == 0
    assert claim(connection, "backfill") == []


def test_a_backed_off_task_is_not_claimed_before_its_time(connection: sqlite3.Connection) -> None:
    due_ms = back_off(connection)
    assert claim(connection, now_ms=due_ms - 1) == []
    assert len(claim(connection, now_ms=due_ms)) == 1


def test_an_ended_task_is_not_claimed(connection: sqlite3.Connection) -> None:
    settle_all(connection, settlement(claim_new(connection), Failed("bad video")))
    assert claim(connection, now_ms=NOW + DAY_MS) == []


def test_an_early_wake_brings_back_the_backed_off_and_leaves_the_claimed(connection: sqlite3.Connection) -> None:
    back_off(connection, 1)
    claim_new(connection, 2)
    in_transaction(connection, lambda connection: queue.wake_early(connection, only_wanted=False))
    assert ids_of(claim(connection, "backfill")) == [object_id(1)]


def test_an_early_wake_among_the_wanted_leaves_the_others_asleep(connection: sqlite3.Connection) -> None:
    back_off(connection, 1)
    back_off(connection, 2)

    def body(connection: sqlite3.Connection) -> None:
        queue.want(connection, [object_id(2)])
        queue.wake_early(connection, only_wanted=True)

    in_transaction(connection, body)
    assert ids_of(claim(connection)) == [object_id(2)]


def test_claims_can_be_restricted_to_the_named_ids(connection: sqlite3.Connection) -> None:
    add_tasks(connection, *(object_id(number) for number in range(6)))
    wanted = [object_id(4), object_id(1), object_id(99)]
    in_transaction(connection, lambda connection: queue.want(connection, wanted))
    assert ids_of(claim(connection, only_wanted=True)) == [object_id(1), object_id(4)]


def test_wanting_other_ids_forgets_the_former_ones(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(1), object_id(2))
    in_transaction(connection, lambda connection: queue.want(connection, [object_id(1)]))
    in_transaction(connection, lambda connection: queue.want(connection, [object_id(2)]))
    assert ids_of(claim(connection, only_wanted=True)) == [object_id(2)]


def test_wanting_concerns_one_connection_only(connection: sqlite3.Connection, other: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(1), object_id(2))
    in_transaction(connection, lambda connection: queue.want(connection, [object_id(1)]))
    assert ids_of(claim(other)) == [object_id(1), object_id(2)]


@pytest.mark.parametrize("state", [state for state in TaskState if not state.is_open])
def test_every_end_but_harvested_can_be_retried(connection: sqlite3.Connection, state: TaskState) -> None:
    task = claim_new(connection)
    ended = settlement(task, Failed("bad video"))
    settle_all(connection, replace(ended, decision=replace(ended.decision, state=state, gone=2, invalid=1)))
    by_id = in_transaction(connection, lambda connection: queue.retry(connection, task_ids=[task.task_id]))
    by_state = in_transaction(connection, lambda connection: queue.retry(connection, states=[state]))
    is_retried = state is not TaskState.HARVESTED
    assert (by_id, by_state) == (int(is_retried), 0)
    again = replace(task, claim=3, error_code="task_failed", error_message="bad video")
    assert claim(connection) == ([again] if is_retried else [])


def test_retrying_by_state_takes_all_of_that_state_and_no_other(connection: sqlite3.Connection) -> None:
    for number in range(3):
        settle_all(connection, settlement(claim_new(connection, number), Failed("bad video")))
    settle_all(connection, settlement(claim_new(connection, 3), Retrieved(embeddings())))
    states = [*TaskState]
    assert in_transaction(connection, lambda connection: queue.retry(connection, states=states)) == 3
    assert ids_of(claim(connection)) == [object_id(number) for number in range(3)]


@pytest.mark.parametrize("created_at_ms", [-62_135_596_800_000, 0, -RETENTION_MS])
def test_an_absurd_creation_time_does_not_hide_a_task(connection: sqlite3.Connection, created_at_ms: int) -> None:
    # 0001-01-01T00:00:00Z is what Go programs write for "no time".
    task = claim_new(connection)
    settle_all(connection, settlement(task, Processing(created_at_ms=created_at_ms)))
    assert ids_of(claim(connection, now_ms=NOW + DAY_MS)) == [task.task_id]


def test_a_task_that_is_not_worth_a_request_yet_sleeps(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(1))
    (seen,) = queue.due(connection, NOW, limit=5).pending
    in_transaction(connection, lambda connection: queue.postpone(connection, [(seen, NOW + 5_000)], NOW))
    assert claim(connection, now_ms=NOW + 4_999) == []
    assert len(claim(connection, now_ms=NOW + 5_000)) == 1


@settings(max_examples=60)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["pending", "ready", "harvested"]),
            st.sampled_from([None, -1, 0, 1, NOW + DAY_MS]),
            st.sampled_from([0, 1, NOW, NOW + 1, NOW + queue.LONGEST_WAIT_MS + 1, NOW + LONGEST_SLEEP_MS + 1]),
            st.sampled_from([None, "other"]),
        ),
        max_size=3,
    ),
    wake=st.booleans(),
    lapsed=st.booleans(),
)
def test_upkeep_is_needed_exactly_where_it_changes_something(
    rows: list[tuple[str, int | None, int, str | None]], *, wake: bool, lapsed: bool
) -> None:
    with throwaway_database() as connection:
        connection.executemany(
            "INSERT INTO tasks (task_id, state, expires_at, next_attempt_at, lease_owner) VALUES (?, ?, ?, ?, ?)",
            [(object_id(number), *row) for number, row in enumerate(rows)],
        )
        is_needed = queue.needs_upkeep(connection, NOW, wake=wake, lapsed=lapsed)
        before = connection.total_changes
        queue.adopt(connection, NOW)
        if wake:
            queue.wake(connection, NOW, lapsed=lapsed)
        assert is_needed == (connection.total_changes > before)
        assert not queue.needs_upkeep(connection, NOW, wake=wake, lapsed=lapsed)


def test_what_was_put_off_while_the_clock_was_ahead_is_woken(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(1), object_id(2))
    asleep, claimed = queue.due(connection, NOW, limit=5).pending
    in_transaction(connection, lambda connection: queue.postpone(connection, [(asleep, NOW + 20 * 3_600_000)], NOW))
    other = Lease("other", NOW + DAY_MS, NOW)
    in_transaction(connection, lambda connection: queue.claim(connection, other, [claimed]))
    assert [task.key for task in claim(connection)] == [asleep.key]


@pytest.mark.parametrize(("ahead_ms", "woken"), [(3 * 3_600_000, 1), (61_000, 1), (60_000, 0), (0, 0)])
def test_what_a_clock_that_was_ahead_put_off_is_told_from_what_sleeps_rightly(
    connection: sqlite3.Connection, ahead_ms: int, woken: int
) -> None:
    add_tasks(connection, object_id(1), object_id(2))
    asleep, claimed = queue.due(connection, NOW, limit=5).pending
    noted_ms = NOW + ahead_ms
    in_transaction(connection, lambda connection: queue.postpone(connection, [(asleep, noted_ms + 5_000)], noted_ms))
    other = Lease("other", noted_ms + LEASE_MS, noted_ms)
    in_transaction(connection, lambda connection: queue.claim(connection, other, [claimed]))
    assert queue.is_any_misdated(connection, NOW) == bool(woken)
    assert in_transaction(connection, lambda connection: queue.wake_misdated(connection, NOW)) == woken
    assert len(claim(connection)) == woken


def test_an_answer_notes_when_its_wait_was_set(connection: sqlite3.Connection) -> None:
    back_off(connection)
    assert queue.is_any_misdated(connection, NOW - 61_000)
    assert not queue.is_any_misdated(connection, NOW - 60_000)


def test_dead_owners_lose_what_they_have_not_renewed_since_it_was_looked_at(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    (held,) = queue.held_leases(connection)
    assert held == HeldLeases("daemon", NOW + LEASE_MS, LEASE_MS, 1)
    in_transaction(connection, lambda connection: queue.renew(connection, lease(now_ms=NOW + 1)))
    assert in_transaction(connection, lambda connection: queue.free(connection, [held])) == 0
    (held,) = queue.held_leases(connection)
    assert in_transaction(connection, lambda connection: queue.free(connection, [held])) == 1
    assert claim(connection, "backfill") == [replace(task, claim=2)]


def test_what_somebody_has_in_hand_is_not_put_off(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(1))
    (seen,) = queue.due(connection, NOW, limit=5).pending
    (claimed,) = claim(connection)
    in_transaction(connection, lambda connection: queue.postpone(connection, [(seen, NOW + DAY_MS)], NOW))
    in_transaction(connection, lambda connection: queue.postpone(connection, [(claimed, NOW + DAY_MS)], NOW))
    (until_ms,) = row(connection, claimed.key, "next_attempt_at")
    assert until_ms == NOW + LEASE_MS


def test_of_two_who_saw_a_task_one_claims_it(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(1))
    seen = queue.due(connection, NOW, limit=5).pending
    one, other = (
        in_transaction(connection, lambda connection, name=name: queue.claim(connection, lease(name), seen))  # type: ignore[misc]
        for name in ("one", "other")
    )
    assert (len(one), len(other)) == (1, 0)


def test_old_tasks_do_not_hide_the_newest(connection: sqlite3.Connection) -> None:
    for number in range(10):
        created_ms = NOW - (10 - number) * 60_000
        add_tasks(connection, object_id(number, created_ms=created_ms))
    due = queue.due(connection, NOW, limit=3)
    assert ids_of(list(due.pending)) == [
        object_id(number, created_ms=NOW - (10 - number) * 60_000) for number in (0, 1, 2, 7, 8, 9)
    ]
    assert not due.is_whole
    assert queue.due(connection, NOW, limit=11).is_whole


@pytest.mark.parametrize("others", [0, 3, 30])
def test_old_tasks_do_not_hide_the_newest_of_those_that_were_named(connection: sqlite3.Connection, others: int) -> None:
    ids = [object_id(number, created_ms=NOW - (10 - number) * 60_000) for number in range(10)]
    older = [object_id(number, created_ms=NOW - DAY_MS) for number in range(others)]
    newer = [object_id(number, created_ms=NOW - 1_000) for number in range(others)]
    add_tasks(connection, *ids, *older, *newer)
    in_transaction(connection, lambda connection: queue.want(connection, ids))
    due = queue.due(connection, NOW, limit=3, only_wanted=True)
    assert ids_of(list(due.pending)) == [ids[number] for number in (0, 1, 2, 7, 8, 9)]
    assert not due.is_whole
    assert queue.due(connection, NOW, limit=11, only_wanted=True).is_whole


AGED = st.tuples(st.integers(0, 14), st.booleans(), st.booleans())
"""Of a task: its age in half days, whether it was named, and whether it is due."""


@settings(deadline=None)  # the disk may be slow
@given(tasks=st.lists(AGED, max_size=25), limit=st.integers(1, 8))
def test_the_named_tasks_are_found_wherever_they_are_among_the_others(
    tasks: list[tuple[int, bool, bool]], limit: int
) -> None:
    now_ms = NOW + RETENTION_MS - 5 * DAY_MS
    ids = [object_id(number, created_ms=NOW - age * DAY_MS // 2) for number, (age, _, _) in enumerate(tasks)]
    with throwaway_database() as connection:
        add_tasks(connection, *ids)
        seen = queue.due(connection, NOW, limit=len(tasks) + 1).pending
        asleep = [(task, now_ms + task.key) for task in seen if not tasks[ids.index(task.task_id)][2]]
        in_transaction(connection, lambda connection: queue.postpone(connection, asleep, NOW))
        named = [task_id for task_id, (_, is_named, _) in zip(ids, tasks, strict=True) if is_named]
        in_transaction(connection, lambda connection: queue.want(connection, named))
        everything = queue.due(connection, now_ms, limit=len(tasks) + 1)
        expected = [task for task in everything.pending if task.task_id in named]
        due = queue.due(connection, now_ms, limit=limit, only_wanted=True)
        sleeping = [until_ms for task, until_ms in asleep if task.task_id in named]
        next_ms = next_due_ms(connection, only_wanted=True)
    in_time = [task for task in expected if not task.is_past_deadline(now_ms)]
    newest = [task for task in in_time[-limit:] if task not in expected[:limit]]
    assert due == DueTasks([], [*expected[:limit], *newest], is_whole=len(expected) < limit)
    assert next_ms == (0 if expected else min(sleeping, default=None))


def test_what_is_overdue_is_due_last(connection: sqlite3.Connection) -> None:
    overdue, old, young = (
        object_id(number, created_ms=NOW - age_ms) for number, age_ms in enumerate([8 * DAY_MS, 6 * DAY_MS, DAY_MS])
    )
    add_tasks(connection, young, overdue, old)
    assert ids_of(list(queue.due(connection, NOW, limit=10).pending)) == [old, young, overdue]
