"""What a harvest would do next and what it would come to, reckoned without doing any of it.

What is to be done about each task and which calls come first is what `plan` says. The number of requests is an
estimate: how often it pays to ask depends on the answers.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, takewhile

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.feasibility import REQUESTS_PER_TASK, Budget, Deadlines, Feasibility, assess
from harvester.domain.planning.list_reader import PAGE_LIMIT
from harvester.domain.planning.list_windows import MAX_TASKS, ListModel
from harvester.domain.planning.plan import (
    QUESTION_SHARE,
    SURE,
    WAIT_PRICE,
    DueTasks,
    ListRequest,
    PlanConstraints,
    PlannedRequest,
    Strategy,
    chance_finished,
    is_last_chance,
    plan,
)
from harvester.domain.planning.processing_time import EDGES_S, ProcessingTimes
from harvester.domain.tasks.task import Task, TaskState

MAX_MOMENTS = 40
"""So many moments, ever further apart, are tried to find the one at which a request is worth making: a week at most."""

FIRST_STEP_MS = 1_000


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """An open task, and from when on (Unix ms) something may be done about it."""

    task: Task
    due_ms: int = 0


@dataclass(frozen=True, slots=True)
class QueueSample:
    """The queue at a moment.

    `drawn` are open tasks drawn evenly, each for `each` like it, the nearest deadline first; with 1 they are all.
    `head` are those that the next calls can be about. `processes` have `in_hand` tasks.
    """

    at_ms: int
    open_tasks: int
    ready_due: int = 0
    pending_due: int = 0
    in_hand: int = 0
    processes: int = 0
    each: int = 1
    drawn: Sequence[QueuedTask] = ()
    head: Sequence[QueuedTask] = ()
    deadlines: Deadlines = ()

    @property
    def later(self) -> int:
        """How many open tasks wait for their turn."""
        return max(0, self.open_tasks - self.ready_due - self.pending_due - self.in_hand)

    @property
    def next_due_ms(self) -> int | None:
        """When the first of those is due."""
        return min((turn.due_ms for turn in self.head if turn.due_ms > self.at_ms), default=None)


@dataclass(frozen=True, slots=True)
class Todo:
    """How many of the due tasks are to be treated how; the first that waits is worth a request at `first_ms`."""

    retrieve: int
    straight_away: int
    by_page: int
    singly: int
    wait: int
    first_ms: int | None


@dataclass(frozen=True, slots=True)
class Call:
    """A request, and when (Unix ms) it would be made."""

    request: PlannedRequest
    at_ms: int


@dataclass(frozen=True, slots=True)
class Expected:
    """About how many requests the open tasks take; `needed` of them whatever is asked to have results sooner.

    At `finished_ms` the youngest has finished, as good as surely; None if all have.
    """

    retrievals: float
    questions: float
    needed: float
    finished_ms: int | None

    @property
    def requests(self) -> float:
        """All of them."""
        return self.retrievals + self.questions


@dataclass(frozen=True, slots=True)
class Preview:
    """What is to be done, the first calls, and what it all comes to; all is done at `finish_ms`."""

    todo: Todo
    calls: Sequence[Call]
    expected: Expected
    feasibility: Feasibility
    finish_ms: int


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which conditions to foretell so many `calls`.

    Times are Unix milliseconds: the first request may go out at `start_ms`, those of a class not before its `waits_ms`.
    """

    budget: Budget
    strategy: Strategy = Strategy.AUTO
    has_status_call: bool = True
    waits_ms: Mapping[Endpoint, int] = field(default_factory=dict)
    start_ms: int = 0
    calls: int = 10


def preview(survey: QueueSample, conditions: Conditions, times: ProcessingTimes) -> Preview:
    """Return what would happen next, and what it would come to; pure."""
    expected = expect(survey, conditions, times)
    per_task = max(REQUESTS_PER_TASK, expected.needed / max(1, survey.open_tasks))
    feasibility = assess(survey.deadlines, survey.at_ms, conditions.budget, requests_per_task=per_task)
    finish_ms = max(feasibility.finish_ms, expected.finished_ms or 0)
    todo, calls = what_to_do(survey, conditions, times), foretell(survey, conditions, times)
    return Preview(todo, calls, expected, feasibility, finish_ms)


def what_to_do(survey: QueueSample, conditions: Conditions, times: ProcessingTimes) -> Todo:
    """Return how many of the due tasks are to be treated how."""
    due = [turn.task for turn in _pending(survey) if turn.due_ms <= survey.at_ms]
    terms = PlanConstraints(limit=len(due), questions=0, strategy=conditions.strategy)
    found = plan(DueTasks([], due), survey.at_ms, terms, times, ListModel())
    settled = {request.tasks[0].key for request in found.requests} | {task.key for task, _ in found.later}
    asked = [task for task in due if task.key not in settled]
    by_page = _listable(asked, survey, conditions)
    scale = survey.pending_due / max(1, len(due))
    return Todo(
        retrieve=survey.ready_due,
        straight_away=round(len(found.requests) * scale),
        by_page=round(by_page * scale),
        singly=round((len(asked) - by_page) * scale),
        wait=round(len(found.later) * scale),
        first_ms=min((at_ms for _, at_ms in found.later), default=None),
    )


def foretell(survey: QueueSample, conditions: Conditions, times: ProcessingTimes) -> list[Call]:
    """Return the first requests that are worth making and may be made, one after the other at the rate in force.

    What a page will tell is not known: the results of about so many tasks as it should find come before the next call.
    """
    rate_per_s = conditions.budget.rate_per_s
    each_ms = 0.0 if rate_per_s is None else 1000 / rate_per_s
    at_ms, done, calls = max(survey.at_ms, conditions.start_ms), set[int](), list[Call]()
    while len(calls) < conditions.calls:
        turns = [turn for turn in survey.head if turn.task.key not in done]
        at_ms, requests = _next_requests(turns, at_ms, conditions, times, limit=conditions.calls - len(calls))
        if not requests:
            break
        planned_ms = at_ms
        # Questions are chosen anew after each answer; results come in the order of their deadlines anyway.
        for request in list(takewhile(lambda request: not request.is_probe, requests)) or requests[:1]:
            if planned_ms < request.tasks[0].expires_at_ms <= at_ms:
                # By then it is past its deadline, and comes after those that are not.
                break
            calls.append(Call(request, at_ms))
            done.update(task.key for task in request.tasks)
            found = finished_among(request, at_ms, times) if isinstance(request, ListRequest) else 0
            at_ms += round((1 + found) * each_ms)
    return calls


def finished_among(look: ListRequest, at_ms: int, times: ProcessingTimes) -> int:
    """Return about how many of the tasks of a page have finished."""
    return round(sum(chance_finished(task, at_ms, times) for task in look.tasks))


def _next_requests(
    turns: Sequence[QueuedTask], start_ms: int, conditions: Conditions, times: ProcessingTimes, *, limit: int
) -> tuple[int, Sequence[PlannedRequest]]:
    """Return the next requests, and when from `start_ms` on they are worth making and may be made; maybe none."""
    at_ms, terms = start_ms, PlanConstraints(limit, limit, conditions.strategy, conditions.has_status_call)
    for _ in range(MAX_MOMENTS):
        due = [turn.task for turn in turns if turn.due_ms <= at_ms]
        ready, pending = _by_state(due)
        waits = {endpoint: until_ms for endpoint, until_ms in conditions.waits_ms.items() if until_ms > at_ms}
        requests = plan(
            DueTasks(ready, pending), at_ms, replace(terms, closed=frozenset(waits)), times, ListModel()
        ).requests
        if requests:
            return at_ms, requests
        moments = [*waits.values(), at_ms + max(FIRST_STEP_MS, (at_ms - start_ms) // 2)] if due else []
        moments += [turn.due_ms for turn in turns if turn.due_ms > at_ms and not due]
        if not moments:
            break
        at_ms = min(moments)
    return at_ms, []


def expect(survey: QueueSample, conditions: Conditions, times: ProcessingTimes) -> Expected:
    """Return about how many requests the open tasks take, in the order of their deadlines at the rate in force."""
    guesses, young = _sort_by_chance(survey, conditions, times)
    finished_ms = max((_finished_ms(task, times) for task in young), default=None)
    listable = _listable(young, survey, conditions) * survey.each
    at_least = wanted = 0.0
    for task in young:
        on_page = listable if _is_listable(task, conditions) else 1
        at_least += survey.each / max(1, min(PAGE_LIMIT, on_page))
        wanted += survey.each * _questions_worth_asking(task, survey.at_ms, times, on_page, conditions.strategy)
    budget, seconds = conditions.budget, max(0, (finished_ms or 0) - survey.at_ms) / 1000
    if budget.rate_per_s is not None:
        requests = budget.rate_per_s * seconds
        spare = requests - survey.each * len(young)
        # Where each task has to be asked about first, no share of the budget is kept.
        wanted = min(wanted, min(spare, QUESTION_SHARE * requests) if conditions.strategy is Strategy.AUTO else spare)
    retrievals = survey.open_tasks + guesses
    return Expected(retrievals, max(at_least, wanted), retrievals + at_least, finished_ms)


def _pending(survey: QueueSample) -> Iterable[QueuedTask]:
    return (turn for turn in survey.drawn if turn.task.state is TaskState.PENDING)


def _by_state(tasks: Iterable[Task]) -> tuple[list[Task], list[Task]]:
    ready: list[Task] = []
    pending: list[Task] = []
    for task in tasks:
        (ready if task.state is TaskState.READY else pending).append(task)
    return ready, pending


def _sort_by_chance(survey: QueueSample, conditions: Conditions, times: ProcessingTimes) -> tuple[float, list[Task]]:
    """Return how many retrievals will be in vain, and the tasks that are reached before they are surely finished."""
    rate_per_s = conditions.budget.rate_per_s
    each_ms = 0.0 if rate_per_s is None else survey.each * 1000 / rate_per_s
    pending = [turn.task for turn in _pending(survey)]
    at_ms = max(survey.at_ms, conditions.budget.resumes_ms or 0) + (len(survey.drawn) - len(pending)) * each_ms
    in_vain, young = 0.0, []
    for task in pending:
        reached_ms = round(at_ms)
        chance = chance_finished(task, reached_ms, times)
        at_ms += each_ms
        is_undated = not task.is_dated and task.unfinished_at_ms is None
        may_guess = conditions.strategy is Strategy.AUTO or is_last_chance(task, reached_ms)
        if may_guess and (chance >= SURE or is_undated):
            in_vain += survey.each * (1 - chance)
        else:
            young.append(task)
    return in_vain, young


def _is_listable(task: Task, conditions: Conditions) -> bool:
    return task.is_dated and conditions.strategy is not Strategy.STATUS


def _listable(tasks: Sequence[Task], survey: QueueSample, conditions: Conditions) -> int:
    """Return how many of the tasks are asked about by pages: a single one is not, where there is a choice."""
    count = sum(_is_listable(task, conditions) for task in tasks)
    return 0 if count * survey.each == 1 and conditions.strategy is Strategy.AUTO else count


def _finished_ms(task: Task, times: ProcessingTimes) -> int:
    """Return when the task has finished, as good as surely; the deadline is the end of waiting."""
    age_s = times.of(task.model_name, task.duration_s).age_of_chance_s(SURE, _unfinished_s(task))
    return round(min(task.born_ms + age_s * 1000, task.expires_at_ms))


def _questions_worth_asking(
    task: Task, now_ms: int, times: ProcessingTimes, listable: int, strategy: Strategy
) -> float:
    """Return the task's share of the questions that pay until it has finished, asked together with `listable` ones.

    Of n tasks that each finish at a rate r, those of the time t since the last question have waited n r t^2 / 2
    seconds; asking pays when that reaches 1 / WAIT_PRICE. So the best rate of questions is the root of n r WAIT_PRICE
    / 2, for a page as long as any task of it may be unfinished, for a single task as long as it is.
    """
    time = times.of(task.model_name, task.duration_s)
    unfinished_s, age_s = _unfinished_s(task), task.age_ms(now_ms) / 1000
    end_s = time.age_of_chance_s(SURE, unfinished_s)
    ages = [age_s, *(edge for edge in EDGES_S if age_s < edge < end_s), end_s]
    share = 0.0
    for (start_s, before), (end_s, after) in pairwise((age, time.chance(age, unfinished_s)) for age in ages):
        # A page of only what is still processing answers for the finished ones without showing them.
        fits = PAGE_LIMIT / (1 - before) if strategy is Strategy.AUTO else PAGE_LIMIT
        together = max(1.0, min(listable, fits, MAX_TASKS))
        asked = math.sqrt(max(0.0, after - before) * max(0.0, end_s - start_s) * WAIT_PRICE / 2 / together)
        share += asked if together > 1 else asked * math.sqrt(1 - before)
    return share


def _unfinished_s(task: Task) -> float:
    return 0.0 if task.unfinished_at_ms is None else task.age_ms(task.unfinished_at_ms) / 1000
