"""Count the due tasks by the request that they need."""

from dataclasses import dataclass

from harvester.domain.planning.forecast_conditions import Conditions, listable
from harvester.domain.planning.list_windows import ListModel
from harvester.domain.planning.plan import plan
from harvester.domain.planning.plan_constraints import PlanConstraints
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.queue_sample import QueueSample, sampled_pending
from harvester.domain.tasks.due_tasks import DueTasks


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


def what_to_do(sample: QueueSample, conditions: Conditions, times: ProcessingTimes) -> Todo:
    """Return the due tasks, counted by the request that they need."""
    due = [turn.task for turn in sampled_pending(sample) if turn.due_ms <= sample.at_ms]
    constraints = PlanConstraints(limit=len(due), questions=0, strategy=conditions.strategy)
    found = plan(DueTasks([], due), sample.at_ms, constraints, times, ListModel())
    settled = {request.tasks[0].row_id for request in found.requests} | {task.row_id for task, _ in found.later}
    asked = [task for task in due if task.row_id not in settled]
    by_page = listable(asked, sample, conditions)
    scale = sample.pending_due / max(1, len(due))
    return Todo(
        retrieve=sample.ready_due,
        straight_away=round(len(found.requests) * scale),
        by_page=round(by_page * scale),
        singly=round((len(asked) - by_page) * scale),
        wait=round(len(found.later) * scale),
        first_ms=min((at_ms for _, at_ms in found.later), default=None),
    )
