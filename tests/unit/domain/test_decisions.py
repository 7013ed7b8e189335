"""The table of decisions, row by row, and what must hold over any sequence of answers."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.answer_match import match_answer
from harvester.domain.planning.api_versions import GONE_ANSWERS, ApiVersions
from harvester.domain.planning.backoff import BACKOFF_CAP_MS, backoff_ms
from harvester.domain.planning.decisions import (
    FEWEST_OVERDUE_FAILURES,
    GONE_SPACING_MS,
    HELD_BACK_MS,
    PATIENCE_MS,
    Circumstances,
    decide,
)
from harvester.domain.planning.poll_times import LAST_CHANCE_MS, MAX_POLL_WAIT_MS, next_poll_ms
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.embeddings import MediaMetadata, TaskEmbeddings
from harvester.domain.tasks.failures import FAILURE_CODES, NO_REASON
from harvester.domain.tasks.outcomes import (
    Empty,
    Failed,
    Invalid,
    InvalidRequest,
    Misrouted,
    NotFound,
    Outcome,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
    Transient,
)
from harvester.domain.tasks.records import Decision, Problem
from harvester.domain.tasks.task import DAY_MS, NEVER_ANSWERED_MS, OPEN_STATES, RETENTION_MS, Task, TaskState
from tests.support.thorough import examples

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
        version="v1",
    )


def retrieved(created_at_ms: int | None = None) -> Retrieved:
    return Retrieved(
        TaskEmbeddings(
            MediaMetadata(created_at_ms=created_at_ms),
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


def after(one: Task, outcome: Outcome, now_ms: int = NOW, **circumstances: Any) -> Decision:
    return decide(one, outcome, now_ms, Highest(), circumstances=Circumstances(**circumstances))


UNKNOWN = [NotFound("Unknown."), InvalidRequest("No such id.")]


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
    again_ms = next_poll_ms(task(), NOW, ProcessingTimes())
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
def test_a_failed_task_has_failed_when_it_says_so_twice_and_keeps_the_reason(state: TaskState) -> None:
    first = after(task(state), Failed("Video too short."))
    assert (first.state, first.doubted_at_ms) == (state, NOW)
    assert NOW < first.next_attempt_at_ms <= NOW + GONE_SPACING_MS + 1_000
    confirmed = replace(task(state), doubted_at_ms=NOW - 5_000, error_code="task_failed")
    assert after(confirmed, Failed("Video too short."), is_fresh=False).state.is_open
    decision = after(confirmed, Failed("Video too short."))
    assert (decision.state, decision.problem) == (TaskState.FAILED, Problem("task_failed", "Video too short."))


def test_a_refused_embedding_option_leaves_the_task_open_and_waits_for_a_person() -> None:
    refused = Transient("No such option.", "embedding_option_refused")
    decision = after(task(TaskState.READY), refused)
    assert (decision.state, decision.failures, decision.problem) == (
        TaskState.READY,
        0,
        Problem("embedding_option_refused", "No such option."),
    )
    assert decision.next_attempt_at_ms >= NOW + HELD_BACK_MS
    # The version that has refused the option does not deny the task.
    assert after(replace(task(), gone=1, denied_by="v2"), refused).gone == 0
    old = replace(task(age_ms=30 * DAY_MS), doubted_at_ms=NOW - NEVER_ANSWERED_MS)
    assert after(old, refused).state.is_open


def test_a_result_without_segments_of_some_options_does_not_expire_the_task() -> None:
    old = replace(task(age_ms=30 * DAY_MS), doubted_at_ms=NOW - 5_000)
    assert after(old, Empty()).state is TaskState.EXPIRED
    assert after(old, Empty(), is_filtered=True).state.is_open


@pytest.mark.parametrize("age_ms", [0, 30 * DAY_MS])
@pytest.mark.parametrize("code", sorted(FAILURE_CODES))
def test_each_kind_of_failure_ends_the_task_when_it_was_said_twice(code: str, age_ms: int) -> None:
    end = TaskState.EXPIRED if code == "result_expired" else TaskState.FAILED
    asked = [last for _, _, last in drive(task(age_ms=age_ms), [Failed("Why.", code)] * 2, random.Random(1))]
    assert [one.state.is_open for one in asked] == [True, False]
    assert (asked[-1].state, asked[-1].problem) == (end, Problem(code, "Why."))


def test_an_expired_result_is_not_confirmed_by_a_failure_and_kinds_of_failures_confirm_each_other() -> None:
    expired, busy, bad = Failed("Gone.", "result_expired"), Failed("Busy.", "task_failed_platform"), Failed("Bad.")
    *_, (_, _, last) = drive(task(), [busy, expired], random.Random(1))
    assert last.state.is_open
    *_, (_, _, last) = drive(task(), [busy, bad], random.Random(1))
    assert (last.state, last.problem) == (TaskState.FAILED, Problem("task_failed", "Bad."))


def test_a_result_that_is_said_to_have_expired_is_held_back_where_most_answers_bring_no_result() -> None:
    confirmed = replace(task(), doubted_at_ms=NOW - 5_000, error_code="result_expired")
    held = after(confirmed, Failed("Gone.", "result_expired"), may_fail=False, is_held_back=True)
    assert (held.state, held.next_attempt_at_ms >= NOW + HELD_BACK_MS) == ("pending", True)


@pytest.mark.parametrize("code", ["task_failed_platform", "listed_failed"])
def test_an_answer_without_a_reason_keeps_the_reason_that_is_known(code: str) -> None:
    reason = "The embedding task failed. Please try again later."
    known = replace(task(), doubted_at_ms=NOW - 5_000, error_code=code, error_message=reason)
    assert after(known, Failed(NO_REASON)).problem == Problem("task_failed_platform", reason)
    assert after(replace(known, error_code="connection_lost"), Failed(NO_REASON)).problem == Problem(
        "task_failed", NO_REASON
    )


@pytest.mark.parametrize("other", [NotFound("Unknown."), InvalidRequest("No."), Empty(), Invalid("NaN")])
def test_a_doubt_of_another_kind_does_not_confirm_that_a_task_has_failed(other: Outcome) -> None:
    *_, (_, _, last) = drive(task(), [other, Failed("Broken.")], random.Random(1))
    assert last.state.is_open
    *_, (_, _, last) = drive(task(), [other, Failed("Broken."), Failed("Broken.")], random.Random(1))
    assert last.state is TaskState.FAILED


def test_a_task_that_names_itself_as_failed_is_held_back_where_most_answers_bring_no_result() -> None:
    held = after(task(), Failed("Broken."), may_fail=False, is_held_back=True)
    assert (held.state, held.doubted_at_ms, held.next_attempt_at_ms >= NOW + HELD_BACK_MS) == ("pending", NOW, True)
    confirmed = replace(task(), doubted_at_ms=NOW - HELD_BACK_MS, error_code="task_failed")
    assert after(confirmed, Failed("Broken."), may_fail=False, is_held_back=True).state is TaskState.FAILED


@pytest.mark.parametrize("outcome", UNKNOWN)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_three_answers_in_one_version_end_nothing(outcome: Outcome, before: int) -> None:
    assert (after(task(gone=before), outcome).state, after(task(gone=before), outcome).gone) == ("pending", before + 1)


@pytest.mark.parametrize(("outcome", "state"), [(UNKNOWN[0], "missing"), (UNKNOWN[1], "rejected")])
def test_a_young_task_ends_when_the_other_version_does_not_know_it_either(outcome: Outcome, state: str) -> None:
    assert after(task(gone=GONE_ANSWERS), outcome, is_other_version=True).state == state


@pytest.mark.parametrize("outcome", UNKNOWN)
@pytest.mark.parametrize("circumstances", [{}, {"is_other_version": True, "is_fresh": False}])
def test_what_confirms_nothing_does_not_count(outcome: Outcome, circumstances: dict[str, bool]) -> None:
    decision = after(task(gone=GONE_ANSWERS), outcome, **circumstances)
    assert (decision.state, decision.gone) == ("pending", GONE_ANSWERS)


@pytest.mark.parametrize("outcome", UNKNOWN)
def test_a_confirmation_comes_on_a_connection_of_its_own(outcome: Outcome) -> None:
    counted = [after(task(gone=gone), outcome, is_fresh=False).gone for gone in (0, 1, 2)]
    assert counted == [1, 1, 2]


def test_the_confirmations_are_seconds_apart() -> None:
    waits = [after(task(gone=before), NotFound("")).next_attempt_at_ms - NOW for before in range(GONE_ANSWERS)]
    assert waits == [GONE_SPACING_MS + 1_000, 2 * GONE_SPACING_MS + 1_000, 1_000]


@pytest.mark.parametrize("outcome", UNKNOWN)
def test_an_end_is_held_back_while_the_api_is_not_known_to_be_well_but_not_for_ever(outcome: Outcome) -> None:
    for doubted_for_ms, state in [(60_000, "pending"), (PATIENCE_MS - 1, "pending"), (PATIENCE_MS, None)]:
        one = replace(task(gone=GONE_ANSWERS), doubted_at_ms=NOW - doubted_for_ms)
        decision = after(one, outcome, is_other_version=True, may_end=False)
        if state is None:
            assert not decision.state.is_open
        else:
            assert (decision.state, decision.doubted_at_ms) == (state, NOW - doubted_for_ms)
            assert NOW < decision.next_attempt_at_ms <= NOW + MAX_POLL_WAIT_MS * 5 // 4


def test_the_other_version_that_knows_the_task_is_asked_from_then_on() -> None:
    found = after(task(gone=GONE_ANSWERS), Processing(), version="v2", is_other_version=True)
    assert (found.state, found.version, found.gone, found.doubted_at_ms) == ("pending", "v2", 0, None)


def in_turn(one: Task, outcomes: list[Outcome], *, may_end: bool = True) -> list[Decision]:
    """Carry out what each answer decides, of a task whose version is unknown; version 2 answers first."""
    decisions, versions = [], ApiVersions("v2")
    for outcome in outcomes:
        request = versions.request(Endpoint.RETRIEVE, one)
        circumstances = Circumstances(
            is_fresh=request.is_fresh,
            version=request.version,
            is_other_version=request.is_other_version,
            may_end=may_end,
        )
        understood = match_answer(request, 404, outcome)
        decisions.append(decide(one, understood, NOW, Highest(), circumstances=circumstances))
        after = decisions[-1]
        one = replace(
            one,
            state=after.state,
            gone=after.gone,
            denied_by=after.denied_by,
            version=after.version,
            doubted_at_ms=after.doubted_at_ms,
            error_code=after.problem.code if after.problem else None,
            error_message=after.problem.message if after.problem else None,
        )
    return decisions


NAMED = Retrieved(replace(retrieved().embeddings, received_id="opaque"))


def unidentified(age_ms: int = MINUTE_MS) -> Task:
    return replace(task(age_ms=age_ms), version=None)


@pytest.mark.parametrize("outcome", UNKNOWN)
def test_a_denial_of_one_version_asks_the_other_at_once_and_casts_no_doubt(outcome: Outcome) -> None:
    (first,) = in_turn(unidentified(), [outcome])
    assert (first.state, first.next_attempt_at_ms, first.doubted_at_ms) == ("pending", 0, None)
    assert (first.gone, first.denied_by, first.version) == (1, "v2", None)


@pytest.mark.parametrize(("outcome", "end"), [(UNKNOWN[0], "missing"), (UNKNOWN[1], "rejected")])
def test_a_task_that_no_version_knows_ends_after_both_have_said_so_twice(outcome: Outcome, end: str) -> None:
    decisions = in_turn(unidentified(), [outcome] * 4)
    assert [one.state for one in decisions] == ["pending", "pending", "pending", end]
    assert [one.denied_by for one in decisions] == ["v2", "v1", "v2", "v1"]
    assert [one.next_attempt_at_ms - NOW for one in decisions[1:3]] == [
        GONE_SPACING_MS + 1_000,
        2 * GONE_SPACING_MS + 1_000,
    ]


def test_past_its_deadline_it_is_expired_after_both_have_said_so() -> None:
    decisions = in_turn(unidentified(RETENTION_MS), [NotFound("Unknown.")] * 4)
    assert [one.state for one in decisions] == ["pending", "pending", "pending", "expired"]


def test_an_id_that_one_version_refuses_and_the_other_does_not_know_is_rejected() -> None:
    refused, unknown = InvalidRequest("Odd."), NotFound("Unknown.")
    last = in_turn(unidentified(), [refused, unknown, refused, unknown])[-1]
    assert (last.state, last.problem and last.problem.code) == ("rejected", "parameter_invalid")


@pytest.mark.parametrize("answer", [Processing(), Ready(), NAMED, Failed("Broken."), Empty()])
def test_the_version_that_answers_is_remembered_and_the_denial_of_the_other_one_forgotten(answer: Outcome) -> None:
    last = in_turn(unidentified(), [NotFound("Unknown."), answer])[-1]
    assert (last.version, last.gone, last.denied_by) == ("v1", 0, None)


def test_an_entry_of_the_list_does_not_undo_which_version_was_asked() -> None:
    denied = replace(unidentified(), gone=1, denied_by="v2")
    decision = decide(denied, Processing(), NOW, Highest(), circumstances=Circumstances(key="mine"))
    assert (decision.version, decision.denied_by) == (None, "v2")


@pytest.mark.parametrize("outcome", UNKNOWN)
@pytest.mark.parametrize("age_ms", [0, RETENTION_MS])
def test_under_another_key_than_knew_it_a_task_does_not_end(outcome: Outcome, age_ms: int) -> None:
    seen = after(task(age_ms=age_ms), Processing(), key="mine").seen_with
    one = replace(task(gone=GONE_ANSWERS, age_ms=age_ms), seen_with=seen)
    decision = after(one, outcome, key="another", is_other_version=True)
    assert (decision.state, decision.problem and decision.problem.code) == ("pending", "other_key")
    assert not after(one, outcome, key="mine", is_other_version=True).state.is_open


def test_an_id_that_cannot_be_asked_about_is_rejected_at_once() -> None:
    assert after(task(), InvalidRequest("Odd.", "task_id_invalid")).state is TaskState.REJECTED


def test_past_its_deadline_a_task_that_is_unknown_in_both_versions_is_expired() -> None:
    old = task(age_ms=RETENTION_MS, gone=GONE_ANSWERS)
    assert after(old, NotFound("Unknown."), is_other_version=True).state is TaskState.EXPIRED


def test_past_its_deadline_a_task_without_segments_is_expired() -> None:
    old = task(age_ms=RETENTION_MS)
    assert after(old, Empty()).state is TaskState.EXPIRED
    assert after(old, Empty(), may_end=False).state is TaskState.PENDING


def test_the_deadline_is_that_of_the_api_clock() -> None:
    old = task(age_ms=RETENTION_MS)
    assert after(old, Empty(), deadline_now_ms=NOW - DAY_MS).state is TaskState.PENDING


def test_a_result_without_segments_is_waited_for_ever_more_patiently() -> None:
    waits, one, now = [], task(TaskState.READY), NOW
    for _ in range(20):
        decision = after(one, Empty(), now)
        assert decision.state is TaskState.READY
        waits.append(decision.next_attempt_at_ms - now)
        one, now = replace(one, doubted_at_ms=decision.doubted_at_ms), decision.next_attempt_at_ms
    assert (waits[0] <= 3_000, sum(waits[:5]) <= 120_000, max(waits)) == (True, True, MAX_POLL_WAIT_MS * 5 // 4)


@pytest.mark.parametrize(("before", "state"), [(0, "ready"), (1, "ready"), (2, "rejected"), (9, "rejected")])
def test_a_bad_payload_is_downloaded_three_times_and_then_rejected(before: int, state: str) -> None:
    assert after(task(TaskState.READY, invalid=before), Invalid("NaN")).state == state
    assert after(task(TaskState.READY, invalid=before), Invalid("NaN"), may_end=False).state == "ready"
    assert before == 0 or after(task(TaskState.READY, invalid=1), Invalid("NaN"), is_fresh=False).invalid == 1


def test_a_payload_is_not_rejected_for_being_late() -> None:
    assert after(task(TaskState.READY, age_ms=RETENTION_MS), Invalid("NaN")).state is TaskState.READY


def test_an_answer_that_names_another_task_is_remembered_and_asked_for_again() -> None:
    decision = after(task(TaskState.READY), Misrouted("other", "Odd."))
    assert (decision.state, decision.other_id, decision.failures) == (TaskState.READY, "other", 1)


@pytest.mark.parametrize(("failures", "wait_ms"), [(0, 1_000), (1, 2_000), (4, 16_000), (9, 300_000), (5_000, 300_000)])
def test_a_passing_failure_backs_off_from_one_second_to_five_minutes(failures: int, wait_ms: int) -> None:
    decision = after(task(failures=failures), Transient("Reset.", "connection_lost"))
    assert (decision.next_attempt_at_ms, decision.failures) == (NOW + wait_ms, failures + 1)


@pytest.mark.parametrize("state", OPEN)
def test_past_the_deadline_a_passing_failure_ends_nothing_for_a_month(state: TaskState) -> None:
    one, now = task(state, age_ms=40 * DAY_MS), NOW
    waits, problem = [], Transient("Reset.", "connection_lost")
    while (decision := after(one, problem, now)).state.is_open:
        assert decision.problem is not None
        assert decision.problem.code == "overdue"
        waits.append(decision.next_attempt_at_ms - now)
        one = replace(one, failures=decision.failures, doubted_at_ms=decision.doubted_at_ms)
        now = decision.next_attempt_at_ms
    assert (decision.state, decision.problem and decision.problem.code) == (TaskState.EXPIRED, "never_answered")
    assert NEVER_ANSWERED_MS <= now - NOW <= NEVER_ANSWERED_MS + MAX_POLL_WAIT_MS * 2
    assert (waits[0] <= waits[5] <= waits[-1], len(waits) < 200) == (True, True)


def test_a_clock_that_jumps_a_month_gives_nothing_up() -> None:
    one = replace(task(age_ms=RETENTION_MS + DAY_MS, failures=3), doubted_at_ms=NOW - DAY_MS)
    jumped = after(one, Transient("Reset.", "connection_lost"), NOW + 300 * DAY_MS)
    assert jumped.state is TaskState.PENDING
    back = after(
        replace(one, doubted_at_ms=NOW + 300 * DAY_MS, failures=FEWEST_OVERDUE_FAILURES), Transient("", ""), NOW
    )
    assert (back.state, back.doubted_at_ms) == (TaskState.PENDING, NOW)


@pytest.mark.parametrize("outcome", [Throttled("Slow down.", 5.0), Refused("Bad key.")])
@pytest.mark.parametrize("age_ms", [0, RETENTION_MS - 1, RETENTION_MS + 2 * DAY_MS])
@pytest.mark.parametrize("state", OPEN)
def test_a_refusal_says_nothing_about_the_task(outcome: Outcome, age_ms: int, state: TaskState) -> None:
    before = task(state, age_ms=age_ms, failures=4, gone=2, invalid=1)
    unchanged = Decision(state, 0, before.expires_at_ms, None, failures=4, gone=2, invalid=1, version="v1")
    assert after(before, outcome) == unchanged


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
counted = st.one_of(st.builds(NotFound, messages), st.builds(Invalid, messages), st.just(Empty()))
ending = st.one_of(st.builds(Failed, messages), st.builds(InvalidRequest, messages), st.just(retrieved()))
rngs = st.randoms(use_true_random=False)
ages = st.integers(0, RETENTION_MS - 1)


def drive(one: Task, outcomes: list[Outcome], rng: random.Random) -> Iterator[tuple[Task, int, Decision]]:
    """Carry decisions out as the service does, each attempt when it is due; yield what was decided upon, and when."""
    now = NOW
    for outcome in outcomes:
        circumstances = Circumstances(is_other_version=one.gone == GONE_ANSWERS)
        decision = decide(one, outcome, now, rng, circumstances=circumstances)
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
            doubted_at_ms=decision.doubted_at_ms,
            other_id=decision.other_id,
            error_code=decision.problem.code if decision.problem else one.error_code,
        )
        now = max(now + 200, decision.next_attempt_at_ms)


@examples(200)
@given(ages, st.lists(st.one_of(harmless, counted, ending), max_size=40), rngs)
def test_every_decision_is_a_whole_row(age_ms: int, outcomes: list[Outcome], rng: random.Random) -> None:
    for _, now, decision in drive(task(age_ms=age_ms), outcomes, rng):
        assert decision.expires_at_ms > 0
        assert min(decision.failures, decision.gone, decision.invalid) >= 0
        assert decision.next_attempt_at_ms == 0 or decision.next_attempt_at_ms >= now
        assert decision.state.is_open or decision.next_attempt_at_ms == 0
        assert decision.state in OPEN_STATES | {TaskState.HARVESTED} or decision.problem is not None


@examples(200)
@given(ages, st.lists(st.one_of(harmless, counted), max_size=40), rngs)
def test_only_a_retrieval_harvests(age_ms: int, outcomes: list[Outcome], rng: random.Random) -> None:
    states = {decision.state for _, _, decision in drive(task(age_ms=age_ms), outcomes, rng)}
    assert TaskState.HARVESTED not in states


@pytest.mark.parametrize(
    ("outcome", "answers", "state"),
    [
        (NotFound("Unknown."), 4, TaskState.MISSING),
        (InvalidRequest("No."), 4, TaskState.REJECTED),
        (Invalid("NaN"), 3, TaskState.REJECTED),
    ],
)
def test_what_is_confirmed_is_believed(outcome: Outcome, answers: int, state: TaskState) -> None:
    one = task(TaskState.READY)
    *open_states, last = [decision.state for _, _, decision in drive(one, [outcome] * 9, random.Random(1))]
    assert (len(open_states), last) == (answers - 1, state)


def test_a_404_of_a_result_is_followed_by_a_question_for_that_it_is_ready_may_be_a_mistake() -> None:
    decision = decide(task(TaskState.READY), NotFound(""), NOW, random.Random(1))
    assert (decision.state, decision.gone) == (TaskState.PENDING, 1)


def test_a_task_that_is_said_to_be_ready_and_whose_result_is_always_gone_is_missing_at_last() -> None:
    *_, (_, _, last) = drive(task(), [Ready(), NotFound("")] * 9, random.Random(1))
    assert (last.state, last.gone) == (TaskState.MISSING, 4)


@pytest.mark.parametrize("sign_of_life", [Processing(), Empty(), Invalid("NaN")])
def test_a_sign_of_life_takes_back_that_a_task_is_gone(sign_of_life: Outcome) -> None:
    outcomes: list[Outcome] = [NotFound(""), NotFound(""), sign_of_life, NotFound(""), NotFound("")]
    *_, (_, _, last) = drive(task(), outcomes, random.Random(1))
    assert last.state.is_open


@examples(200)
@given(ages, st.lists(harmless, max_size=60), rngs)
def test_nothing_harmless_ends_a_task_before_its_deadline(
    age_ms: int, outcomes: list[Outcome], rng: random.Random
) -> None:
    for one, now, decision in drive(task(age_ms=age_ms), outcomes, rng):
        assert decision.state.is_open or one.is_past_deadline(now)


@examples(200)
@given(ages, st.lists(st.one_of(harmless, counted), max_size=60), rngs)
def test_the_last_minutes_before_the_deadline_are_used(
    age_ms: int, outcomes: list[Outcome], rng: random.Random
) -> None:
    for one, now, decision in drive(task(age_ms=age_ms), outcomes, rng):
        last_chance = one.expires_at_ms - LAST_CHANCE_MS
        assert now >= last_chance or decision.next_attempt_at_ms <= last_chance


@examples(200)
@given(
    st.lists(harmless, max_size=40),
    st.lists(st.builds(NotFound, messages), max_size=2),
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
