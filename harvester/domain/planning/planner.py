"""Plan requests with what was learned from earlier answers. Times in `_ms` are Unix milliseconds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.costs import TARGET_S, least_wait_s, waiting_price
from harvester.domain.planning.finish_estimates import chance_finished
from harvester.domain.planning.first_tries import FirstTries
from harvester.domain.planning.hit_rate import HitRate
from harvester.domain.planning.inferred_readiness import InferredReadiness
from harvester.domain.planning.known_versions import KnownVersions
from harvester.domain.planning.list_pause import ListPause
from harvester.domain.planning.list_reader import ListPage
from harvester.domain.planning.list_versions import ListVersions
from harvester.domain.planning.list_windows import (
    ListModel,
    absent_between_entries,
    absent_from_page,
    is_complete,
)
from harvester.domain.planning.observed_times import FORETOLD, observe
from harvester.domain.planning.plan import Plan, plan
from harvester.domain.planning.plan_constraints import PlanConstraints
from harvester.domain.planning.planned_requests import ListRequest, PlannedRequest, TaskRequest
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.question_budget import QuestionBudget
from harvester.domain.planning.strategy import Strategy, affordable_strategy
from harvester.domain.planning.unlisted_tasks import UnlistedTasks
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.outcomes import Failed, Outcome, Processing, Ready, Retrieved
from harvester.domain.tasks.task import ApiVersion, Task, TaskState

CLOSED_S = 1.0
"""Seconds: a plan leaves out endpoints that must wait for longer."""

LIST_MISSED_S = 60.0
"""Seconds: a plan does not wait longer for the list, even with strategy `list`."""


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """How to find out which tasks are ready; see `harvester.domain.planning.plan_constraints.PlanConstraints`.

    `versions` learns from answers. A finished task may wait `target_latency_s` on average, where the budget allows it.
    """

    strategy: Strategy = Strategy.AUTO
    versions: ApiVersions = field(default_factory=ApiVersions)
    ask_every_task: bool = False
    target_latency_s: float = TARGET_S


@dataclass(slots=True)
class Planner:
    """Plans requests, and learns processing times, API versions, the lists, and which tasks these do not show."""

    settings: PlannerSettings = field(default_factory=PlannerSettings)
    times: ProcessingTimes = field(default_factory=ProcessingTimes)
    listing: ListModel = field(default_factory=ListModel)
    lists: ListVersions = field(default_factory=ListVersions)
    questions: QuestionBudget = field(default_factory=QuestionBudget)
    _tries: FirstTries = field(default_factory=FirstTries)
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
        looks_first: bool = False,
    ) -> Plan:
        """Return the plan for the due tasks, with at most `limit` requests.

        `now` is monotonic seconds. `open_tasks` is the number of all open tasks. `rate_per_s` is the sustained rate in
        force, None without one. `waits_s` is the wait of each endpoint, 0 for an absent one. `evidence_ago_s` is the
        time since the API last showed that it is healthy. `looks_first`: nothing has been heard of the API yet.
        """
        self._rate_per_s = rate_per_s
        price = waiting_price(self.settings.target_latency_s, open_tasks, rate_per_s)
        self.times.least_wait_s = least_wait_s(open_tasks)
        strategy = affordable_strategy(self.settings.strategy, open_tasks, rate_per_s)
        is_list_paused = now < self._list_pause.until
        closed = {endpoint for endpoint, wait_s in waits_s.items() if wait_s > CLOSED_S}
        constraints = PlanConstraints(
            limit=1 if self._wants_proof else limit,
            questions=self.questions.allowed(now, rate_per_s, strategy, open_tasks=open_tasks),
            strategy=strategy,
            versions=self.settings.versions,
            closed=frozenset(closed | ({Endpoint.LIST} if is_list_paused else set())),
            has_list=not is_list_paused and waits_s.get(Endpoint.LIST, 0.0) <= LIST_MISSED_S,
            looks_first=looks_first,
            ask_every_task=self.settings.ask_every_task or self._wants_proof,
            evidence_ago_s=evidence_ago_s,
            trust_estimates=self._trust.is_given,
            # A page of the tasks in processing may be empty, which shows nothing of the API and of the tasks.
            trust_list_gaps=not looks_first and self._inferred.is_trusted(now_ms),
            unlisted=self._unlisted.row_ids(now_ms),
            lists=self.lists,
            now=now,
            price=price,
        )
        return plan(due, now_ms, constraints, self.times, self.listing)

    def without_excess_tries(self, planned: Plan, now: float) -> Plan:
        """Return the plan with few requests as long as the API version of no task is known."""
        if self.settings.versions.known.has_any:
            return planned
        return replace(planned, requests=self._tries.fitting(planned.requests, now))

    def renewed(self, request: PlannedRequest) -> PlannedRequest:
        """Return the request in the API version that is likely by now: answers may have come since it was planned."""
        if not isinstance(request, TaskRequest) or request.task.version is not None:
            return request
        versions = self.settings.versions
        if versions.of(request.task) == request.version:
            return request
        return versions.request(request.endpoint, request.task, request.chance, is_question=request.is_question)

    def record_sent(self, requests: Iterable[PlannedRequest], now: float) -> None:
        """Record that these requests go out: charge the questions among them to their budget."""
        requests = list(requests)
        if not self.settings.versions.known.has_any:
            self._tries.sent(requests, now)
        for request in requests:
            self.questions.charge(now, request.cost)
            self._wants_proof = False

    def record_version(self, task: Task, version: ApiVersion | None) -> None:
        """Learn that an answer has identified the task as one of that API version; no effect for None."""
        self.settings.versions.learn(task, version)

    @property
    def known_versions(self) -> KnownVersions:
        """The versions of the tasks that answers have identified."""
        return self.settings.versions.known

    def load_versions(self, known: Iterable[tuple[int, ApiVersion]]) -> None:
        """Learn from stored tasks: pairs of a creation time and the API version that knows the task."""
        self.settings.versions.known.load(known)

    def record_outcome(self, task: Task, outcome: Outcome, asked_at_ms: int) -> None:
        """Learn from an outcome about one task; `asked_at_ms` is the time of the request."""
        self._tries.answered(task, outcome)
        self.questions.record_outcome(outcome)
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
        listed = self._listed(request, page)
        return self._inferred.infer(replace(request, tasks=tuple(listed)), page, self.listing, now_ms)

    def identified(self, request: ListRequest, page: ListPage) -> ListPage:
        """Return the page with the API version of each entry, as far as it follows from the list that shows it."""
        return self.lists.identified(request.query.version or self.settings.versions.first, page)

    def take_retracted(self) -> list[int]:
        """Return, once, the row ids of tasks whose inferred readiness is no longer believed."""
        return self._inferred.take_retracted()

    def record_page(self, request: ListRequest, page: ListPage, answered: Iterable[Task], now_ms: int) -> None:
        """Learn from the page that `request` brought; `answered` are the tasks that it answered for."""
        self._list_pause.succeeded()
        shown = {task.task_id for task in page.tasks}
        answered = list(answered)
        asked = request.query.version or self.settings.versions.first
        identified = self.settings.versions.identified
        ours = [*answered, *identified(one.task_id for one in page.tasks).values()]
        self.lists.learn(asked, (task for task in ours if task.task_id in shown), page.tasks)
        if request.query.status is None and not self.lists.is_decided:
            ours = list({**identified(), **{one.task_id: one for one in request.tasks if one.version}}.values())
            self.lists.learn_omissions(asked, absent_between_entries(request.query, page, ours, self.listing))
        for task in answered:
            self.lists.forget(task)
        elsewhere = self._elsewhere(request, page, answered)
        known = sum(task.task_id in shown for task in (*request.tasks, *request.harvested))
        self.listing.learn(request.query, page, known)
        is_whole = is_complete(request.query, page)
        self._unlisted.record_page(request, [*answered, *elsewhere], now_ms, is_whole=is_whole)

    def list_of(self, task: Task, now: float) -> ApiVersion:
        """Return the API version whose list is asked about the task at `now` (monotonic seconds)."""
        return self.lists.of(task, self.settings.versions, now)

    def list_failed(self, now: float) -> None:
        """Pause requests for the list: single calls may still work."""
        self._list_pause.failed(now, self._rate_per_s)

    def list_not_served(self, request: ListRequest, now: float) -> None:
        """Ask for the list of the other API version from now on; pause both if that one is not served either."""
        if not self.lists.refused(request.query.version or self.settings.versions.first, now):
            self.list_failed(now)

    def list_refused(self, request: ListRequest, now: float) -> None:
        """Do the same, and ask about one task now, to see whether the API refuses every call."""
        self.list_not_served(request, now)
        self._wants_proof = True

    def expire_entries(self, now_ms: int) -> None:
        """Drop the entries that have expired."""
        self._unlisted.expire_entries(now_ms)
        self._inferred.expire_entries(now_ms)

    def _listed(self, request: ListRequest, page: ListPage) -> list[Task]:
        """Return the tasks of `request` whose absence from the page says something: its list would show them."""
        versions, shown = self.settings.versions, {task.task_id for task in page.tasks}
        asked, shows_any = request.query.version or versions.first, any(one.task_id in shown for one in request.tasks)
        return [one for one in request.tasks if self.lists.shows(one, asked, versions, shows_any=shows_any)]

    def _elsewhere(self, request: ListRequest, page: ListPage, answered: Iterable[Task]) -> list[Task]:
        """Return the tasks of `request` that the page lacks, and that the list of the other version may show."""
        asked = request.query.version or self.settings.versions.first
        settled = {one.row_id for one in (*answered, *self._listed(request, page))}
        absent = absent_from_page(request.query, page, request.tasks, self.listing)
        return [one for one in absent if one.row_id not in settled and self.lists.is_elsewhere(one, asked)]

    def _learn(self, task: Task, outcome: Outcome, asked_at_ms: int, *, is_finished: bool) -> None:
        if chance_finished(task, asked_at_ms, self.times) >= FORETOLD:
            self._trust.learn(is_hit=is_finished)
        if is_finished:
            self._unlisted.forget(task)
            self.lists.forget(task)
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
