"""Decide what happens to a task after an outcome: (task, outcome, circumstances) -> decision.

| outcome            | decision                                                                              |
| ------------------ | ------------------------------------------------------------------------------------- |
| Ready              | `ready`, retrieve at once                                                             |
| Retrieved          | `harvested`; if it names another id, see `Misrouted`                                  |
| Processing         | `pending`, asked again when planning says                                             |
| Failed             | `failed`, or `expired` if the result is no longer available, when the task itself     |
|                    | says so twice; a list entry does not count                                            |
| UnknownHere        | `pending`, the other API version is asked at once                                     |
| NotFound,          | three answers on three connections, then one in the other API version; then `missing` |
| InvalidRequest     | or `rejected`, past the deadline `expired`. Both versions in turn if neither knows it |
| Empty              | retried, ever more rarely; past the deadline `expired`                                |
| Invalid            | three downloads on three connections, then `rejected`                                 |
| Misrouted          | asked again on a fresh connection                                                     |
| Transient          | backed off; past the deadline ever more rarely, `expired` after 30 days. If the API   |
|                    | refuses the embedding options that were asked for: asked again hours later            |
| Throttled, Refused | unchanged: they say nothing about the task                                            |

An answer ends a task only if `Circumstances` allow it. Otherwise the end is held back: the task stays open and is asked
about again at growing intervals, until they allow it or PATIENCE_MS has passed.
"""

from dataclasses import dataclass, replace
from typing import assert_never

from harvester.domain.planning.answer_match import TASK_ID_INVALID
from harvester.domain.planning.api_versions import GONE_ANSWERS
from harvester.domain.planning.backoff import BACKOFF_BASE_MS, Rng, backoff_ms
from harvester.domain.planning.poll_times import MAX_POLL_WAIT_MS, at_latest_before_deadline, next_poll_ms
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.failures import NO_REASON, failed_state, failure_code, known_reason
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
    UnknownHere,
)
from harvester.domain.tasks.records import Decision, Problem
from harvester.domain.tasks.retrieve_options import OPTION_REFUSED
from harvester.domain.tasks.task import NEVER_ANSWERED_MS, ApiVersion, Task, TaskState, deadline_ms

GONE_SPACING_MS = 5_000
"""Milliseconds between two confirmations, because a new task may not be visible everywhere yet."""

INVALID_DOWNLOADS = 3

GENERIC_ERROR = "generic_error"
"""The status of `Processing` if a retrieval was refused with this code, which does not prove that the task exists."""

PARAMETER_INVALID = "parameter_invalid"

SHORTEST_HOLD_MS = 2_000
"""Milliseconds: the first wait after an empty result; each further one is as long as the doubt has lasted."""

HELD_BACK_MS = 3600 * 1_000
"""Milliseconds: the shortest wait for a confirmation while most answers bring no result."""

LONGEST_HOLD_MS = MAX_POLL_WAIT_MS

PATIENCE_MS = 6 * 3600 * 1_000
"""Milliseconds after the first doubtful answer: from then on an answer ends the task, whatever other tasks show."""

FEWEST_OVERDUE_FAILURES = 100
"""Failures: with fewer the task does not expire, because 30 days bring more unless the clock has jumped."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How an answer was received, and what it may end. The defaults describe a healthy API.

    - `is_fresh`: the answer came on a new connection.
    - `version`: the API version that was asked, None if the answer is not that of one.
    - `is_other_version`: the task is known to, or was last denied by, another API version than the one that was asked.
    - `key`: the fingerprint of the API key.
    - `may_end`: the API is otherwise healthy, so a confirmed answer may end the task.
    - `may_fail`: the same for an answer that names the task and says that it has failed.
    - `is_held_back`: most answers bring no result.
    - `is_filtered`: only some embedding options were asked for.
    - `asks_once`: this harvest asks about each task once.
    - `deadline_now_ms`: the present by the API's clock in Unix milliseconds, None if it agrees with this machine's.
    """

    is_fresh: bool = True
    version: ApiVersion | None = None
    is_other_version: bool = False
    key: str | None = None
    may_end: bool = True
    may_fail: bool = True
    is_held_back: bool = False
    is_filtered: bool = False
    asks_once: bool = False
    deadline_now_ms: int | None = None


_WELL = Circumstances()


def decide(  # noqa: PLR0913, PLR0917  # the last two have defaults
    task: Task,
    outcome: Outcome,
    now_ms: int,
    rng: Rng,
    times: ProcessingTimes | None = None,
    circumstances: Circumstances = _WELL,
) -> Decision:
    """Return the decision about `task`; pure, and defined for every outcome in every open state.

    `now_ms` is the present in Unix milliseconds. Without `times` the wait for a result follows the prior.
    """
    decision = _decide(_Case(task, now_ms, rng, circumstances), outcome, times or ProcessingTimes())
    if not is_known_by(outcome):
        return decision
    seen_with = circumstances.key or task.seen_with
    if circumstances.version is None:
        return replace(decision, seen_with=seen_with)
    # A single denial was that of the version which did not make the task.
    gone = 0 if task.is_denied_once else decision.gone
    return replace(decision, seen_with=seen_with, version=circumstances.version, denied_by=None, gone=gone)


def is_known_by(outcome: Outcome) -> bool:
    """Return whether the answer shows that the API knows the task."""
    return isinstance(outcome, Ready | Retrieved | Failed | Empty) or (
        isinstance(outcome, Processing) and outcome.status != GENERIC_ERROR
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """A task, the present, and the circumstances of the answer."""

    task: Task
    now_ms: int
    rng: Rng
    circumstances: Circumstances

    @property
    def is_past_deadline(self) -> bool:
        return self.task.is_past_deadline(self.circumstances.deadline_now_ms or self.now_ms)

    @property
    def doubted_at_ms(self) -> int:
        """When the first doubtful answer came; a time in the future was stored while the clock was ahead."""
        doubted_at_ms = self.task.doubted_at_ms
        return self.now_ms if doubted_at_ms is None or doubted_at_ms > self.now_ms else doubted_at_ms

    @property
    def doubted_for_ms(self) -> int:
        return self.now_ms - self.doubted_at_ms

    @property
    def may_end(self) -> bool:
        return self.circumstances.may_end or self.doubted_for_ms >= PATIENCE_MS

    def after(self, shortest_ms: int, longest_ms: int = LONGEST_HOLD_MS) -> int:
        """Return the time after a wait about as long as the doubt has lasted, between the two limits."""
        wait_ms = min(longest_ms, max(shortest_ms, self.doubted_for_ms))
        return at_latest_before_deadline(
            self.task, self.now_ms, int(self.rng.uniform(wait_ms * 3 // 4, wait_ms * 5 // 4))
        )

    def held(self, decision: Decision) -> Decision:
        """Return the decision for a task whose end is held back."""
        is_held_back = self.circumstances.is_held_back
        shortest_ms = HELD_BACK_MS if is_held_back else GONE_SPACING_MS
        return replace(decision, next_attempt_at_ms=self.after(shortest_ms), is_held_back=is_held_back)


def _decide(case: _Case, outcome: Outcome, times: ProcessingTimes) -> Decision:  # noqa: C901, PLR0912  # as outcomes
    task = case.task
    match outcome:
        case Retrieved():
            return _dated(task, outcome.embeddings.metadata.created_at_ms, TaskState.HARVESTED)
        case Ready():
            # `gone` stays: only a result disproves earlier "not found" answers.
            return replace(unchanged(task), state=TaskState.READY, failures=0)
        case Processing():
            return _check_again(task, outcome, case.now_ms, times)
        case Failed():
            return _fail(case, outcome)
        case UnknownHere():
            return _ask_other_version(case, outcome)
        case NotFound() | InvalidRequest():
            return _confirm_unknown(case, outcome)
        case Empty():
            return _wait_for_segments(case, outcome)
        case Invalid():
            return _download_again(case, outcome)
        case Misrouted():
            return _ask_afresh(case, outcome)
        case Transient(code=code) if code == OPTION_REFUSED:
            return _wait_for_another_filter(case, outcome)
        case Transient():
            return _back_off(case, outcome)
        case Throttled() | Refused():
            return unchanged(task)
        case _:
            assert_never(outcome)


def unchanged(task: Task) -> Decision:
    """Return the decision that leaves the task as it is, due at once."""
    return _known(task, task.state, task.created_at_ms, task.expires_at_ms)


def _known(task: Task, state: TaskState, created_at_ms: int | None, expires_at_ms: int) -> Decision:
    return Decision(
        state=state,
        expires_at_ms=expires_at_ms,
        created_at_ms=created_at_ms,
        failures=task.failures,
        gone=task.gone,
        invalid=task.invalid,
        unfinished_at_ms=task.unfinished_at_ms,
        doubted_at_ms=task.doubted_at_ms,
        version=task.version,
        denied_by=task.denied_by,
        other_id=task.other_id,
        seen_with=task.seen_with,
    )


def _dated(task: Task, created_at_ms: int | None, state: TaskState) -> Decision:
    """Return the decision with the creation time of the API, which overrides the one from the id."""
    if created_at_ms is None:
        return _known(task, state, task.created_at_ms, task.expires_at_ms)
    expires = deadline_ms(task.task_id, created_at_ms=created_at_ms, added_at_ms=task.added_at_ms)
    return _known(task, state, created_at_ms, expires)


_Problematic = Failed | NotFound | UnknownHere | Empty | InvalidRequest | Transient | Misrouted | Invalid


def _problem(outcome: _Problematic) -> Problem:
    return Problem(outcome.code, outcome.message)


def _check_again(task: Task, outcome: Processing, now_ms: int, times: ProcessingTimes) -> Decision:
    dated = _dated(task, outcome.created_at_ms, TaskState.PENDING)
    known = replace(task, created_at_ms=dated.created_at_ms, expires_at_ms=dated.expires_at_ms)
    return replace(
        dated,
        failures=0,
        gone=0,
        doubted_at_ms=None,
        other_id=None,
        unfinished_at_ms=now_ms,
        next_attempt_at_ms=next_poll_ms(known, now_ms, times),
    )


def _fail(case: _Case, outcome: Failed) -> Decision:
    """End the task when the API says for the second time that it has failed, or that its result has expired.

    While the API says so about most tasks, the end is held back.
    """
    problem = _failure(case.task, outcome)
    after = replace(unchanged(case.task), failures=0, doubted_at_ms=case.doubted_at_ms, problem=problem)
    end = failed_state(problem.code) or TaskState.FAILED
    # A doubt of another kind is no first word of the same: two different lies must not end the task.
    is_same = problem.code == case.task.error_code or failed_state(case.task.error_code) is end
    has_said_so = case.task.doubted_at_ms is not None and is_same
    is_confirmed = has_said_so and case.circumstances.is_fresh
    if is_confirmed and (case.circumstances.may_fail or case.doubted_for_ms >= HELD_BACK_MS):
        return replace(after, state=end)
    if case.circumstances.is_held_back or is_confirmed:
        return case.held(after)
    if case.circumstances.asks_once:
        return after
    wait_ms = GONE_SPACING_MS + backoff_ms(1, case.rng)
    return replace(after, next_attempt_at_ms=at_latest_before_deadline(case.task, case.now_ms, wait_ms))


def _failure(task: Task, outcome: Failed) -> Problem:
    """Return the reason of the answer; if it gives none, the reason that an earlier answer or the list gave."""
    known = known_reason(task.error_code, task.error_message) if outcome.message == NO_REASON else None
    return _problem(outcome) if known is None else Problem(failure_code(known), known)


def _ask_other_version(case: _Case, outcome: UnknownHere) -> Decision:
    """Ask the other API version at once; the denial counts, but casts no doubt on the task."""
    return replace(
        unchanged(case.task),
        state=TaskState.PENDING,
        gone=1,
        failures=0,
        denied_by=case.circumstances.version,
        problem=_problem(outcome),
    )


def _confirm_unknown(case: _Case, outcome: NotFound | InvalidRequest) -> Decision:
    """Count the answers that do not know the task; the last one must come from the other API version."""
    task, circumstances = case.task, case.circumstances
    gone = task.gone + 1 if _is_counted(case) else task.gone
    problem = _problem_of_denials(case, outcome)
    after = replace(
        unchanged(task),
        gone=gone,
        failures=0,
        doubted_at_ms=case.doubted_at_ms,
        denied_by=circumstances.version or task.denied_by,
        problem=problem,
    )
    if outcome.code == TASK_ID_INVALID:
        # The client sends no request for such an id, so no answer can confirm it.
        return replace(after, state=TaskState.REJECTED)
    if circumstances.key is not None and task.seen_with not in (None, circumstances.key):
        message = f"The task was seen with another API key, and this one does not know it: {outcome.message}"
        return _overdue(
            case, replace(after, gone=0, denied_by=None, problem=Problem(code="other_key", message=message))
        )
    if gone > GONE_ANSWERS and circumstances.is_fresh and case.may_end:
        if case.is_past_deadline:
            return replace(after, state=TaskState.EXPIRED)
        is_rejected = isinstance(outcome, InvalidRequest) or problem.code == PARAMETER_INVALID
        return replace(after, state=TaskState.REJECTED if is_rejected else TaskState.MISSING)
    # READY may have been inferred, so confirm it by status before the next retrieval.
    after = replace(after, state=TaskState.PENDING)
    if gone > GONE_ANSWERS or circumstances.is_held_back:
        return case.held(after)
    wait_ms = _spacing_ms(task, gone) + backoff_ms(1, case.rng)
    return replace(after, next_attempt_at_ms=at_latest_before_deadline(task, case.now_ms, wait_ms))


def _problem_of_denials(case: _Case, outcome: NotFound | InvalidRequest) -> Problem:
    """Return the error to keep of several denials: that of the version that was asked first says more about the task.

    An answer that refuses the id says more than one that does not know it.
    """
    task, problem = case.task, _problem(outcome)
    is_refused_before = task.error_code == PARAMETER_INVALID and not isinstance(outcome, InvalidRequest)
    is_kept = is_refused_before if task.version is None else case.circumstances.is_other_version
    if is_kept and task.error_code is not None:
        return Problem(code=task.error_code, message=task.error_message or outcome.message)
    return problem


def _spacing_ms(task: Task, gone: int) -> int:
    """Return the least wait before the next confirmation.

    A version that has confirmed thrice need not wait for the other; of a task that none knows, both answer in turn.
    """
    if task.version is None:
        return min(max(gone - 1, 1), 2) * GONE_SPACING_MS
    return min(gone, 2) * GONE_SPACING_MS if gone < GONE_ANSWERS else 0


def _is_counted(case: _Case) -> bool:
    """Return whether the answer confirms the ones before: it must come on a new connection.

    The answer after GONE_ANSWERS must come from the other API version. If neither is known to know the task, each
    answer must come from the version that did not give the last one.
    """
    gone, circumstances = case.task.gone, case.circumstances
    if case.task.version is None and gone > 0:
        return circumstances.is_other_version and (circumstances.is_fresh or case.task.is_denied_once)
    if gone == GONE_ANSWERS:
        return circumstances.is_fresh and circumstances.is_other_version
    return gone < GONE_ANSWERS and (gone == 0 or circumstances.is_fresh)


def _wait_for_segments(case: _Case, outcome: Empty) -> Decision:
    """Ask again until the deadline, after which the platform has no result any more."""
    after = replace(
        unchanged(case.task), failures=0, gone=0, doubted_at_ms=case.doubted_at_ms, problem=_problem(outcome)
    )
    is_whole_answer = case.circumstances.is_fresh and not case.circumstances.is_filtered
    if case.is_past_deadline and case.may_end and is_whole_answer:
        return replace(after, state=TaskState.EXPIRED)
    return replace(after, next_attempt_at_ms=case.after(SHORTEST_HOLD_MS))


def _download_again(case: _Case, outcome: Invalid) -> Decision:
    task, is_fresh = case.task, case.circumstances.is_fresh
    invalid = task.invalid + 1 if task.invalid == 0 or is_fresh else task.invalid
    after = replace(
        unchanged(task),
        invalid=invalid,
        failures=0,
        gone=0,
        doubted_at_ms=case.doubted_at_ms,
        problem=_problem(outcome),
    )
    if invalid >= INVALID_DOWNLOADS:
        return replace(after, state=TaskState.REJECTED) if case.may_end else case.held(after)
    if case.circumstances.is_held_back:
        return case.held(after)
    delay = GONE_SPACING_MS * invalid + backoff_ms(1, case.rng)
    return replace(after, next_attempt_at_ms=at_latest_before_deadline(task, case.now_ms, delay))


def _wait_for_another_filter(case: _Case, outcome: Transient) -> Decision:
    """Ask again at growing intervals: a person has to correct the filter, and on the last day it is left out."""
    after = replace(unchanged(case.task), gone=0, doubted_at_ms=case.doubted_at_ms, problem=_problem(outcome))
    return replace(after, next_attempt_at_ms=case.after(HELD_BACK_MS))


def _ask_afresh(case: _Case, outcome: Misrouted) -> Decision:
    """Ask again on a new connection, and remember which id the answer named: the next one may name it again."""
    return replace(_back_off(case, outcome), other_id=outcome.received_id)


def _back_off(case: _Case, outcome: Transient | Misrouted) -> Decision:
    failures = case.task.failures + 1
    after = replace(unchanged(case.task), failures=failures, problem=_problem(outcome))
    if case.is_past_deadline:
        message = f"The deadline has passed, and the API has not answered since: {outcome.message}"
        return _overdue(case, replace(after, problem=Problem(code="overdue", message=message)))
    delay = backoff_ms(failures, case.rng)
    return replace(after, next_attempt_at_ms=at_latest_before_deadline(case.task, case.now_ms, delay))


def _overdue(case: _Case, after: Decision) -> Decision:
    """Ask at growing intervals; expire the task 30 days after the first such answer, if there were many of them."""
    after = replace(after, failures=max(after.failures, case.task.failures + 1), doubted_at_ms=case.doubted_at_ms)
    is_over = case.is_past_deadline and case.doubted_for_ms >= NEVER_ANSWERED_MS
    if is_over and after.failures >= FEWEST_OVERDUE_FAILURES:
        message = "The deadline passed more than 30 days ago, and the API has not answered about the task since."
        return replace(after, state=TaskState.EXPIRED, problem=Problem(code="never_answered", message=message))
    return replace(after, next_attempt_at_ms=case.after(BACKOFF_BASE_MS))
