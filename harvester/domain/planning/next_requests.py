"""Forecast the next requests in order, as `plan` would choose them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from harvester.domain.planning.finish_estimates import chance_finished
from harvester.domain.planning.forecast_conditions import Conditions
from harvester.domain.planning.list_windows import ListModel
from harvester.domain.planning.plan import plan
from harvester.domain.planning.plan_constraints import PlanConstraints
from harvester.domain.planning.planned_requests import ListRequest, PlannedRequest
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.queue_sample import QueuedTask, QueueSample
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.task import Task, TaskState

MAX_MOMENTS = 40
"""Moments, at growing distances up to a week, at which the forecast looks for a request that is worth making."""

FIRST_STEP_MS = 1_000


@dataclass(frozen=True, slots=True)
class Call:
    """A request, and when (Unix ms) it would go out."""

    request: PlannedRequest
    at_ms: int


def next_requests(sample: QueueSample, conditions: Conditions, times: ProcessingTimes) -> list[Call]:
    """Return the next requests in order, at the rate in force.

    The content of a page is not known, so retrievals of as many tasks as it should find come before the next call.
    """
    rate_per_s = conditions.budget.rate_per_s
    each_ms = 0.0 if rate_per_s is None else 1000 / rate_per_s
    price = conditions.price(sample.open_tasks)
    at_ms, done, calls = max(sample.at_ms, conditions.start_ms), set[int](), list[Call]()
    while len(calls) < conditions.calls:
        turns = [turn for turn in sample.head if turn.task.row_id not in done]
        constraints = PlanConstraints(
            limit=conditions.calls - len(calls),
            questions=conditions.calls - len(calls),
            strategy=conditions.strategy,
            versions=conditions.versions,
            looks_first=conditions.looks_first and not calls,
            price=price,
        )
        at_ms, requests = _next_requests(turns, at_ms, conditions, times, constraints)
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
    turns: Sequence[QueuedTask],
    start_ms: int,
    conditions: Conditions,
    times: ProcessingTimes,
    constraints: PlanConstraints,
) -> tuple[int, Sequence[PlannedRequest]]:
    """Return the next requests and when they go out, from `start_ms` on; there may be none."""
    at_ms = start_ms
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


def _by_state(tasks: Iterable[Task]) -> tuple[list[Task], list[Task]]:
    ready: list[Task] = []
    pending: list[Task] = []
    for task in tasks:
        (ready if task.state is TaskState.READY else pending).append(task)
    return ready, pending
