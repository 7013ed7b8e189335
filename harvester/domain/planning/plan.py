"""Which requests to make next: retrieve before asking, the nearest deadline first; ask about many at once if it pays.

Everything is reckoned in requests. A second for which a finished task waits is worth WAIT_PRICE of one, so asking pays
as soon as the expected waiting of all that would be answered for reaches the price of the request. A task that has
almost surely finished is not asked about: a retrieval costs what a question costs, and brings the result.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.list_reader import ListQuery
from harvester.domain.planning.list_windows import Candidate, ListModel, Window, best_window
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.task import CLOCK_SET_MS, DAY_MS, RETENTION_MS, ApiVersion, Task

WAIT_PRICE = 0.12
"""What a second of waiting of one finished task is worth, in requests, while the budget is idle."""

QUESTION_SHARE = 0.2
"""How much of the budget may go into questions: results are what it is for."""

SURE = 0.98
"""So likely to have finished that asking first would cost more, even at a fiftieth of a request."""

LIKELY = 0.5
"""A single task that is likely to have finished is asked for its result, another one for its status."""

LEAST_WAIT_S = 1 / (50 * WAIT_PRICE)
"""With less to be expected, not even a full page of such tasks is worth its request."""

LEAST_ROOM = 0.5
"""The last question of a plan may cost as much more than the budget for questions allows."""

MAX_SEARCHES = 6
"""So many times a plan looks for the best page: each takes milliseconds of the event loop. The next plan goes on."""

MIN_LOOK_MS = 5_000
LOOK_SHARE_OF_AGE = 0.02
"""A task that hangs is asked about ever more rarely."""

MAX_LOOK_MS = 6 * 3600 * 1_000

CLOCKS_DIFFER_MS = 60_000
"""A task that was made later than this from now was not: the clock was set back."""

LAST_CHANCE_MS = 10 * 60 * 1_000
CHANCES_MS = (4 * DAY_MS, DAY_MS, LAST_CHANCE_MS)
"""So long before the deadline a result is asked for, whatever is expected, the list says and the strategy is.

No wait may jump over that. The first comes early: with few requests a day, the last day is too short for many tasks.
"""


GONE_ANSWERS = 3
"""A 404 and its two confirmations, each on a connection of its own; the next one is in the other API version."""


class Rng(Protocol):
    """Random numbers that spread waits; `random.Random` has it."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number between `a` and `b`."""
        ...


class Strategy(StrEnum):
    """How to find out which tasks are ready."""

    AUTO = "auto"
    STATUS = "status"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """One request about one task; `chance` is the probability that it has finished.

    `is_fresh`: on a connection of its own. `version` is the API version to ask, None for the configured one.
    """

    endpoint: Endpoint
    task: Task
    chance: float = 1.0
    is_probe: bool = False
    version: ApiVersion | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether the answer is to confirm another one, and therefore comes on a connection of its own."""
        task = self.task
        return task.gone > 0 or task.invalid > 0 or task.doubted_at_ms is not None or task.other_id is not None

    @property
    def is_other_version(self) -> bool:
        """Whether another API version is asked than the one that knows the task, as far as that is known."""
        return self.version not in (None, self.task.version)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the request is about."""
        return (self.task,)

    @property
    def cost(self) -> float:
        """How many requests it is expected to cost beside those that bring results."""
        if not self.is_probe:
            return 0.0
        return 1.0 - self.chance if self.endpoint is Endpoint.RETRIEVE else 1.0

    def claimed(self, tasks: Mapping[int, Task]) -> "TaskRequest | None":
        """Return the same about the claimed task; None if it was not to be had."""
        task = tasks.get(self.task.key)
        return None if task is None else replace(self, task=task)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One page of the list, which answers for many tasks."""

    query: ListQuery
    tasks: tuple[Task, ...]
    endpoint: Endpoint = Endpoint.LIST
    is_probe: bool = True
    cost: float = 1.0

    def claimed(self, tasks: Mapping[int, Task]) -> "ListRequest | None":
        """Return the same about those of its tasks that were claimed; None if there are none."""
        mine = tuple(tasks[task.key] for task in self.tasks if task.key in tasks)
        return replace(self, tasks=mine) if mine else None


PlannedRequest = TaskRequest | ListRequest


@dataclass(frozen=True, slots=True)
class DueTasks:
    """The tasks that are due, the nearest deadline first. `is_whole`: there are no more than these."""

    ready: Sequence[Task]
    pending: Sequence[Task]
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class PlanConstraints:
    """Under which terms to plan.

    At most `limit` requests, `questions` of them expected to bring no result. `closed` are the classes that the API
    wants no requests of; `has_list`: pages are to be had, if not now then soon. `asks_all`: somebody wants an answer
    about each task now. `evidence_ago_s` ago the API has last shown that it is well, without which no task ends.
    `trusts`: tasks that are surely finished by reckoning have turned out to be. `trusts_gaps`: so
    have those that a page of unfinished tasks did not show. `unlisted` are keys of tasks which the list does not show.
    """

    limit: int = 1
    questions: int = 1
    strategy: Strategy = Strategy.AUTO
    has_status_call: bool = True
    closed: frozenset[Endpoint] = frozenset()
    has_list: bool = True
    asks_all: bool = False
    evidence_ago_s: float = 0.0
    trusts: bool = True
    trusts_gaps: bool = True
    unlisted: Container[int] = frozenset()

    def status_call_of(self, task: Task) -> bool:
        """Whether the API version that knows the task has a call for its status alone."""
        return self.has_status_call if task.version is None else task.version == "v1"

    def other_version_of(self, task: Task) -> ApiVersion:
        """Return the API version that has not been asked about the task."""
        return "v2" if self.status_call_of(task) else "v1"


@dataclass(frozen=True, slots=True)
class Plan:
    """The requests to make now, in order, and when the tasks that are not worth one yet will be (Unix ms)."""

    requests: list[PlannedRequest] = field(default_factory=list)
    later: list[tuple[Task, int]] = field(default_factory=list)


def plan(due: DueTasks, now_ms: int, terms: PlanConstraints, times: ProcessingTimes, listing: ListModel) -> Plan:
    """Return what to do about the tasks that are due; pure."""
    prospects = [_prospect(task, now_ms, times) for task in due.pending]
    results, questions, later = _sort_out(due.ready, prospects, terms)
    requests: list[PlannedRequest] = []
    possible = [action for action in results if action.endpoint not in terms.closed]
    if Endpoint.LIST not in terms.closed:
        look = _look_for_evidence([action.task for action in possible], now_ms, terms, listing)
        if look is not None:
            return Plan([look], [])
    requests += sorted(possible, key=lambda action: _urgency(action.task, now_ms))[: terms.limit]
    requests += _questions(questions, terms.limit - len(requests), terms, listing)
    return Plan(requests, [(one.task, _worth_a_look_ms(one.task, now_ms, times)) for one in later])


def _look_for_evidence(
    tasks: Iterable[Task], now_ms: int, terms: PlanConstraints, listing: ListModel
) -> ListRequest | None:
    """Return the page that shows the tasks whose next answer may end them, if the API knows them after all.

    It is needed where the API has not shown since their first doubtful answer that it is well, as any page does.
    """
    oldest_ms = now_ms - terms.evidence_ago_s * 1000
    unproven = [task for task in tasks if task.doubted_at_ms is not None and task.doubted_at_ms > oldest_ms]
    ending = [task for task in unproven if _may_end_next(task, now_ms)]
    if not ending:
        return None
    window = best_window([Candidate(task, 1.0) for task in ending if task.is_dated], listing, at_least=1)
    if window is not None:
        return ListRequest(window.query, window.tasks)
    return ListRequest(ListQuery(max(0, now_ms - RETENTION_MS), page_limit=listing.page_limit), (ending[0],))


def _may_end_next(task: Task, now_ms: int) -> bool:
    return task.gone >= GONE_ANSWERS or task.invalid >= GONE_ANSWERS - 1 or task.is_past_deadline(now_ms)


def affordable_strategy(strategy: Strategy, open_tasks: int, rate_per_s: float | None) -> Strategy:
    """Return the strategy, or `auto` where the budget is too tight for it.

    Who asks first takes two requests a task. Where these would take most of the time for which results are kept, the
    last of them would come too late.
    """
    asked_first_s = 0.0 if rate_per_s is None else 2 * open_tasks / rate_per_s
    return strategy if asked_first_s <= RETENTION_MS / 1000 / 2 else Strategy.AUTO


def chance_finished(task: Task, now_ms: int, times: ProcessingTimes) -> float:
    """Return the probability that a pending task has finished by now."""
    return times.of(task.model_name, task.duration_s).chance(*_ages_s(task, now_ms))


def next_poll_ms(task: Task, now_ms: int, times: ProcessingTimes) -> int:
    """Return when a task that is unfinished now may be worth the next look, at the earliest."""
    age_s = task.age_ms(now_ms) / 1000
    worth_s = times.of(task.model_name, task.duration_s).age_of_wait_s(LEAST_WAIT_S, age_s) - age_s
    wait_ms = max(MIN_LOOK_MS, int(worth_s * 1000), int(task.age_ms(now_ms) * LOOK_SHARE_OF_AGE))
    wait_ms = min(wait_ms, MAX_LOOK_MS)
    return at_latest_before_deadline(task, now_ms, wait_ms)


def at_latest_before_deadline(task: Task, now_ms: int, delay_ms: int) -> int:
    """Return `now + delay`, or the first of CHANCES_MS that the delay would jump over."""
    due_ms = now_ms + delay_ms
    return min((chance_ms for chance_ms in _chances_ms(task) if now_ms < chance_ms < due_ms), default=due_ms)


def is_last_chance(task: Task, now_ms: int) -> bool:
    """Return whether one of CHANCES_MS has come, and nothing was heard of the task since."""
    if now_ms < task.expires_at_ms - CHANCES_MS[0]:
        return False
    heard_ms = _unfinished_ms(task, now_ms) or 0
    return any(now_ms >= chance_ms > heard_ms for chance_ms in _chances_ms(task))


@dataclass(slots=True)
class _Prospect:
    """A task, and what is to be expected of it; as many are made as tasks, see there."""

    task: Final[Task]
    chance: Final[float]
    wait_s: Final[float]
    is_urgent: Final[bool]
    is_last_chance: Final[bool]


def _prospect(task: Task, now_ms: int, times: ProcessingTimes) -> _Prospect:
    chance, wait_s = times.of(task.model_name, task.duration_s).outlook(*_ages_s(task, now_ms))
    return _Prospect(task, chance, wait_s, _is_urgent(task, now_ms), is_last_chance(task, now_ms))


def _ages_s(task: Task, now_ms: int) -> tuple[float, float]:
    unfinished_ms = _unfinished_ms(task, now_ms)
    return task.age_ms(now_ms) / 1000, (0 if unfinished_ms is None else task.age_ms(unfinished_ms)) / 1000


def _unfinished_ms(task: Task, now_ms: int) -> int | None:
    """Return when the task was last known to be unfinished; what was noted while the clock was ahead tells nothing."""
    at_ms = task.unfinished_at_ms
    return None if at_ms is None or at_ms > now_ms else at_ms


def _sort_out(
    ready: Iterable[Task], prospects: Iterable[_Prospect], terms: PlanConstraints
) -> tuple[list[TaskRequest], list[_Prospect], list[_Prospect]]:
    """Return what to retrieve, what to ask about, and what is not worth a request yet."""
    results = [_action(Endpoint.RETRIEVE, task, terms) for task in ready]
    questions, later = [], []
    may_guess = terms.strategy is Strategy.AUTO
    for one in prospects:
        is_sure = one.chance >= SURE and terms.trusts
        if one.is_last_chance or (may_guess and (one.is_urgent or is_sure)):
            # Even while no results may be asked for: a question now would not spare it.
            results.append(_action(_direct_endpoint(one.task, terms), one.task, terms, one.chance))
        elif terms.asks_all or one.is_urgent or one.wait_s >= LEAST_WAIT_S:
            questions.append(one)
        else:
            later.append(one)
    return results, questions, later


def _direct_endpoint(task: Task, terms: PlanConstraints) -> Endpoint:
    """Return the call for a task that is asked for its result straight away.

    A 404 may be about a result that does not exist yet; whether there is such a task its status tells.
    """
    return Endpoint.STATUS if task.gone and terms.status_call_of(task) else Endpoint.RETRIEVE


def _action(
    endpoint: Endpoint, task: Task, terms: PlanConstraints, chance: float = 1.0, *, is_probe: bool = False
) -> TaskRequest:
    """Return the request about a task; after GONE_ANSWERS the other API version has the last word."""
    version = task.version
    if task.gone == GONE_ANSWERS:
        version = terms.other_version_of(task)
        endpoint = Endpoint.STATUS if version == "v1" else Endpoint.RETRIEVE
    return TaskRequest(endpoint, task, chance, is_probe, version)


def _is_urgent(task: Task, now_ms: int) -> bool:
    """Whether to ask about the task whatever is expected of it: its age is unknown, or an answer is to be confirmed.

    While the clock shows a time before the task was queued and created, its age is 0 and would stay so. Of one that was
    queued before the clock was ever set, it begins with 0.
    """
    is_unknown = not task.is_dated and task.unfinished_at_ms is None
    is_clock_behind = min(task.born_ms, max(task.added_at_ms, CLOCK_SET_MS)) > now_ms + CLOCKS_DIFFER_MS
    is_to_be_confirmed = task.gone > 0 or task.invalid > 0 or task.doubted_at_ms is not None
    return is_unknown or is_clock_behind or is_to_be_confirmed


def _chances_ms(task: Task) -> list[int]:
    return [task.expires_at_ms - before_ms for before_ms in CHANCES_MS]


def _urgency(task: Task, now_ms: int) -> tuple[bool, int, int]:
    """Order retrievals: what the platform may have dropped already comes last, and must not cost others theirs."""
    return task.is_past_deadline(now_ms), task.expires_at_ms, task.key


def _questions(
    prospects: list[_Prospect], limit: int, terms: PlanConstraints, listing: ListModel
) -> list[PlannedRequest]:
    """Return the questions that are worth most, pages or single calls, while they are worth their request."""
    room = float(len(prospects) if terms.asks_all else terms.questions)
    if limit <= 0 or room <= 0:
        return []
    left = {one.task.key: Candidate(one.task, _score(one, terms), 1.0 - one.chance) for one in prospects}
    shown = {key: one for key, one in left.items() if _is_shown(one.task, terms, listing)}
    singles = [one for one in prospects if left[one.task.key].score >= 1 and _may_be_single(one, terms, shown)]
    singles.sort(key=lambda one: (-left[one.task.key].score, one.task.expires_at_ms, one.task.key))
    requests: list[PlannedRequest] = []
    window, searches = _best_page(shown.values(), terms, listing), 1
    while len(requests) < limit and room >= LEAST_ROOM:
        single = next((one for one in singles if one.task.key in left), None)
        if window is not None and (single is None or window.score >= left[single.task.key].score):
            requests.append(ListRequest(window.query, window.tasks))
        elif single is not None and (endpoint := _single_endpoint(single, terms)) is not None:
            requests.append(_action(endpoint, single.task, terms, single.chance, is_probe=True))
        else:
            break
        room -= requests[-1].cost
        for task in requests[-1].tasks:
            del left[task.key]
            shown.pop(task.key, None)
        if isinstance(requests[-1], ListRequest) or (window is not None and requests[-1].tasks[0] in window.tasks):
            if searches == MAX_SEARCHES:
                break
            window, searches = _best_page(shown.values(), terms, listing), searches + 1
    return requests


def _is_shown(task: Task, terms: PlanConstraints, listing: ListModel) -> bool:
    """Whether a page of the list answers for the task."""
    if not task.is_dated or task.key in terms.unlisted:
        return False
    # Where a page is preferred, it is to tell of each task, and nothing is concluded.
    return terms.strategy is not Strategy.LIST or not listing.is_crowded(task)


def _best_page(scored: Iterable[Candidate], terms: PlanConstraints, listing: ListModel) -> Window | None:
    if terms.strategy is Strategy.STATUS or Endpoint.LIST in terms.closed:
        return None
    if terms.strategy is Strategy.LIST:
        window = best_window(scored, listing, at_least=1)
    else:
        window = best_window(scored, listing, at_least=2, only_processing=terms.trusts_gaps)
    return window if window is not None and window.score >= 1 else None


def _score(one: _Prospect, terms: PlanConstraints) -> float:
    return 1.0 if terms.asks_all else max(float(one.is_urgent), one.wait_s * WAIT_PRICE)


def _may_be_single(one: _Prospect, terms: PlanConstraints, shown: Container[int]) -> bool:
    if _single_endpoint(one, terms) is None:
        return False
    is_on_page = terms.has_list and one.task.key in shown and not one.task.gone
    return terms.strategy is not Strategy.LIST or not is_on_page


def _single_endpoint(one: _Prospect, terms: PlanConstraints) -> Endpoint | None:
    wanted = [Endpoint.STATUS]
    if not terms.status_call_of(one.task):
        wanted = [Endpoint.RETRIEVE]
    elif terms.strategy is Strategy.AUTO:
        wanted = [Endpoint.RETRIEVE, Endpoint.STATUS] if one.chance >= LIKELY else [Endpoint.STATUS, Endpoint.RETRIEVE]
    elif terms.strategy is Strategy.LIST and not one.task.is_dated:
        # Of the two it is this one that tells when the task was created: the next question can be a page.
        wanted = [Endpoint.RETRIEVE, Endpoint.STATUS]
    return next((endpoint for endpoint in wanted if endpoint not in terms.closed), None)


def _worth_a_look_ms(task: Task, now_ms: int, times: ProcessingTimes) -> int:
    """Return when a task may be worth a look, counted from what is known of it."""
    _, unfinished_s = _ages_s(task, now_ms)
    worth_s = times.of(task.model_name, task.duration_s).age_of_wait_s(LEAST_WAIT_S, unfinished_s)
    wait_ms = min(MAX_LOOK_MS, round(worth_s * 1000) - task.age_ms(now_ms))
    return at_latest_before_deadline(task, now_ms, max(1_000, wait_ms))
