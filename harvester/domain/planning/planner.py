"""Plan requests with what was learned from earlier answers. Times in `_ms` are Unix milliseconds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harvester.domain.limits.endpoint import Bucket, Endpoint, RateLimit
from harvester.domain.planning.list_reader import ListPage
from harvester.domain.planning.list_windows import ListModel, absent_from_processing_page, is_complete
from harvester.domain.planning.plan import (
    QUESTION_SHARE,
    DueTasks,
    ListRequest,
    Plan,
    PlanConstraints,
    PlannedRequest,
    Strategy,
    affordable_strategy,
    chance_finished,
    plan,
)
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.outcomes import Failed, Outcome, Processing, Ready, Retrieved
from harvester.domain.tasks.task import Task, TaskState, age_ms

MAX_QUESTIONS = 16
"""Requests: the most questions in one plan."""

FORETOLD = 0.9
"""Probability of having finished above which the next answer about a task tests the estimates."""

TRUST_PRIOR = 20.0
"""Right estimates that count as given at the start."""

TRUSTED = 0.9
"""Share of right estimates above which estimates are trusted."""

TRUST_MEMORY = 200.0
"""Estimates after which the counts are halved, so that later ones count more."""

INFERRED_READY_MS = 3600_000
"""Milliseconds for which an inference from a page without the task is tested by the next answer about it."""

DOUBT_MS = 3600_000
MAX_DOUBT_MS = 24 * 3600_000
"""Milliseconds, at first and at most, without such inferences after they have turned out to be wrong."""

PAGE_MISSES = 2
"""Pages: the planner asks about a task by itself after this many did not show it, however narrow their window."""

MISSES_KEPT_MS = 24 * 3600_000
"""Milliseconds for which a missed page counts."""

UNLISTED_MS = 60_000
"""Milliseconds, plus the task's age, for which the planner asks by itself about a task that the list does not show."""

CLOSED_S = 1.0
"""Seconds: a plan leaves out endpoints that must wait for longer."""

LIST_MISSED_S = 60.0
"""Seconds: a plan does not wait longer for the list, even with strategy `list`."""

LIST_PAUSE_S = 30.0
MAX_LIST_PAUSE_S = 600.0
LIST_PAUSE_REQUESTS = 20
"""The time of this many requests is the shortest pause after a failure of the list, if the rate limit is low."""


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """How to find out which tasks are ready; see `harvester.domain.planning.plan.PlanConstraints`."""

    strategy: Strategy = Strategy.AUTO
    has_status_call: bool = True
    ask_every_task: bool = False


@dataclass(slots=True)
class HitRate:
    """The share of right estimates that a task had finished, over about the last TRUST_MEMORY."""

    tries: float = TRUST_PRIOR
    hits: float = TRUST_PRIOR

    def learn(self, *, is_hit: bool) -> None:
        """Count one estimate."""
        if self.tries >= TRUST_MEMORY:
            self.tries, self.hits = self.tries / 2, self.hits / 2
        self.tries += 1
        self.hits += is_hit

    @property
    def is_given(self) -> bool:
        """Whether at least the share TRUSTED of the estimates was right, so that they can be trusted."""
        return self.hits / self.tries >= TRUSTED


@dataclass(slots=True)
class Planner:
    """Plans requests, and learns processing times, the list, and which tasks the list does not show."""

    settings: PlannerSettings = field(default_factory=PlannerSettings)
    times: ProcessingTimes = field(default_factory=ProcessingTimes)
    listing: ListModel = field(default_factory=ListModel)
    _trust: HitRate = field(default_factory=HitRate)
    _gap_trust: HitRate = field(default_factory=HitRate)
    _gap_doubts: int = 0
    _gaps_doubted_until_ms: int = 0
    _inferred_ready: dict[int, int] = field(default_factory=dict)
    _retracted: list[int] = field(default_factory=list)
    _questions: Bucket = field(default_factory=lambda: Bucket(RateLimit(0)))
    _unlisted: dict[int, int] = field(default_factory=dict)
    _misses: dict[int, tuple[int, int]] = field(default_factory=dict)
    _rate_per_s: float | None = None
    _list_failures: int = 0
    _list_paused_until: float = 0.0
    _wants_proof: bool = False

    def plan(  # noqa: PLR0913  # all but the first are named
        self,
        due: DueTasks,
        *,
        now_ms: int,
        now: float,
        limit: int,
        open_tasks: int,
        rate_per_s: float | None,
        waits_s: Mapping[Endpoint, float],
        evidence_ago_s: float = 0.0,
    ) -> Plan:
        """Return the plan for the due tasks, with at most `limit` requests.

        `now` is monotonic seconds. `open_tasks` is the number of all open tasks. `rate_per_s` is the sustained rate in
        force, None without one. `waits_s` is the wait of each endpoint, 0 for an absent one. `evidence_ago_s` is the
        time since the API last showed that it is healthy.
        """
        self._rate_per_s = rate_per_s
        strategy = affordable_strategy(self.settings.strategy, open_tasks, rate_per_s)
        is_list_paused = now < self._list_paused_until
        closed = {endpoint for endpoint, wait_s in waits_s.items() if wait_s > CLOSED_S}
        constraints = PlanConstraints(
            limit=1 if self._wants_proof else limit,
            questions=self.allowed_questions(now, rate_per_s, strategy),
            strategy=strategy,
            has_status_call=self.settings.has_status_call,
            closed=frozenset(closed | ({Endpoint.LIST} if is_list_paused else set())),
            has_list=not is_list_paused and waits_s.get(Endpoint.LIST, 0.0) <= LIST_MISSED_S,
            ask_every_task=self.settings.ask_every_task or self._wants_proof,
            evidence_ago_s=evidence_ago_s,
            trust_estimates=self._trust.is_given,
            trust_list_gaps=now_ms >= self._gaps_doubted_until_ms,
            unlisted={key for key, until_ms in self._unlisted.items() if now_ms < until_ms},
        )
        return plan(due, now_ms, constraints, self.times, self.listing)

    def record_sent(self, requests: Iterable[PlannedRequest], now: float) -> None:
        """Record that these requests go out: charge the questions among them to their budget."""
        for request in requests:
            self._questions.take(now, request.cost)
            self._wants_proof = False

    def record_outcome(self, task: Task, outcome: Outcome, asked_at_ms: int) -> None:
        """Learn from an outcome about one task; `asked_at_ms` is the time of the request."""
        is_finished = isinstance(outcome, Ready | Retrieved | Failed)
        if not is_finished and not isinstance(outcome, Processing):
            return
        until_ms = self._inferred_ready.pop(task.row_id, None)
        if until_ms is not None:
            self._gap_trust.learn(is_hit=is_finished)
            if not self._gap_trust.is_given:
                self._doubt_gaps(asked_at_ms)
            if is_finished:
                # The page said nothing about the video. Without this, a model would learn only from unfinished tasks.
                self._observe(task, _metadata(outcome), until_ms - INFERRED_READY_MS, is_finished=True, is_counted=True)
        if task.state is TaskState.PENDING and task.is_dated:
            self._learn(task, outcome, asked_at_ms, is_finished=is_finished)

    def record_inferred_ready(self, task: Task, asked_at_ms: int) -> None:
        """Record that the task was inferred to be ready, because a page of the tasks in processing did not show it."""
        self._inferred_ready[task.row_id] = asked_at_ms + INFERRED_READY_MS
        self._learn(task, Ready(), asked_at_ms, is_finished=True)

    def infer_ready(self, request: ListRequest, page: ListPage, now_ms: int) -> list[Task]:
        """Return the tasks of `request` that must have finished, because a page of those in processing omits them."""
        if request.query.status is None or now_ms < self._gaps_doubted_until_ms:
            return []
        return absent_from_processing_page(request.query, page, request.tasks, self.listing)

    def take_retracted(self) -> list[int]:
        """Return, once, the row ids of tasks whose inferred readiness is no longer believed."""
        retracted, self._retracted = self._retracted, []
        return retracted

    def record_page(self, request: ListRequest, page: ListPage, answered: Iterable[Task], now_ms: int) -> None:
        """Learn from the page that `request` brought; `answered` are the tasks that it answered for."""
        self._list_failures = 0
        answered_keys = {task.row_id for task in answered}
        shown = {task.task_id for task in page.tasks}
        self.listing.learn(request.query, page, sum(task.task_id in shown for task in request.tasks))
        is_whole = is_complete(request.query, page)
        for task in request.tasks:
            misses, _ = self._misses.pop(task.row_id, (0, 0))
            if task.row_id in answered_keys:
                continue
            if is_whole or misses + 1 >= PAGE_MISSES:
                # The older the task, the less likely it is that the list is only late.
                self._unlisted[task.row_id] = now_ms + UNLISTED_MS + task.age_ms(now_ms)
            else:
                self._misses[task.row_id] = misses + 1, now_ms + MISSES_KEPT_MS

    def list_failed(self, now: float) -> None:
        """Pause requests for the list: single calls may still work."""
        pause_s = min(MAX_LIST_PAUSE_S, LIST_PAUSE_S * 2 ** min(self._list_failures, 10))
        if self._rate_per_s:
            pause_s = max(pause_s, LIST_PAUSE_REQUESTS / self._rate_per_s)
        self._list_failures += 1
        self._list_paused_until = now + pause_s

    def list_refused(self, now: float) -> None:
        """Pause the list, and ask about one task now, to see whether the API refuses every call."""
        self.list_failed(now)
        self._wants_proof = True

    def expire_entries(self, now_ms: int) -> None:
        """Drop the entries that have expired."""
        self._unlisted = {key: until_ms for key, until_ms in self._unlisted.items() if now_ms < until_ms}
        self._inferred_ready = {key: until_ms for key, until_ms in self._inferred_ready.items() if now_ms < until_ms}
        self._misses = {key: missed for key, missed in self._misses.items() if now_ms < missed[1]}

    def _doubt_gaps(self, now_ms: int) -> None:
        """Stop inferring readiness from pages for a while, and retract the inferences that were not confirmed yet."""
        self._retracted += self._inferred_ready
        self._inferred_ready.clear()
        self._gap_trust = HitRate()
        self._gaps_doubted_until_ms = now_ms + min(MAX_DOUBT_MS, DOUBT_MS * 2 ** min(self._gap_doubts, 10))
        self._gap_doubts += 1

    def _learn(self, task: Task, outcome: Outcome, asked_at_ms: int, *, is_finished: bool) -> None:
        if chance_finished(task, asked_at_ms, self.times) >= FORETOLD:
            self._trust.learn(is_hit=is_finished)
        if is_finished:
            self._misses.pop(task.row_id, None)
            self._unlisted.pop(task.row_id, None)
        metadata = _metadata(outcome)
        if metadata.created_at_ms is not None:
            self.listing.learn_date(task.task_id, metadata.created_at_ms)
        self._observe(task, metadata, asked_at_ms, is_finished=is_finished)

    def _observe(
        self, task: Task, metadata: MediaMetadata, at_ms: int, *, is_finished: bool, is_counted: bool = False
    ) -> None:
        """Learn the processing time; `is_counted`: the classes of the video as known before have counted it already."""
        # The time in an id may be hours off, so learn only from the age by the API's creation time.
        created_at_ms = task.created_ms_estimate if metadata.created_at_ms is None else metadata.created_at_ms
        model_name, duration_s = task.model_name or metadata.model_name, task.duration_s or metadata.duration
        by_s, after_s = age_ms(created_at_ms, task.added_at_ms, at_ms) / 1000, 0.0
        if task.unfinished_at_ms is not None:
            after_s = age_ms(created_at_ms, task.added_at_ms, task.unfinished_at_ms) / 1000
        if not is_finished or after_s > 0 or self.times.of(model_name, duration_s).chance(by_s) < FORETOLD:
            # A task whose first answer came long after its end says nothing about processing times, so it is excluded.
            counted = (task.model_name, task.duration_s) if is_counted else None
            self.times.observe(model_name, duration_s, after_s, by_s, is_finished=is_finished, counted=counted)

    def allowed_questions(self, now: float, rate_per_s: float | None, strategy: Strategy = Strategy.AUTO) -> int:
        """Return the number of questions that may go out now."""
        if rate_per_s is None or strategy is not Strategy.AUTO:
            # The strategies `status` and `list` ask about each task first, so half of all requests are questions;
            # results still go first.
            return MAX_QUESTIONS
        per_s = rate_per_s * QUESTION_SHARE
        bucket = self._questions
        bucket.limit = RateLimit(per_s * 60, burst=max(1, int(per_s)))
        interval_s = bucket.limit.interval_s
        if not interval_s or bucket.arrival - now > bucket.limit.tolerance_s + interval_s:
            # The rate has risen since the last question: do not make the next one wait by the old rate.
            bucket.arrival = min(bucket.arrival, now + interval_s)
        ahead_s = now - bucket.ready_at()
        return 0 if ahead_s < 0 else min(MAX_QUESTIONS, bucket.limit.burst, 1 + int(ahead_s / interval_s))


def _metadata(outcome: Outcome) -> MediaMetadata:
    """Return what an answer says about the video; empty if it says nothing."""
    match outcome:
        case Retrieved():
            return outcome.embeddings.metadata
        case Ready() | Processing():
            return outcome.metadata or MediaMetadata()
        case _:
            return MediaMetadata()
