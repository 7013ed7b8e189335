"""Choose the questions that are worth their requests: pages of the list, and calls about single tasks."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.costs import LIKELY, patience
from harvester.domain.planning.list_windows import Candidate, ListModel, ListWindow, best_window
from harvester.domain.planning.plan_constraints import PageKind, PlanConstraints
from harvester.domain.planning.planned_requests import ListRequest, PlannedRequest
from harvester.domain.planning.prospects import Prospect
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import Task

LEAST_ROOM = 0.5
"""Requests by which the last question of a plan may exceed the budget for questions."""

LOOKED_MS = 10 * 60 * 1000
"""Milliseconds: no look is needed if the API has answered within this time, whichever process asked."""

ByPage: TypeAlias = Mapping[PageKind, dict[int, Candidate]]
"""The tasks that each kind of page may answer for, by row id."""

MAX_SEARCHES = 6
"""Searches for the best page in one plan, because each takes milliseconds of the event loop. The next plan goes on."""


def choose_questions(
    prospects: list[Prospect], limit: int, constraints: PlanConstraints, listing: ListModel
) -> list[PlannedRequest]:
    """Return the questions with the highest scores, pages or single calls, as long as each pays for its request."""
    room = float(len(prospects) if constraints.ask_every_task else constraints.questions)
    if limit <= 0 or room <= 0:
        return []
    left = {one.task.row_id: Candidate(one.task, _score(one, constraints), 1.0 - one.chance) for one in prospects}
    shown = _by_page((one for one in left.values() if _is_shown(one.task, constraints, listing)), constraints)
    singles = [one for one in prospects if left[one.task.row_id].score >= 1 and _may_be_single(one, constraints, shown)]
    singles.sort(key=lambda one: (-left[one.task.row_id].score, one.task.expires_at_ms, one.task.row_id))
    requests: list[PlannedRequest] = []
    window, searches = _best_page(shown, constraints, listing), 1
    while len(requests) < limit and room >= LEAST_ROOM:
        single = next((one for one in singles if one.task.row_id in left), None)
        if window is not None and (single is None or window.score >= left[single.task.row_id].score):
            requests.append(ListRequest(window.query, window.tasks))
        elif single is not None and (endpoint := _single_endpoint(single, constraints)) is not None:
            requests.append(constraints.versions.request(endpoint, single.task, single.chance, is_question=True))
        else:
            break
        room -= requests[-1].cost
        for task in requests[-1].tasks:
            del left[task.row_id]
            for ones in shown.values():
                ones.pop(task.row_id, None)
        if isinstance(requests[-1], ListRequest) or (window is not None and requests[-1].tasks[0] in window.tasks):
            if searches == MAX_SEARCHES:
                break
            window, searches = _best_page(shown, constraints, listing), searches + 1
    return requests


def first_look(prospects: list[Prospect], constraints: PlanConstraints, listing: ListModel) -> list[PlannedRequest]:
    """Return one question, whatever it is worth: the page that answers for most tasks, or a call about one.

    With strategy `list` it is about one task if a page cannot show all of them: a page would show early that the
    list is crowded, and then no page at all is requested.
    """
    is_too_long = constraints.strategy is Strategy.LIST and len(prospects) > listing.page_limit
    strategy = Strategy.STATUS if is_too_long else constraints.strategy
    return choose_questions(prospects, 1, replace(constraints, ask_every_task=True, strategy=strategy), listing)


def _is_shown(task: Task, constraints: PlanConstraints, listing: ListModel) -> bool:
    """Whether a page of the list answers for the task."""
    if not task.is_dated or task.row_id in constraints.unlisted:
        return False
    # With strategy `list`, readiness is never inferred from absence: skip tasks at times with more entries than a page
    # shows.
    return constraints.strategy is not Strategy.LIST or not listing.is_crowded(task)


def _by_page(scored: Iterable[Candidate], constraints: PlanConstraints) -> ByPage:
    result: defaultdict[PageKind, dict[int, Candidate]] = defaultdict(dict)
    for one in scored:
        for kind in constraints.pages_for(one.task):
            result[kind][one.task.row_id] = one
    return result


def _best_page(scored: ByPage, constraints: PlanConstraints, listing: ListModel) -> ListWindow | None:
    if constraints.strategy is Strategy.STATUS or Endpoint.LIST in constraints.closed:
        return None
    windows = [
        window for kind, ones in scored.items() if (window := _best_of_kind(kind, ones.values(), constraints, listing))
    ]
    window = max(windows, key=lambda one: one.score, default=None)
    return window if window is not None and window.score >= 1 else None


def _best_of_kind(
    kind: PageKind, scored: Iterable[Candidate], constraints: PlanConstraints, listing: ListModel
) -> ListWindow | None:
    at_least = 1 if constraints.strategy is Strategy.LIST else 2
    window = best_window(scored, listing, at_least=at_least, only_processing=kind.only_processing)
    return None if window is None else replace(window, query=replace(window.query, version=kind.version))


def _score(one: Prospect, constraints: PlanConstraints) -> float:
    return (
        1.0
        if constraints.ask_every_task
        else max(float(one.is_urgent), one.wait_s * constraints.price * patience(one.age_s))
    )


def _may_be_single(one: Prospect, constraints: PlanConstraints, shown: ByPage) -> bool:
    if _single_endpoint(one, constraints) is None:
        return False
    if constraints.strategy is not Strategy.LIST or not constraints.has_list or one.task.gone:
        return True
    return not any(one.task.row_id in ones for ones in shown.values())


def _single_endpoint(one: Prospect, constraints: PlanConstraints) -> Endpoint | None:
    wanted = [Endpoint.STATUS]
    if not constraints.versions.has_status_call(one.task):
        wanted = [Endpoint.RETRIEVE]
    elif constraints.strategy is Strategy.AUTO:
        wanted = [Endpoint.RETRIEVE, Endpoint.STATUS] if one.chance >= LIKELY else [Endpoint.STATUS, Endpoint.RETRIEVE]
    elif constraints.strategy is Strategy.LIST and not one.task.is_dated:
        # A retrieval also returns when the task was created, so the next question can be a page.
        wanted = [Endpoint.RETRIEVE, Endpoint.STATUS]
    return next((endpoint for endpoint in wanted if endpoint not in constraints.closed), None)
