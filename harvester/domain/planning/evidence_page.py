"""Request a page of the list as evidence that the API is healthy, before an answer may end a task."""

from collections.abc import Iterable
from dataclasses import replace

from harvester.domain.planning.api_versions import GONE_ANSWERS
from harvester.domain.planning.list_reader import ListQuery
from harvester.domain.planning.list_windows import Candidate, ListModel, best_window
from harvester.domain.planning.plan_constraints import PlanConstraints
from harvester.domain.planning.planned_requests import ListRequest
from harvester.domain.tasks.task import RETENTION_MS, Task


def evidence_page(
    tasks: Iterable[Task], now_ms: int, constraints: PlanConstraints, listing: ListModel
) -> ListRequest | None:
    """Return a page with the tasks that their next answer may end, or None.

    The page is needed if the API has not shown since their first doubtful answer that it is healthy; any page shows it.
    """
    oldest_ms = now_ms - constraints.evidence_ago_s * 1000
    unproven = [task for task in tasks if task.doubted_at_ms is not None and task.doubted_at_ms > oldest_ms]
    ending = [task for task in unproven if _may_end_next(task, now_ms)]
    if not ending:
        return None
    version = constraints.list_of(ending[0])
    dated = [task for task in ending if task.is_dated and constraints.list_of(task) == version]
    window = best_window([Candidate(task, 1.0) for task in dated], listing, at_least=1)
    if window is not None:
        return ListRequest(replace(window.query, version=version), window.tasks)
    query = ListQuery(max(0, now_ms - RETENTION_MS), page_limit=listing.page_limit, version=version)
    return ListRequest(query, (ending[0],))


def _may_end_next(task: Task, now_ms: int) -> bool:
    return task.gone >= GONE_ANSWERS or task.invalid >= GONE_ANSWERS - 1 or task.is_past_deadline(now_ms)
