"""Keeps the evidence for and against the API's health, and decides by it whether an answer may end its task."""

from collections.abc import Callable, Iterable, Sequence

from harvester.domain.planning.decisions import GENERIC_ERROR, PATIENCE_MS, Circumstances
from harvester.domain.planning.final_state_breaker import FinalStateBreaker
from harvester.domain.planning.planned_requests import TaskRequest
from harvester.domain.tasks.outcomes import (
    Empty,
    Failed,
    Invalid,
    InvalidRequest,
    NotFound,
    Outcome,
    Processing,
    Ready,
    Retrieved,
    UnknownHere,
)
from harvester.domain.tasks.records import Decision
from harvester.domain.tasks.task import Task
from harvester.ports.log import get_logger
from harvester.service.clock import Clock
from harvester.service.progress import Progress
from harvester.service.run_options import NOT_WAITED_FOR_S

CONDITION = "answers"

YOUNG_MS = 30 * 1000
"""Milliseconds: a task that was created less than this ago may not be visible everywhere yet."""

REMEMBERED_MS = PATIENCE_MS
"""Milliseconds: how far back answers count that came before this process began."""

_ABOUT_TASKS = {"gone": True, "unacceptable": True, "failed": True, "processing": False, "retrieved": False}
_ABOUT_RESULTS = {"empty": True, "invalid": True, "retrieved": False}
"""Whether each recorded outcome is doubtful: the first as evidence about tasks, the second about results."""

log = get_logger()


class FinalStates:
    """Records what answers say about the API as a whole, in circuit breakers for final states.

    `key` returns the fingerprint of the API key in use. `deadline_now_ms` corrects a time of this machine's clock
    (Unix milliseconds) by the API's. `asks_once`: the harvest asks about each task once.
    """

    def __init__(
        self,
        clock: Clock,
        progress: Progress,
        *,
        key: Callable[[], str | None] = lambda: None,
        asks_once: bool = False,
        deadline_now_ms: Callable[[int], int] = lambda now_ms: now_ms,
    ) -> None:
        self._clock = clock
        self._progress = progress
        self.key = key
        self._asks_once = asks_once
        self._deadline_now_ms = deadline_now_ms
        self.has_closed = False
        """Whether a breaker has closed since the probe gate last released held tasks: they need not wait any longer."""
        self._tasks = FinalStateBreaker()
        """Open while the API denies most tasks. An answer about an unfinished task shows that it knows some."""
        self._results = FinalStateBreaker()
        """Open while most results cannot be stored. Only a result that can be stored shows otherwise."""

    def remember(self, answers: Sequence[tuple[int, str]]) -> None:
        """Load recorded outcomes of other and earlier processes: pairs of a task's row id and an outcome's name."""
        now = self._clock.monotonic()
        for breaker, doubts in ((self._tasks, _ABOUT_TASKS), (self._results, _ABOUT_RESULTS)):
            breaker.remember([(task, doubts[outcome]) for task, outcome in answers if outcome in doubts], now)
        self._show()

    def record_outcome(self, task: Task, outcome: Outcome) -> None:
        """Record what an answer about a task shows about the API."""
        now, was_open = self._clock.monotonic(), self.is_open
        is_young = task.age_ms(self._clock.wall_ms()) < YOUNG_MS
        match outcome:
            case Ready():
                self._tasks.probe_is_ready(now)
            case UnknownHere():
                for breaker in self._both:
                    breaker.probe_goes_on(now)
            case Retrieved():
                closed = [one.answered(task.row_id, now, is_doubtful=False, is_young=is_young) for one in self._both]
                self.has_closed = self.has_closed or any(closed)
            case Processing(status) if status != GENERIC_ERROR:
                has_closed = self._tasks.answered(task.row_id, now, is_doubtful=False, is_young=is_young)
                self.has_closed = self.has_closed or has_closed
            case NotFound() | InvalidRequest() | Failed():
                self._tasks.answered(task.row_id, now, is_doubtful=True)
            case Empty() | Invalid():
                self._results.answered(task.row_id, now, is_doubtful=True)
        if self.is_open and not was_open:
            log.warning("most answers bring no result, ends are held back", last=outcome.message or "")
        elif was_open and not self.is_open:
            log.info("the API answers sensibly again, ends are no longer held back")
        self._show(outcome)

    def record_stored(self, decision: Decision) -> None:
        """Let a task whose end was held back be released if the breaker has closed since that was decided."""
        self.has_closed = self.has_closed or (decision.is_held_back and not self.is_open)

    def record_end(self, task: Task) -> None:
        """Forget a task that has ended: its answers are no longer evidence about others."""
        for breaker in self._both:
            breaker.ended(task.row_id)

    def record_page(self, listed: Iterable[Task]) -> None:
        """Record what a page of the list shows about the API, and about the listed tasks."""
        now = self._clock.monotonic()
        for breaker in self._both:
            breaker.listed(now)
        for task in listed:
            if task.gone > 0:
                self._tasks.refuted(task.row_id, now)

    def circumstances(
        self, request: TaskRequest, outcome: Outcome, key: str | None, now_ms: int, *, is_filtered: bool = False
    ) -> Circumstances:
        """Return what an answer to this request, sent with the key of that fingerprint, may do to its task.

        `is_filtered`: only some embedding options were asked for.
        """
        task, now = request.task, self._clock.monotonic()
        doubted_for_s = 0.0 if task.doubted_at_ms is None else (now_ms - task.doubted_at_ms) / 1000
        breaker = self._results if isinstance(outcome, Empty | Invalid) else self._tasks
        is_alone = self._progress.open <= breaker.doubted
        return Circumstances(
            is_fresh=request.is_fresh,
            version=request.version,
            is_other_version=request.is_other_version,
            key=key,
            may_end=breaker.may_end(doubted_for_s, now, is_alone=is_alone),
            may_fail=breaker.may_fail(doubted_for_s, now, is_alone=is_alone),
            is_held_back=breaker.is_open,
            is_filtered=is_filtered,
            asks_once=self._asks_once,
            deadline_now_ms=self._deadline_now_ms(now_ms),
        )

    @property
    def _both(self) -> tuple[FinalStateBreaker, FinalStateBreaker]:
        return self._tasks, self._results

    @property
    def _open(self) -> list[FinalStateBreaker]:
        return [one for one in self._both if one.is_open]

    @property
    def evidence_ago_s(self) -> float:
        """Seconds since the API last showed that it is healthy."""
        return max(one.evidence_ago_s(self._clock.monotonic()) for one in self._both)

    @property
    def is_open(self) -> bool:
        """Whether ends are held back."""
        return self._tasks.is_open or self._results.is_open

    def is_probing(self, rate_per_s: float | None) -> bool:
        """Return whether only probes may ask about tasks at that sustained rate limit; None if nothing limits it."""
        return any(one.only_probes(self._clock.monotonic(), rate_per_s) for one in self._open)

    @property
    def is_open_for_long(self) -> bool:
        """Whether ends have been held back for longer than a backfill waits."""
        now = self._clock.monotonic()
        return any(one.opened_at is not None and now - one.opened_at >= NOT_WAITED_FOR_S for one in self._both)

    def probe_wait_s(self) -> float:
        """Return how many seconds the next probe must wait."""
        return max(0.0, min((one.next_probe_at for one in self._open), default=0.0) - self._clock.monotonic())

    def probe_sent(self, rate_per_s: float | None) -> None:
        """Record that a probe is sent at that sustained rate limit."""
        for breaker in self._open:
            breaker.probe_sent(self._clock.monotonic(), rate_per_s)

    def _show(self, outcome: Outcome | None = None) -> None:
        if not self.is_open:
            self._progress.conditions.pop(CONDITION, None)
            return
        last = None if outcome is None else outcome.message
        why = f", the last: {last}" if last else ""
        self._progress.conditions[CONDITION] = (
            f"most of the last ones bring no result{why.rstrip('.')}. No task ends by them; single ones are asked again"
        )
