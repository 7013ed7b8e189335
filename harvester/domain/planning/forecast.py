"""Forecast the next requests of a harvest, and the number of requests that it takes, without sending any.

The next requests come from `plan`. The number of requests is an estimate, because it depends on the answers how often
asking pays.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, takewhile

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.costs import SURE, WAIT_PRICE
from harvester.domain.planning.feasibility import REQUESTS_PER_TASK, Budget, Deadlines, Feasibility, assess
from harvester.domain.planning.finish_estimates import chance_finished
from harvester.domain.planning.list_reader import PAGE_LIMIT
from harvester.domain.planning.list_windows import MAX_TASKS, ListModel
from harvester.domain.planning.plan import DueTasks, plan
from harvester.domain.planning.plan_constraints import PlanConstraints
from harvester.domain.planning.planned_requests import ListRequest, PlannedRequest
from harvester.domain.planning.poll_times import is_last_chance
from harvester.domain.planning.processing_time import EDGES_S, ProcessingTimes
from harvester.domain.planning.question_budget import QUESTION_SHARE
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import Task, TaskState

MAX_MOMENTS = 40
"""Moments, at growing distances up to a week, at which the forecast looks for a request that is worth making."""

FIRST_STEP_MS = 1_000


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """An open task, and from when on (Unix ms) a request about it may go out."""

    task: Task
    due_ms: int = 0


@dataclass(frozen=True, slots=True)
class QueueSample:
    """A sample of the queue at `at_ms` (Unix milliseconds).

    `sampled` is an even sample of the open tasks, the nearest deadline first; each task stands for `each` (1: all tasks
    are in it). `head` has the tasks of the next requests. `processes` processes have claimed `in_hand` tasks.
    """

    at_ms: int
    open_tasks: int
    ready_due: int = 0
    pending_due: int = 0
    in_hand: int = 0
    processes: int = 0
    each: int = 1
    sampled: Sequence[QueuedTask] = ()
    head: Sequence[QueuedTask] = ()
    deadlines: Deadlines = ()

    @property
    def later(self) -> int:
        """The number of open tasks that are neither due nor claimed."""
        return max(0, self.open_tasks - self.ready_due - self.pending_due - self.in_hand)

    @property
    def next_due_ms(self) -> int | None:
        """When the first of those is due (Unix ms), None without one."""
        return min((turn.due_ms for turn in self.head if turn.due_ms > self.at_ms), default=None)


@dataclass(frozen=True, slots=True)
class Todo:
    """The due tasks, counted by the request that they need.

    `wait` of them are not worth a request before `first_ms` (Unix ms).
    """

    retrieve: int
    straight_away: int
    by_page: int
    singly: int
    wait: int
    first_ms: int | None


@dataclass(frozen=True, slots=True)
class Call:
    """A request, and when (Unix ms) it would go out."""

    request: PlannedRequest
    at_ms: int


@dataclass(frozen=True, slots=True)
class Expected:
    """The estimated number of requests for all open tasks; `needed` without questions that only bring results sooner.

    At `finished_ms` (Unix ms) the last task has almost certainly finished processing; None if all have.
    """

    retrievals: float
    questions: float
    needed: float
    finished_ms: int | None

    @property
    def requests(self) -> float:
        """Retrievals and questions together."""
        return self.retrievals + self.questions


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast: due tasks by request, the first calls, and the estimated total; `finish_ms` is Unix ms."""

    todo: Todo
    calls: Sequence[Call]
    expected: Expected
    feasibility: Feasibility
    finish_ms: int


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a forecast with `calls` requests.

    Times are Unix milliseconds: no request goes out before `start_ms`, none to an endpoint before its `waits_ms`.
    """

    budget: Budget
    strategy: Strategy = Strategy.AUTO
    versions: ApiVersions = field(default_factory=ApiVersions)
    waits_ms: Mapping[Endpoint, int] = field(default_factory=dict)
    start_ms: int = 0
    calls: int = 10


def preview(sample: QueueSample, conditions: Conditions, times: ProcessingTimes) -> Forecast:
    """Return the forecast; pure."""
    expected = estimate_requests(sample, conditions, times)
    per_task = max(REQUESTS_PER_TASK, expected.needed / max(1, sample.open_tasks))
    feasibility = assess(sample.deadlines, sample.at_ms, conditions.budget, requests_per_task=per_task)
    finish_ms = max(feasibility.finish_ms, expected.finished_ms or 0)
    todo, calls = what_to_do(sample, conditions, times), next_requests(sample, conditions, times)
    return Forecast(todo, calls, expected, feasibility, finish_ms)


def what_to_do(sample: QueueSample, conditions: Conditions, times: ProcessingTimes) -> Todo:
    """Return the due tasks, counted by the request that they need."""
    due = [turn.task for turn in _pending(sample) if turn.due_ms <= sample.at_ms]
    constraints = PlanConstraints(limit=len(due), questions=0, strategy=conditions.strategy)
    found = plan(DueTasks([], due), sample.at_ms, constraints, times, ListModel())
    settled = {request.tasks[0].row_id for request in found.requests} | {task.row_id for task, _ in found.later}
    asked = [task for task in due if task.row_id not in settled]
    by_page = _listable(asked, sample, conditions)
    scale = sample.pending_due / max(1, len(due))
    return Todo(
        retrieve=sample.ready_due,
        straight_away=round(len(found.requests) * scale),
        by_page=round(by_page * scale),
        singly=round((len(asked) - by_page) * scale),
        wait=round(len(found.later) * scale),
        first_ms=min((at_ms for _, at_ms in found.later), default=None),
    )


def next_requests(sample: QueueSample, conditions: Conditions, times: ProcessingTimes) -> list[Call]:
    """Return the next requests in order, at the rate in force.

    The content of a page is not known, so retrievals of as many tasks as it should find come before the next call.
    """
    rate_per_s = conditions.budget.rate_per_s
    each_ms = 0.0 if rate_per_s is None else 1000 / rate_per_s
    at_ms, done, calls = max(sample.at_ms, conditions.start_ms), set[int](), list[Call]()
    while len(calls) < conditions.calls:
        turns = [turn for turn in sample.head if turn.task.row_id not in done]
        at_ms, requests = _next_requests(turns, at_ms, conditions, times, limit=conditions.calls - len(calls))
        if not requests:
            break
        planned_ms = at_ms
        # The planner chooses questions again after each answer, but retrieves in the order of deadlines.
        for request in list(takewhile(lambda request: not request.is_question, requests)) or requests[:1]:
            if planned_ms < request.tasks[0].expires_at_ms <= at_ms:
                # By then it is past its deadline, and the planner would put it last.
                break
            calls.append(Call(request, at_ms))
            done.update(task.row_id for task in request.tasks)
            found = finished_among(request, at_ms, times) if isinstance(request, ListRequest) else 0
            at_ms += round((1 + found) * each_ms)
    return calls


def finished_among(request: ListRequest, at_ms: int, times: ProcessingTimes) -> int:
    """Return the expected number of finished tasks on a page."""
    return round(sum(chance_finished(task, at_ms, times) for task in request.tasks))


def _next_requests(
    turns: Sequence[QueuedTask], start_ms: int, conditions: Conditions, times: ProcessingTimes, *, limit: int
) -> tuple[int, Sequence[PlannedRequest]]:
    """Return the next requests and when they go out, from `start_ms` on; there may be none."""
    at_ms, constraints = start_ms, PlanConstraints(limit, limit, conditions.strategy, conditions.versions)
    for _ in range(MAX_MOMENTS):
        due = [turn.task for turn in turns if turn.due_ms <= at_ms]
        ready, pending = _by_state(due)
        waits = {endpoint: until_ms for endpoint, until_ms in conditions.waits_ms.items() if until_ms > at_ms}
        requests = plan(
            DueTasks(ready, pending), at_ms, replace(constraints, closed=frozenset(waits)), times, ListModel()
        ).requests
        if requests:
            return at_ms, requests
        moments = [*waits.values(), at_ms + max(FIRST_STEP_MS, (at_ms - start_ms) // 2)] if due else []
        moments += [turn.due_ms for turn in turns if turn.due_ms > at_ms and not due]
        if not moments:
            break
        at_ms = min(moments)
    return at_ms, []


def estimate_requests(sample: QueueSample, conditions: Conditions, times: ProcessingTimes) -> Expected:
    """Return the estimated number of requests for all open tasks, by deadline at the rate in force."""
    guesses, young = _sort_by_chance(sample, conditions, times)
    finished_ms = max((_finished_ms(task, times) for task in young), default=None)
    listable = _listable(young, sample, conditions) * sample.each
    at_least = wanted = 0.0
    for task in young:
        on_page = listable if _is_listable(task, conditions) else 1
        at_least += sample.each / max(1, min(PAGE_LIMIT, on_page))
        wanted += sample.each * _questions_worth_asking(task, sample.at_ms, times, on_page, conditions.strategy)
    budget, seconds = conditions.budget, max(0, (finished_ms or 0) - sample.at_ms) / 1000
    if budget.rate_per_s is not None:
        requests = budget.rate_per_s * seconds
        spare = requests - sample.each * len(young)
        # The strategies `status` and `list` ask about each task first, so the share for questions has no limit.
        wanted = min(wanted, min(spare, QUESTION_SHARE * requests) if conditions.strategy is Strategy.AUTO else spare)
    retrievals = sample.open_tasks + guesses
    return Expected(retrievals, max(at_least, wanted), retrievals + at_least, finished_ms)


def _pending(sample: QueueSample) -> Iterable[QueuedTask]:
    return (turn for turn in sample.sampled if turn.task.state is TaskState.PENDING)


def _by_state(tasks: Iterable[Task]) -> tuple[list[Task], list[Task]]:
    ready: list[Task] = []
    pending: list[Task] = []
    for task in tasks:
        (ready if task.state is TaskState.READY else pending).append(task)
    return ready, pending


def _sort_by_chance(sample: QueueSample, conditions: Conditions, times: ProcessingTimes) -> tuple[float, list[Task]]:
    """Return the number of retrievals that find no result, and the tasks that need questions first."""
    rate_per_s = conditions.budget.rate_per_s
    each_ms = 0.0 if rate_per_s is None else sample.each * 1000 / rate_per_s
    pending = [turn.task for turn in _pending(sample)]
    at_ms = max(sample.at_ms, conditions.budget.resumes_ms or 0) + (len(sample.sampled) - len(pending)) * each_ms
    in_vain, young = 0.0, []
    for task in pending:
        reached_ms = round(at_ms)
        chance = chance_finished(task, reached_ms, times)
        at_ms += each_ms
        is_undated = not task.is_dated and task.unfinished_at_ms is None
        may_guess = conditions.strategy is Strategy.AUTO or is_last_chance(task, reached_ms)
        if may_guess and (chance >= SURE or is_undated):
            in_vain += sample.each * (1 - chance)
        else:
            young.append(task)
    return in_vain, young


def _is_listable(task: Task, conditions: Conditions) -> bool:
    return task.is_dated and conditions.strategy is not Strategy.STATUS


def _listable(tasks: Sequence[Task], sample: QueueSample, conditions: Conditions) -> int:
    """Return the number of tasks that pages answer for; with strategy `auto`, a single task needs no page."""
    count = sum(_is_listable(task, conditions) for task in tasks)
    return 0 if count * sample.each == 1 and conditions.strategy is Strategy.AUTO else count


def _finished_ms(task: Task, times: ProcessingTimes) -> int:
    """Return when the task has almost certainly finished (Unix ms), its deadline at the latest."""
    age_s = times.of(task.model_name, task.duration_s).age_of_chance_s(SURE, _unfinished_s(task))
    return round(min(task.created_ms_estimate + age_s * 1000, task.expires_at_ms))


def _questions_worth_asking(
    task: Task, now_ms: int, times: ProcessingTimes, listable: int, strategy: Strategy
) -> float:
    """Return the task's share of the questions that pay until it has finished, if `listable` tasks share a page.

    If n tasks each finish at a rate r, those that finish in the time t since the last question have waited n r t^2 / 2
    seconds; asking pays when that reaches 1 / WAIT_PRICE. So the best rate of questions is the root of n r WAIT_PRICE
    / 2: for a page while any of its tasks may be unfinished, for a single task while it is.
    """
    time = times.of(task.model_name, task.duration_s)
    unfinished_s, age_s = _unfinished_s(task), task.age_ms(now_ms) / 1000
    end_s = time.age_of_chance_s(SURE, unfinished_s)
    ages = [age_s, *(edge for edge in EDGES_S if age_s < edge < end_s), end_s]
    share = 0.0
    for (start_s, before), (end_s, after) in pairwise((age, time.chance(age, unfinished_s)) for age in ages):
        # A page of the tasks in processing also answers for the finished ones, which it does not show.
        fits = PAGE_LIMIT / (1 - before) if strategy is Strategy.AUTO else PAGE_LIMIT
        together = max(1.0, min(listable, fits, MAX_TASKS))
        asked = math.sqrt(max(0.0, after - before) * max(0.0, end_s - start_s) * WAIT_PRICE / 2 / together)
        share += asked if together > 1 else asked * math.sqrt(1 - before)
    return share


def _unfinished_s(task: Task) -> float:
    return 0.0 if task.unfinished_at_ms is None else task.age_ms(task.unfinished_at_ms) / 1000
