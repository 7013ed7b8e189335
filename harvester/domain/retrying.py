"""What to do about a task after an outcome: (task, outcome, now, rng) -> decision.

| outcome            | decision                                                                  |
| ------------------ | ------------------------------------------------------------------------- |
| Ready              | `ready`, retrieve at once                                                 |
| Retrieved          | `harvested`                                                               |
| Processing         | `pending`, asked again when planning says                                 |
| Failed             | `failed`                                                                  |
| Gone               | past the deadline `expired`; younger: two confirmations, then `missing`   |
| Empty              | past the deadline `expired`; else three downloads, then `rejected`        |
| Unacceptable       | `rejected`                                                                |
| Invalid            | three downloads, then `rejected`                                          |
| Transient          | backed off; given up, as `expired`, only a day after the deadline         |
| Misrouted          | as Transient: asked again on a fresh connection                           |
| Throttled, Refused | unchanged: they say nothing about the task                                |
"""

from dataclasses import dataclass, replace
from typing import assert_never

from harvester.domain.outcomes import (
    Empty,
    Failed,
    Gone,
    Invalid,
    Misrouted,
    Outcome,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
    Transient,
    Unacceptable,
)
from harvester.domain.planning import Rng, at_latest_before_deadline, next_look_ms
from harvester.domain.processing_time import ProcessingTimes
from harvester.domain.tasks import OVERDUE_GRACE_MS, Task, TaskState, deadline_ms

BACKOFF_BASE_MS = 1_000
BACKOFF_CAP_MS = 5 * 60 * 1_000

GONE_ANSWERS = 3
"""A 404 and its two confirmations."""

GONE_SPACING_MS = 5_000
"""A task that was created a moment ago may not be visible everywhere yet."""

INVALID_DOWNLOADS = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a task is not harvested (yet): a stable code, and the API's or the program's words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The next row of a task. `next_attempt_at_ms` 0 means at once; an end has none."""

    state: TaskState
    next_attempt_at_ms: int = 0
    expires_at_ms: int = 0
    created_at_ms: int | None = None
    failures: int = 0
    gone: int = 0
    invalid: int = 0
    unfinished_at_ms: int | None = None
    problem: Problem | None = None


def decide(task: Task, outcome: Outcome, now_ms: int, rng: Rng, times: ProcessingTimes | None = None) -> Decision:
    """Return what becomes of `task`; pure, and defined for every outcome in every open state.

    `times` is what was learned of processing times; without it the wait for a result follows the prior.
    """
    stay = _unchanged(task)
    match outcome:
        case Retrieved():
            return replace(_dated(task, outcome.embeddings.metadata.created_at_ms), state=TaskState.HARVESTED)
        case Ready():
            # How often it was gone still counts: it takes a result to disprove that.
            return replace(stay, state=TaskState.READY, failures=0)
        case Processing():
            return _check_again(task, outcome, now_ms, times or ProcessingTimes())
        case Failed():
            return replace(stay, state=TaskState.FAILED, problem=_problem(outcome))
        case Unacceptable():
            return replace(stay, state=TaskState.REJECTED, problem=_problem(outcome))
        case Gone():
            return _confirm_gone(task, outcome, now_ms, rng)
        case Empty() | Invalid():
            return _download_again(task, outcome, now_ms, rng)
        case Transient() | Misrouted():
            return _back_off(task, outcome, now_ms, rng)
        case Throttled() | Refused():
            return stay
        case _:
            assert_never(outcome)


def backoff_ms(failures: int, rng: Rng) -> int:
    """Return a wait with full jitter: between 0 and 1 s doubling with each failure, at most 5 min.

    Source: the "full jitter" variant of exponential back-off, AWS Architecture Blog, 2015.
    """
    ceiling = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** min(failures - 1, 20))
    return int(rng.uniform(0, ceiling))


def _unchanged(task: Task) -> Decision:
    return Decision(
        state=task.state,
        expires_at_ms=task.expires_at_ms,
        created_at_ms=task.created_at_ms,
        failures=task.failures,
        gone=task.gone,
        invalid=task.invalid,
        unfinished_at_ms=task.unfinished_at_ms,
    )


def _dated(task: Task, created_at_ms: int | None) -> Decision:
    """Let the API's `created_at` overrule the hint from the id."""
    if created_at_ms is None:
        return _unchanged(task)
    expires = deadline_ms(task.task_id, created_at_ms=created_at_ms, added_at_ms=task.added_at_ms)
    return replace(_unchanged(task), created_at_ms=created_at_ms, expires_at_ms=expires)


def _problem(outcome: Failed | Gone | Empty | Unacceptable | Transient | Misrouted | Invalid) -> Problem:
    return Problem(outcome.code, outcome.message)


def _check_again(task: Task, outcome: Processing, now_ms: int, times: ProcessingTimes) -> Decision:
    dated = _dated(task, outcome.created_at_ms)
    known = replace(task, created_at_ms=dated.created_at_ms, expires_at_ms=dated.expires_at_ms)
    return replace(
        dated,
        state=TaskState.PENDING,
        failures=0,
        gone=0,
        unfinished_at_ms=now_ms,
        next_attempt_at_ms=next_look_ms(known, now_ms, times),
    )


def _confirm_gone(task: Task, outcome: Gone, now_ms: int, rng: Rng) -> Decision:
    gone = task.gone + 1
    after = replace(_unchanged(task), gone=gone, failures=0, problem=_problem(outcome))
    if task.is_past_deadline(now_ms):
        return replace(after, state=TaskState.EXPIRED)
    if gone >= GONE_ANSWERS:
        return replace(after, state=TaskState.MISSING)
    spaced = GONE_SPACING_MS * gone + backoff_ms(1, rng)
    # That it was ready may be a conclusion of ours: its status is asked for before the next retrieval.
    return replace(after, state=TaskState.PENDING, next_attempt_at_ms=at_latest_before_deadline(task, now_ms, spaced))


def _download_again(task: Task, outcome: Empty | Invalid, now_ms: int, rng: Rng) -> Decision:
    invalid = task.invalid + 1
    after = replace(_unchanged(task), invalid=invalid, failures=0, gone=0, problem=_problem(outcome))
    if isinstance(outcome, Empty) and task.is_past_deadline(now_ms):
        return replace(after, state=TaskState.EXPIRED)
    if invalid >= INVALID_DOWNLOADS:
        return replace(after, state=TaskState.REJECTED)
    delay = BACKOFF_BASE_MS * invalid + backoff_ms(invalid + 1, rng)
    return replace(after, next_attempt_at_ms=at_latest_before_deadline(task, now_ms, delay))


def _back_off(task: Task, outcome: Transient | Misrouted, now_ms: int, rng: Rng) -> Decision:
    failures = task.failures + 1
    after = replace(_unchanged(task), failures=failures, problem=_problem(outcome))
    if now_ms >= task.expires_at_ms + OVERDUE_GRACE_MS:
        return replace(after, state=TaskState.EXPIRED)
    delay = backoff_ms(failures, rng)
    return replace(after, next_attempt_at_ms=at_latest_before_deadline(task, now_ms, delay))
