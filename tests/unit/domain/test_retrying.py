"""The table of decisions, row by row, and what must hold over any sequence of answers."""

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.domain.embeddings import TaskEmbeddings, VideoMetadata
from harvester.domain.outcomes import (
    Empty,
    Failed,
    Gone,
    Invalid,
    Outcome,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
    Transient,
    Unacceptable,
)
from harvester.domain.planning import LAST_CHANCE_MS, next_look_ms
from harvester.domain.processing_time import ProcessingTimes
from harvester.domain.retrying import (
    BACKOFF_CAP_MS,
    GONE_SPACING_MS,
    Decision,
    Problem,
    backoff_ms,
    decide,
)
from harvester.domain.tasks import DAY_MS, OPEN_STATES, OVERDUE_GRACE_MS, RETENTION_MS, Task, TaskState

NOW = 1_760_000_000_000
MINUTE_MS = 60_000
OPEN = [TaskState.PENDING, TaskState.READY]


class Highest:
    """Draws the upper end, always: the longest waits."""

    def uniform(self, a: float, b: float, /) -> float:
        return max(a, b)


def task(
    state: TaskState = TaskState.PENDING, *, age_ms: int = MINUTE_MS, failures: int = 0, gone: int = 0, invalid: int = 0
) -> Task:
    return Task(
        1,
        "opaque",
        state,
        added_at_ms=NOW - age_ms,
        expires_at_ms=NOW - age_ms + RETENTION_MS,
        failures=failures,
        gone=gone,
        invalid=invalid,
    )


def retrieved(created_at_ms: int | None = None) -> Retrieved:
    return Retrieved(
        TaskEmbeddings(
            VideoMetadata(created_at_ms=created_at_ms),
            [None],
            [None],
            [0.0],
            [1.0],
            np.ones((1, 2), "<f4"),
            b"{}",
            [("float",)],
            [0],
        )
    )


def after(one: Task, outcome: Outcome, now_ms: int = NOW) -> Decision:
    return decide(one, outcome, now_ms, Highest())


@pytest.mark.parametrize("state", OPEN)
def test_ready_is_retrieved_at_once(state: TaskState) -> None:
    decision = after(task(state, failures=3), Ready())
    assert (decision.state, decision.next_attempt_at_ms, decision.failures) == (TaskState.READY, 0, 0)


@pytest.mark.parametrize("state", OPEN)
def test_valid_segments_are_harvested_even_long_after_the_deadline(state: TaskState) -> None:
    assert after(task(state, age_ms=30 * DAY_MS), retrieved()).state is TaskState.HARVESTED


@pytest.mark.parametrize("outcome", [Processing(), Processing("indexing"), Processing("generic_error")])
@pytest.mark.parametrize("state", OPEN)
def test_what_is_not_finished_is_pending_and_asked_again_later(state: TaskState, outcome: Processing) -> None:
    decision = after(task(state, failures=2, gone=1), outcome)
    again_ms = next_look_ms(task(), NOW, ProcessingTimes())
    assert again_ms > NOW
    assert decision == replace(
        after(task(), Throttled("")),
        state=TaskState.PENDING,
        next_attempt_at_ms=again_ms,
        unfinished_at_ms=NOW,
        failures=0,
        gone=0,
    )


def test_the_wait_follows_what_was_learned() -> None:
    slow, one = ProcessingTimes(), task()
    for _ in range(100):
        slow.observe(None, None, 0, 7_000, is_finished=False)
    waits = [decide(one, Processing(), NOW, random.Random(), times).next_attempt_at_ms for times in (None, slow)]
    assert waits[0] < waits[1]


@pytest.mark.parametrize("state", OPEN)
def test_a_failed_task_has_failed_and_keeps_the_reason(state: TaskState) -> None:
    decision = after(task(state), Failed("Video too short."))
    assert (decision.state, decision.problem) == (TaskState.FAILED, Problem("task_failed", "Video too short."))


@pytest.mark.parametrize("state", OPEN)
def test_an_unacceptable_id_is_rejected(state: TaskState) -> None:
    decision = after(task(state), Unacceptable("No such id."))
    assert (decision.state, decision.problem) == (TaskState.REJECTED, Problem("parameter_invalid", "No such id."))


@pytest.mark.parametrize(("before", "state"), [(0, "pending"), (1, "pending"), (2, "missing"), (9, "missing")])
def test_a_young_task_that_is_gone_is_missing_after_two_confirmations(before: int, state: str) -> None:
    assert after(task(gone=before), Gone("Unknown.")).state == state


def test_the_confirmations_are_seconds_apart() -> None:
    waits = [after(task(gone=before), Gone("")).next_attempt_at_ms - NOW for before in (0, 1)]
    assert waits == [GONE_SPACING_MS + 1_000, 2 * GONE_SPACING_MS + 1_000]


@pytest.mark.parametrize("outcome", [Gone("Unknown."), Empty()])
def test_past_its_deadline_a_task_without_a_result_is_expired(outcome: Outcome) -> None:
    assert after(task(age_ms=RETENTION_MS), outcome).state is TaskState.EXPIRED


@pytest.mark.parametrize("outcome", [Invalid("NaN"), Empty()])
@pytest.mark.parametrize(("before", "state"), [(0, "ready"), (1, "ready"), (2, "rejected"), (9, "rejected")])
def test_a_bad_payload_is_downloaded_three_times_and_then_rejected(outcome: Outcome, before: int, state: str) -> None:
    assert after(task(TaskState.READY, invalid=before), outcome).state == state


def test_a_payload_is_not_rejected_for_being_late() -> None:
    assert after(task(TaskState.READY, age_ms=RETENTION_MS), Invalid("NaN")).state is TaskState.READY


@pytest.mark.parametrize(("failures", "wait_ms"), [(0, 1_000), (1, 2_000), (4, 16_000), (9, 300_000), (5_000, 300_000)])
def test_a_passing_failure_backs_off_from_one_second_to_five_minutes(failures: int, wait_ms: int) -> None:
    decision = after(task(failures=failures), Transient("Reset.", "connection_lost"))
    assert (decision.next_attempt_at_ms, decision.failures) == (NOW + wait_ms, failures + 1)


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize(
    ("overdue_ms", "is_given_up"), [(-1, False), (0, False), (OVERDUE_GRACE_MS - 1, False), (OVERDUE_GRACE_MS, True)]
)
def test_a_passing_failure_ends_a_task_only_a_day_after_its_deadline(
    state: TaskState, overdue_ms: int, *, is_given_up: bool
) -> None:
    decision = after(task(state, age_ms=RETENTION_MS + overdue_ms), Transient("Reset.", "connection_lost"))
    assert decision.state is (TaskState.EXPIRED if is_given_up else state)


@pytest.mark.parametrize("outcome", [Throttled("Slow down.", 5.0), Refused("Bad key.")])
@pytest.mark.parametrize("age_ms", [0, RETENTION_MS - 1, RETENTION_MS + 2 * DAY_MS])
@pytest.mark.parametrize("state", OPEN)
def test_a_refusal_says_nothing_about_the_task(outcome: Outcome, age_ms: int, state: TaskState) -> None:
    before = task(state, age_ms=age_ms, failures=4, gone=2, invalid=1)
    assert after(before, outcome) == Decision(state, 0, before.expires_at_ms, None, failures=4, gone=2, invalid=1)


@pytest.mark.parametrize("outcome", [retrieved(NOW - DAY_MS), Processing(created_at_ms=NOW - DAY_MS)])
def test_the_apis_creation_time_overrules_the_guess(outcome: Outcome) -> None:
    decision = after(task(), outcome)
    assert (decision.created_at_ms, decision.expires_at_ms) == (NOW - DAY_MS, NOW - DAY_MS + RETENTION_MS)


@given(st.integers(1, 10_000), st.randoms(use_true_random=False))
def test_a_back_off_stays_in_its_bounds(failures: int, rng: random.Random) -> None:
    assert 0 <= backoff_ms(failures, rng) <= min(BACKOFF_CAP_MS, 1_000 * 2 ** (failures - 1))


# Any sequence of answers.

messages = st.sampled_from(["", "why"])
harmless = st.one_of(
    st.builds(Throttled, messages, st.none() | st.floats(0, 1e5)),
    st.builds(Refused, messages),
    st.builds(Transient, messages, st.just("http_503")),
    st.builds(Processing, st.sampled_from(["processing", "queued", "generic_error"])),
    st.just(Ready()),
)
counted = st.one_of(st.builds(Gone, messages), st.builds(Invalid, messages), st.just(Empty()))
ending = st.one_of(st.builds(Failed, messages), st.builds(Unacceptable, messages), st.just(retrieved()))
rngs = st.randoms(use_true_random=False)
ages = st.integers(0, RETENTION_MS - 1)


def drive(one: Task, outcomes: list[Outcome], rng: random.Random) -> Iterator[tuple[Task, int, Decision]]:
    """Carry decisions out as the service does, each attempt when it is due; yield what was decided upon, and when."""
    now = NOW
    for outcome in outcomes:
        decision = decide(one, outcome, now, rng)
        yield one, now, decision
        if not decision.state.is_open:
            return
        one = replace(
            one,
            state=decision.state,
            expires_at_ms=decision.expires_at_ms,
            created_at_ms=decision.created_at_ms,
            failures=decision.failures,
            gone=decision.gone,
            invalid=decision.invalid,
        )
        now = max(now + 200, decision.next_attempt_at_ms)


@settings(max_examples=200, deadline=None)
@given(ages, st.lists(st.one_of(harmless, counted, ending), max_size=40), rngs)
def test_every_decision_is_a_whole_row(age_ms: int, outcomes: list[Outcome], rng: random.Random) -> None:
    for _, now, decision in drive(task(age_ms=age_ms), outcomes, rng):
        assert decision.expires_at_ms > 0
        assert min(decision.failures, decision.gone, decision.invalid) >= 0
        assert decision.next_attempt_at_ms == 0 or decision.next_attempt_at_ms >= now
        assert decision.state.is_open or decision.next_attempt_at_ms == 0
        assert decision.state in OPEN_STATES | {TaskState.HARVESTED} or decision.problem is not None


@settings(max_examples=200, deadline=None)
@given(ages, st.lists(st.one_of(harmless, counted), max_size=40), rngs)
def test_only_a_retrieval_harvests(age_ms: int, outcomes: list[Outcome], rng: random.Random) -> None:
    states = {decision.state for _, _, decision in drive(task(age_ms=age_ms), outcomes, rng)}
    assert TaskState.HARVESTED not in states


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Gone("Unknown."), TaskState.MISSING), (Invalid("NaN"), TaskState.REJECTED), (Empty(), TaskState.REJECTED)],
)
def test_what_says_the_same_three_times_is_believed(outcome: Outcome, state: TaskState) -> None:
    one = task(TaskState.READY)
    *open_states, last = [decision.state for _, _, decision in drive(one, [outcome] * 9, random.Random(1))]
    assert (len(open_states), last) == (2, state)


def test_a_404_of_a_result_is_followed_by_a_question_for_that_it_is_ready_may_be_a_mistake() -> None:
    decision = decide(task(TaskState.READY), Gone(""), NOW, random.Random(1))
    assert (decision.state, decision.gone) == (TaskState.PENDING, 1)


def test_a_task_that_is_said_to_be_ready_and_whose_result_is_always_gone_is_missing_at_last() -> None:
    *_, (_, _, last) = drive(task(), [Ready(), Gone("")] * 9, random.Random(1))
    assert (last.state, last.gone) == (TaskState.MISSING, 3)


@pytest.mark.parametrize("sign_of_life", [Processing(), Empty(), Invalid("NaN")])
def test_a_sign_of_life_takes_back_that_a_task_is_gone(sign_of_life: Outcome) -> None:
    outcomes: list[Outcome] = [Gone(""), Gone(""), sign_of_life, Gone(""), Gone("")]
    *_, (_, _, last) = drive(task(), outcomes, random.Random(1))
    assert last.state.is_open


@settings(max_examples=200, deadline=None)
@given(ages, st.lists(harmless, max_size=60), rngs)
def test_nothing_harmless_ends_a_task_before_its_deadline(
    age_ms: int, outcomes: list[Outcome], rng: random.Random
) -> None:
    for one, now, decision in drive(task(age_ms=age_ms), outcomes, rng):
        assert decision.state.is_open or one.is_past_deadline(now)


@settings(max_examples=200, deadline=None)
@given(ages, st.lists(st.one_of(harmless, counted), max_size=60), rngs)
def test_the_last_minutes_before_the_deadline_are_used(
    age_ms: int, outcomes: list[Outcome], rng: random.Random
) -> None:
    for one, now, decision in drive(task(age_ms=age_ms), outcomes, rng):
        last_chance = one.expires_at_ms - LAST_CHANCE_MS
        assert now >= last_chance or decision.next_attempt_at_ms <= last_chance


@settings(max_examples=200, deadline=None)
@given(
    st.lists(harmless, max_size=40),
    st.lists(st.builds(Gone, messages), max_size=2),
    st.lists(st.one_of(st.builds(Invalid, messages), st.just(Empty())), max_size=2),
    rngs,
)
def test_whatever_comes_before_it_a_result_is_harvested(
    mild: list[Outcome], gone: list[Outcome], bad: list[Outcome], rng: random.Random
) -> None:
    # Forty waits of ten minutes at most: all of it happens before the deadline.
    outcomes = mild + gone + bad
    rng.shuffle(outcomes)
    *_, (_, _, last) = drive(task(), [*outcomes, retrieved()], rng)
    assert last.state is TaskState.HARVESTED
