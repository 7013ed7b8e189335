"""Remembers what planning needs from one plan to the next, and learns from every answer."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from harvester.domain.discovery import ListPage
from harvester.domain.outcomes import Failed, Outcome, Processing, Ready, Retrieved
from harvester.domain.pacing import Bucket, Endpoint, RateLimit
from harvester.domain.planning import QUESTION_SHARE, Due, Look, Plan, Step, Strategy, Terms, chance_finished, plan
from harvester.domain.processing_time import ProcessingTimes
from harvester.domain.tasks import Task, TaskState
from harvester.domain.windows import Listing, finished_by

MAX_QUESTIONS = 16

FORETOLD = 0.9
"""A task with such a chance to have finished tells whether reckoning can be trusted."""

TRUST_PRIOR = 20.0
TRUSTED = 0.9
TRUST_MEMORY = 200.0

PAGE_MISSES = 2
"""A task that so many pages did not show, however narrow their window, is asked about by itself."""

UNLISTED_MS = 60_000
"""How long, at first, a task that the list does not show is asked about by itself."""

LIST_PAUSE_S = 30.0
MAX_LIST_PAUSE_S = 600.0


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """How to find out what is ready; see `harvester.domain.planning.Terms`."""

    strategy: Strategy = Strategy.AUTO
    has_status_call: bool = True
    asks_all: bool = False


@dataclass(slots=True)
class _Trust:
    """How often tasks that were surely finished by reckoning turned out to be."""

    tries: float = TRUST_PRIOR
    hits: float = TRUST_PRIOR

    def learn(self, *, is_hit: bool) -> None:
        if self.tries >= TRUST_MEMORY:
            self.tries, self.hits = self.tries / 2, self.hits / 2
        self.tries += 1
        self.hits += is_hit

    @property
    def is_given(self) -> bool:
        return self.hits / self.tries >= TRUSTED


@dataclass(slots=True)
class Planner:
    """Plans, and keeps what was learned of processing times, of the list, and of tasks that the list does not show."""

    settings: PlannerSettings = field(default_factory=PlannerSettings)
    times: ProcessingTimes = field(default_factory=ProcessingTimes)
    listing: Listing = field(default_factory=Listing)
    _trust: _Trust = field(default_factory=_Trust)
    _gap_trust: _Trust = field(default_factory=_Trust)
    _presumed: set[int] = field(default_factory=set)
    _questions: Bucket = field(default_factory=lambda: Bucket(RateLimit(0)))
    _unlisted: dict[int, int] = field(default_factory=dict)
    _misses: dict[int, int] = field(default_factory=dict)
    _list_failures: int = 0
    _list_paused_until: float = 0.0

    def plan(  # noqa: PLR0913  # all but the first are named
        self,
        due: Due,
        *,
        now_ms: int,
        now: float,
        limit: int,
        rate_per_s: float | None,
        closed: Iterable[Endpoint],
    ) -> Plan:
        """Return what to do about the tasks that are due, with at most `limit` requests.

        `now` is monotonic seconds. `rate_per_s` is the sustained rate in force, None without one. `closed` are the
        classes that the API wants no requests of.
        """
        shut = frozenset(closed) | ({Endpoint.LIST} if now < self._list_paused_until else frozenset())
        terms = Terms(
            limit=limit,
            questions=self._allowed_questions(now, rate_per_s),
            strategy=self.settings.strategy,
            has_status_call=self.settings.has_status_call,
            closed=shut,
            asks_all=self.settings.asks_all,
            trusts=self._trust.is_given,
            trusts_gaps=self._gap_trust.is_given,
            unlisted={key for key, until_ms in self._unlisted.items() if now_ms < until_ms},
        )
        return plan(due, now_ms, terms, self.times, self.listing)

    def spent(self, steps: Iterable[Step], now: float) -> None:
        """Account for the questions among the steps that are taken."""
        for step in steps:
            if step.is_question:
                self._questions.take(now)

    def answered(self, task: Task, outcome: Outcome, asked_at_ms: int) -> None:
        """Learn from what a request said about one task."""
        is_finished = isinstance(outcome, Ready | Retrieved | Failed)
        if not is_finished and not isinstance(outcome, Processing):
            return
        if task.key in self._presumed:
            self._presumed.discard(task.key)
            self._gap_trust.learn(is_hit=is_finished)
        if task.state is TaskState.PENDING and task.is_dated:
            self._learn(task, outcome, asked_at_ms, is_finished=is_finished)

    def presumed(self, task: Task, asked_at_ms: int) -> None:
        """Learn that a page of all unfinished tasks did not show this one."""
        self._presumed.add(task.key)
        self._learn(task, Ready(), asked_at_ms, is_finished=True)

    def concluded(self, look: Look, page: ListPage) -> list[Task]:
        """Return the tasks of `look` that have finished because a page of all unfinished ones does not show them."""
        return [] if look.query.status is None else finished_by(look.query, page, look.tasks, self.listing)

    def read(self, look: Look, page: ListPage, told: Iterable[Task], now_ms: int) -> None:
        """Learn from a page that `look` asked for, and that told of some tasks."""
        self._list_failures = 0
        held = {task.key for task in told}
        shown = {task.task_id for task in page.tasks}
        self.listing.learn(look.query, page, sum(task.task_id in shown for task in look.tasks))
        # Of a page of the unfinished nothing follows about those on which it is silent.
        is_complete = page.count < look.query.page_limit
        for task in look.tasks if look.query.status is None else ():
            if task.key in held:
                self._misses.pop(task.key, None)
                continue
            misses = self._misses[task.key] = self._misses.get(task.key, 0) + 1
            if is_complete or misses >= PAGE_MISSES:
                # The older it is, the less a list that is late explains it.
                self._unlisted[task.key] = now_ms + UNLISTED_MS + task.age_ms(now_ms)

    def list_failed(self, now: float) -> None:
        """Leave the list alone for a while: single calls may work."""
        pause_s = min(MAX_LIST_PAUSE_S, LIST_PAUSE_S * 2 ** min(self._list_failures, 10))
        self._list_failures += 1
        self._list_paused_until = now + pause_s

    def tidy(self, now_ms: int) -> None:
        """Forget what no longer matters."""
        self._unlisted = {key: until_ms for key, until_ms in self._unlisted.items() if now_ms < until_ms}
        self._misses = {key: misses for key, misses in self._misses.items() if key in self._unlisted}

    def _learn(self, task: Task, outcome: Outcome, asked_at_ms: int, *, is_finished: bool) -> None:
        if chance_finished(task, asked_at_ms, self.times) >= FORETOLD:
            self._trust.learn(is_hit=is_finished)
        if is_finished:
            self._misses.pop(task.key, None)
            self._unlisted.pop(task.key, None)
        metadata = outcome.embeddings.metadata if isinstance(outcome, Retrieved) else None
        model_name = task.model_name or (metadata.model_name if metadata else None)
        duration_s = task.duration_s or (metadata.duration if metadata else None)
        after_s = 0.0 if task.unfinished_at_ms is None else task.age_ms(task.unfinished_at_ms) / 1000
        by_s = task.age_ms(asked_at_ms) / 1000
        if not is_finished or after_s > 0 or self.times.of(model_name, duration_s).chance(by_s) < FORETOLD:
            # Of a task that was first looked at long after its end there is nothing to learn.
            self.times.observe(model_name, duration_s, after_s, by_s, is_finished=is_finished)

    def _allowed_questions(self, now: float, rate_per_s: float | None) -> int:
        if rate_per_s is None or self.settings.strategy is Strategy.STATUS:
            # With one question for each task, questions are half of all requests; results still go first.
            return MAX_QUESTIONS
        per_s = rate_per_s * QUESTION_SHARE
        bucket = self._questions
        bucket.limit = RateLimit(per_s * 60, burst=max(1, int(per_s)))
        interval_s = bucket.limit.interval_s
        if not interval_s or bucket.arrival - now > bucket.limit.tolerance_s + interval_s:
            # The rate has risen since.
            bucket.arrival = min(bucket.arrival, now + interval_s)
        ahead_s = now - bucket.ready_at()
        return 0 if ahead_s < 0 else min(MAX_QUESTIONS, bucket.limit.burst, 1 + int(ahead_s / interval_s))
