"""Choose the next requests: retrieve before asking, the nearest deadline first; ask about many at once if it pays."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.costs import SURE
from harvester.domain.planning.evidence_page import evidence_page
from harvester.domain.planning.list_windows import ListModel
from harvester.domain.planning.plan_constraints import PlanConstraints
from harvester.domain.planning.planned_requests import PlannedRequest, TaskRequest
from harvester.domain.planning.poll_times import first_poll_ms
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.prospects import Prospect, prospect_of
from harvester.domain.planning.questions import choose_questions, first_look
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Plan:
    """The requests to send now, in order, and each other task with the time (Unix ms) at which it may need one."""

    requests: list[PlannedRequest] = field(default_factory=list)
    later: list[tuple[Task, int]] = field(default_factory=list)


def plan(due: DueTasks, now_ms: int, constraints: PlanConstraints, times: ProcessingTimes, listing: ListModel) -> Plan:
    """Return the plan for the due tasks at `now_ms` (Unix ms); pure."""
    prospects = [prospect_of(task, now_ms, times) for task in due.pending]
    results, questions, later = _sort_out(due, prospects, constraints, times.least_wait_s)
    requests: list[PlannedRequest] = []
    possible = [request for request in results if request.endpoint not in constraints.closed]
    if Endpoint.LIST not in constraints.closed:
        page = evidence_page([request.task for request in possible], now_ms, constraints, listing)
        if page is not None:
            return Plan([page], [])
    possible.sort(key=lambda request: (request.task.row_id not in due.expedited, _urgency(request.task, now_ms)))
    requests += possible[: constraints.limit]
    requests += choose_questions(questions, constraints.limit - len(requests), constraints, listing)
    if constraints.looks_first and not requests:
        requests = first_look(prospects, constraints, listing)
        asked = {task.row_id for request in requests for task in request.tasks}
        later = [one for one in later if one.task.row_id not in asked]
    return Plan(requests, [(one.task, first_poll_ms(one.task, now_ms, times)) for one in later])


def _sort_out(
    due: DueTasks, prospects: Iterable[Prospect], constraints: PlanConstraints, least_wait_s: float
) -> tuple[list[TaskRequest], list[Prospect], list[Prospect]]:
    """Return the requests for results, the tasks to ask about, and the tasks that are not worth a request yet."""
    versions = constraints.versions
    results = [versions.request(Endpoint.RETRIEVE, task) for task in due.ready]
    questions, later = [], []
    may_guess = constraints.strategy is Strategy.AUTO
    for one in prospects:
        is_sure = one.chance >= SURE and constraints.trust_estimates
        if one.is_last_chance or one.task.row_id in due.expedited or (may_guess and (one.is_urgent or is_sure)):
            # Also while retrievals must wait: a question now would not save the retrieval.
            results.append(versions.request(versions.result_endpoint(one.task), one.task, one.chance))
        elif constraints.ask_every_task or one.is_urgent or one.wait_s >= least_wait_s:
            questions.append(one)
        else:
            later.append(one)
    return results, questions, later


def _urgency(task: Task, now_ms: int) -> tuple[bool, int, int]:
    """Order retrievals by deadline; tasks past theirs come last, because their results may have been dropped."""
    return task.is_past_deadline(now_ms), task.expires_at_ms, task.row_id
