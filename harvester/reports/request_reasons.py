"""Why a request is planned, in words."""

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.costs import SURE
from harvester.domain.planning.next_requests import Call, finished_among
from harvester.domain.planning.planned_requests import ListRequest
from harvester.domain.planning.poll_times import LAST_CHANCE_MS
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import Task, TaskState
from harvester.reports.formats import counted, shown_duration
from harvester.reports.plan_report import PlanReport


def reason(call: Call, report: PlanReport) -> str:
    """Return in words why a request is made."""
    request, at_ms = call.request, call.at_ms
    if isinstance(request, ListRequest):
        finished = finished_among(request, at_ms, report.times)
        next_come = ", retrieved next" if finished else ""
        return f"answers for {counted(len(request.tasks), 'task')}, about {finished} of them finished{next_come}"
    task, likely = request.task, f"{_percent(request.chance)} likely to have finished"
    if task.state is TaskState.READY:
        return f"ready, {_expiry(task, at_ms)}"
    if task.gone or task.invalid:
        return "the last answer about it must be confirmed"
    if not request.is_question:
        return _why_straight_away(request.chance, task, at_ms, report.conditions.strategy)
    if request.endpoint is Endpoint.RETRIEVE:
        return f"{likely}: a retrieval costs no more than asking"
    if report.conditions.strategy is Strategy.STATUS:
        return f"{likely}, and strategy status asks about each task singly"
    if not task.is_dated:
        return f"{likely}, and its page of the list is unknown"
    return f"{likely}, and no other task is near it in the list"


def _why_straight_away(chance: float, task: Task, at_ms: int, strategy: Strategy) -> str:
    if strategy is Strategy.AUTO and chance >= SURE:
        return f"{_percent(chance)} likely to have finished, so asking first would cost more"
    if strategy is Strategy.AUTO and not task.is_dated:
        return "its age is unknown, and a retrieval costs no more than asking"
    is_last = task.expires_at_ms - at_ms <= LAST_CHANCE_MS
    return f"{_expiry(task, at_ms)}: {'the last chance' if is_last else 'time to retrieve it in any case'}"


def _expiry(task: Task, at_ms: int) -> str:
    left = shown_duration(abs(task.expires_at_ms - at_ms) / 1000)
    return f"past its deadline for {left}" if task.is_past_deadline(at_ms) else f"expires in {left}"


def _percent(chance: float) -> str:
    # Never 100 %: the estimate may be wrong.
    return f"{min(99.9, 100 * chance):.{1 if chance > 0.995 else 0}f} %"
