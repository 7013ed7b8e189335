"""Decisions about tasks that a page of the list names."""

import random

import pytest

from harvester.domain.planning.list_decisions import decide_listed, listed_state
from harvester.domain.planning.poll_times import MIN_POLL_WAIT_MS
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.failures import LISTED_WITHOUT_REASON, NO_REASON
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Failed, Processing, Ready
from harvester.domain.tasks.records import Decision
from harvester.domain.tasks.task import RETENTION_MS, Task, TaskState

NOW = 1_760_000_000_000
CREATED = NOW - 60_000
TASK_ID = "a task without a date in its id"


def task(state: TaskState = TaskState.PENDING, *, created_at_ms: int | None = None) -> Task:
    return Task(7, TASK_ID, state, NOW, NOW + RETENTION_MS, created_at_ms, failures=2, gone=1, doubted_at_ms=NOW - 1)


def decided(
    known: Task, outcome: Ready | Failed | Processing, *, created_at_ms: int | None = CREATED
) -> Decision | None:
    entry = ListedTask(TASK_ID, outcome, MediaMetadata(created_at_ms=created_at_ms))
    return decide_listed(known, entry, NOW, random.Random(0), key="mine")


def test_an_entry_that_says_ready_makes_the_task_due_with_the_deadline_that_follows_from_its_date() -> None:
    decision = decided(task(), Ready())
    assert decision is not None
    assert (decision.state, decision.next_attempt_at_ms, decision.failures) == (TaskState.READY, 0, 0)
    assert (decision.created_at_ms, decision.expires_at_ms) == (CREATED, CREATED + RETENTION_MS)
    assert (decision.seen_with, listed_state(decision)) == ("mine", TaskState.READY)


def test_an_entry_that_says_processing_is_worth_a_status_call() -> None:
    decision = decided(task(), Processing("processing", CREATED))
    assert decision is not None
    assert (decision.state, decision.unfinished_at_ms, decision.gone) == (TaskState.PENDING, NOW, 0)
    assert decision.next_attempt_at_ms >= NOW + MIN_POLL_WAIT_MS


def test_an_entry_that_says_failed_ends_nothing_and_makes_the_task_be_asked_for_the_reason() -> None:
    decision = decided(task(), Failed("broken"))
    assert decision is not None
    assert (decision.state, decision.next_attempt_at_ms, decision.seen_with) == (TaskState.READY, 0, "mine")
    assert decision.problem is not None
    assert (decision.problem.code, listed_state(decision)) == ("listed_failed", TaskState.FAILED)


@pytest.mark.parametrize(("reason", "kept"), [("Broken.", "Broken."), (NO_REASON, LISTED_WITHOUT_REASON)])
def test_an_entry_that_gives_a_reason_keeps_it(reason: str, kept: str) -> None:
    decision = decided(task(), Failed(reason))
    assert decision is not None
    assert decision.problem is not None
    assert decision.problem.message == kept


@pytest.mark.parametrize("outcome", [Ready(), Processing(), Failed("broken")])
def test_a_ready_task_learns_its_date_and_nothing_else(outcome: Ready | Processing | Failed) -> None:
    decision = decided(task(TaskState.READY), outcome)
    assert decision is not None
    assert (decision.state, decision.created_at_ms, decision.expires_at_ms) == (
        TaskState.READY,
        CREATED,
        CREATED + RETENTION_MS,
    )
    assert (decision.failures, decision.gone, decision.doubted_at_ms, decision.problem) == (2, 1, NOW - 1, None)
    assert decided(task(TaskState.READY, created_at_ms=CREATED), outcome) is None
    assert decided(task(TaskState.READY), outcome, created_at_ms=None) is None
