"""Plan requests with what was learned from earlier answers. Times in `_ms` are Unix milliseconds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.finish_estimates import chance_finished
from harvester.domain.planning.hit_rate import HitRate
from harvester.domain.planning.inferred_readiness import InferredReadiness
from harvester.domain.planning.list_pause import ListPause
from harvester.domain.planning.list_reader import ListPage
from harvester.domain.planning.list_windows import ListModel, is_complete
from harvester.domain.planning.observed_times import FORETOLD, observe
from harvester.domain.planning.plan import DueTasks, Plan, plan
from harvester.domain.planning.plan_constraints import PlanConstraints
from harvester.domain.planning.planned_requests import ListRequest, PlannedRequest
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.question_budget import QuestionBudget
from harvester.domain.planning.strategy import Strategy, affordable_strategy
from harvester.domain.planning.unlisted_tasks import UnlistedTasks
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.outcomes import Failed, Outcome, Processing, Ready, Retrieved
from harvester.domain.tasks.task import Task, TaskState

CLOSED_S = 1.0
"""Seconds: a plan leaves out endpoints that must wait for longer."""

LIST_MISSED_S = 60.0
"""Seconds: a plan does not wait longer for the list, even with strategy `list`."""


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """How to find out which tasks are ready; see `harvester.domain.planning.plan_constraints.PlanConstraints`."""

    strategy: Strategy = Strategy.AUTO
    versions: ApiVersions = field(default_factory=ApiVersions)
    ask_every_task: bool = False


@dataclass(slots=True)
class Planner:
    """Plans requests, and learns processing times, the list, and which tasks the list does not show."""

    settings: PlannerSettings = field(default_factory=PlannerSettings)
    times: ProcessingTimes = field(default_factory=ProcessingTimes)
    listing: ListModel = field(default_factory=ListModel)
    questions: QuestionBudget = field(default_factory=QuestionBudget)
    _trust: HitRate = field(default_factory=HitRate)
    _inferred: InferredReadiness = field(default_factory=InferredReadiness)
    _unlisted: UnlistedTasks = field(default_factory=UnlistedTasks)
    _list_pause: ListPause = field(default_factory=ListPause)
    _rate_per_s: float | None = None
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
        is_list_paused = now < self._list_pause.until
        closed = {endpoint for endpoint, wait_s in waits_s.items() if wait_s > CLOSED_S}
        constraints = PlanConstraints(
            limit=1 if self._wants_proof else limit,
            questions=self.questions.allowed(now, rate_per_s, strategy),
            strategy=strategy,
            versions=self.settings.versions,
            closed=frozenset(closed | ({Endpoint.LIST} if is_list_paused else set())),
            has_list=not is_list_paused and waits_s.get(Endpoint.LIST, 0.0) <= LIST_MISSED_S,
            ask_every_task=self.settings.ask_every_task or self._wants_proof,
            evidence_ago_s=evidence_ago_s,
            trust_estimates=self._trust.is_given,
            trust_list_gaps=self._inferred.is_trusted(now_ms),
            unlisted=self._unlisted.row_ids(now_ms),
        )
        return plan(due, now_ms, constraints, self.times, self.listing)

    def record_sent(self, requests: Iterable[PlannedRequest], now: float) -> None:
        """Record that these requests go out: charge the questions among them to their budget."""
        for request in requests:
            self.questions.charge(now, request.cost)
            self._wants_proof = False

    def record_outcome(self, task: Task, outcome: Outcome, asked_at_ms: int) -> None:
        """Learn from an outcome about one task; `asked_at_ms` is the time of the request."""
        is_finished = isinstance(outcome, Ready | Retrieved | Failed)
        if not is_finished and not isinstance(outcome, Processing):
            return
        inferred_at_ms = self._inferred.test(task, asked_at_ms, is_finished=is_finished)
        if inferred_at_ms is not None and is_finished:
            # The page said nothing about the video. Without this, a model would learn only from unfinished tasks.
            observe(self.times, task, _metadata(outcome), inferred_at_ms, is_finished=True, is_counted=True)
        if task.state is TaskState.PENDING and task.is_dated:
            self._learn(task, outcome, asked_at_ms, is_finished=is_finished)

    def record_inferred_ready(self, task: Task, asked_at_ms: int) -> None:
        """Record that the task was inferred to be ready, because a page of the tasks in processing did not show it."""
        self._inferred.record(task, asked_at_ms)
        self._learn(task, Ready(), asked_at_ms, is_finished=True)

    def infer_ready(self, request: ListRequest, page: ListPage, now_ms: int) -> list[Task]:
        """Return the tasks of `request` that must have finished, because a page of those in processing omits them."""
        return self._inferred.infer(request, page, self.listing, now_ms)

    def take_retracted(self) -> list[int]:
        """Return, once, the row ids of tasks whose inferred readiness is no longer believed."""
        return self._inferred.take_retracted()

    def record_page(self, request: ListRequest, page: ListPage, answered: Iterable[Task], now_ms: int) -> None:
        """Learn from the page that `request` brought; `answered` are the tasks that it answered for."""
        self._list_pause.succeeded()
        shown = {task.task_id for task in page.tasks}
        self.listing.learn(request.query, page, sum(task.task_id in shown for task in request.tasks))
        self._unlisted.record_page(request, answered, now_ms, is_whole=is_complete(request.query, page))

    def list_failed(self, now: float) -> None:
        """Pause requests for the list: single calls may still work."""
        self._list_pause.failed(now, self._rate_per_s)

    def list_refused(self, now: float) -> None:
        """Pause the list, and ask about one task now, to see whether the API refuses every call."""
        self.list_failed(now)
        self._wants_proof = True

    def expire_entries(self, now_ms: int) -> None:
        """Drop the entries that have expired."""
        self._unlisted.expire_entries(now_ms)
        self._inferred.expire_entries(now_ms)

    def _learn(self, task: Task, outcome: Outcome, asked_at_ms: int, *, is_finished: bool) -> None:
        if chance_finished(task, asked_at_ms, self.times) >= FORETOLD:
            self._trust.learn(is_hit=is_finished)
        if is_finished:
            self._unlisted.forget(task)
        metadata = _metadata(outcome)
        if metadata.created_at_ms is not None:
            self.listing.learn_date(task.task_id, metadata.created_at_ms)
        observe(self.times, task, metadata, asked_at_ms, is_finished=is_finished)


def _metadata(outcome: Outcome) -> MediaMetadata:
    """Return what an answer says about the video; empty if it says nothing."""
    match outcome:
        case Retrieved():
            return outcome.embeddings.metadata
        case Ready() | Processing():
            return outcome.metadata or MediaMetadata()
        case _:
            return MediaMetadata()
