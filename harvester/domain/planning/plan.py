"""Choose the next requests: retrieve before asking, the nearest deadline first; ask about many at once if it pays.

A request that only asks whether tasks have finished is a question: a status call or a page of the list. All costs are
in requests. Each second for which a finished task waits costs WAIT_PRICE requests, so a question pays as soon as the
expected waiting of all tasks in the answer costs as much as the request. The planner does not ask about a task that has
almost certainly finished: a retrieval costs as much as a question, and brings the result.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.list_reader import ListQuery
from harvester.domain.planning.list_windows import Candidate, ListModel, ListWindow, best_window
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.task import CLOCK_SET_MS, DAY_MS, RETENTION_MS, ApiVersion, Task

WAIT_PRICE = 0.12
"""Requests that a second of waiting of one finished task is worth."""

QUESTION_SHARE = 0.2
"""Share of the budget that may go into questions; the rest is for results."""

SURE = 0.98
"""Probability of having finished above which asking first costs more, even at a fiftieth of a request."""

LIKELY = 0.5
"""Probability of having finished above which a single task's result is requested, below it its status."""

LEAST_WAIT_S = 1 / (50 * WAIT_PRICE)
"""Seconds of expected waiting below which not even a full page of such tasks is worth its request."""

LEAST_ROOM = 0.5
"""Requests by which the last question of a plan may exceed the budget for questions."""

MAX_SEARCHES = 6
"""Searches for the best page in one plan, because each takes milliseconds of the event loop. The next plan goes on."""

MIN_LOOK_MS = 5_000
LOOK_SHARE_OF_AGE = 0.02
"""Share of a task's age that passes before the next question, so that questions about a task that hangs become rare."""

MAX_POLL_WAIT_MS = 6 * 3600 * 1_000
"""Milliseconds: the longest wait for the next question about a task."""

CLOCKS_DIFFER_MS = 60_000
"""Milliseconds: a creation time that is further in the future shows that the clock was set back."""

LAST_CHANCE_MS = 10 * 60 * 1_000
FORCED_ATTEMPTS_BEFORE_DEADLINE_MS = (4 * DAY_MS, DAY_MS, LAST_CHANCE_MS)
"""Milliseconds before the deadline at which the result is requested, whatever the estimate, the list and the strategy.

No wait may jump over these. The first is early because with few requests a day the last day is too short for all tasks.
"""


GONE_ANSWERS = 3
"""A 404 and its two confirmations, each on a new connection; the next confirmation asks the other API version."""


class Rng(Protocol):
    """Random numbers that spread waits; `random.Random` is one."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number between `a` and `b`."""
        ...


class Strategy(StrEnum):
    """How the planner finds out which tasks are ready."""

    AUTO = "auto"
    STATUS = "status"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """One request about one task; `chance` is the probability that it has finished.

    `version` is the API version to ask, None for the configured one. `is_question`: it need not bring a result.
    """

    endpoint: Endpoint
    task: Task
    chance: float = 1.0
    is_question: bool = False
    version: ApiVersion | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether the request needs a new connection, because its answer is to confirm another one."""
        task = self.task
        return task.gone > 0 or task.invalid > 0 or task.doubted_at_ms is not None or task.other_id is not None

    @property
    def is_other_version(self) -> bool:
        """Whether it asks another API version than the one that knows the task, as far as is known."""
        return self.version not in (None, self.task.version)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The task, as a tuple."""
        return (self.task,)

    @property
    def cost(self) -> float:
        """The expected number of requests without a result."""
        if not self.is_question:
            return 0.0
        return 1.0 - self.chance if self.endpoint is Endpoint.RETRIEVE else 1.0

    def claimed(self, tasks: Mapping[int, Task]) -> "TaskRequest | None":
        """Return the same request about the claimed task; None if the task was not claimed."""
        task = tasks.get(self.task.row_id)
        return None if task is None else replace(self, task=task)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One request for a page of the list, which answers for many tasks."""

    query: ListQuery
    tasks: tuple[Task, ...]
    endpoint: Endpoint = Endpoint.LIST
    is_question: bool = True
    cost: float = 1.0

    def claimed(self, tasks: Mapping[int, Task]) -> "ListRequest | None":
        """Return the same request about its claimed tasks; None if none was claimed."""
        mine = tuple(tasks[task.row_id] for task in self.tasks if task.row_id in tasks)
        return replace(self, tasks=mine) if mine else None


PlannedRequest = TaskRequest | ListRequest


@dataclass(frozen=True, slots=True)
class DueTasks:
    """Due tasks, the nearest deadline first. `is_whole`: these are all due tasks."""

    ready: Sequence[Task]
    pending: Sequence[Task]
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class PlanConstraints:
    """The constraints of a plan.

    - `limit`: the most requests in the plan; `questions`: the most of them that are expected to bring no result.
    - `closed`: the endpoints that must wait now; `has_list`: the list may be requested now or soon.
    - `ask_every_task`: the user wants an answer about each task now.
    - `evidence_ago_s`: seconds since the API last showed that it is healthy; without such evidence no task ends.
    - `trust_estimates`: at least 90 % of recent estimates that a task has finished were right.
    - `trust_list_gaps`: the same of inferences from tasks that a page of the tasks in processing did not show.
    - `unlisted`: row ids of tasks that the list does not show.
    """

    limit: int = 1
    questions: int = 1
    strategy: Strategy = Strategy.AUTO
    has_status_call: bool = True
    closed: frozenset[Endpoint] = frozenset()
    has_list: bool = True
    ask_every_task: bool = False
    evidence_ago_s: float = 0.0
    trust_estimates: bool = True
    trust_list_gaps: bool = True
    unlisted: Container[int] = frozenset()

    def status_call_of(self, task: Task) -> bool:
        """Whether the API version that knows the task has a status call."""
        return self.has_status_call if task.version is None else task.version == "v1"

    def other_version_of(self, task: Task) -> ApiVersion:
        """Return the API version that has not been asked about the task."""
        return "v2" if self.status_call_of(task) else "v1"


@dataclass(frozen=True, slots=True)
class Plan:
    """The requests to send now, in order, and each other task with the time (Unix ms) at which it may need one."""

    requests: list[PlannedRequest] = field(default_factory=list)
    later: list[tuple[Task, int]] = field(default_factory=list)


def plan(due: DueTasks, now_ms: int, constraints: PlanConstraints, times: ProcessingTimes, listing: ListModel) -> Plan:
    """Return the plan for the due tasks at `now_ms` (Unix ms); pure."""
    prospects = [_prospect(task, now_ms, times) for task in due.pending]
    results, questions, later = _sort_out(due.ready, prospects, constraints)
    requests: list[PlannedRequest] = []
    possible = [request for request in results if request.endpoint not in constraints.closed]
    if Endpoint.LIST not in constraints.closed:
        page = _look_for_evidence([request.task for request in possible], now_ms, constraints, listing)
        if page is not None:
            return Plan([page], [])
    requests += sorted(possible, key=lambda request: _urgency(request.task, now_ms))[: constraints.limit]
    requests += _questions(questions, constraints.limit - len(requests), constraints, listing)
    return Plan(requests, [(one.task, _worth_a_look_ms(one.task, now_ms, times)) for one in later])


def _look_for_evidence(
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
    window = best_window([Candidate(task, 1.0) for task in ending if task.is_dated], listing, at_least=1)
    if window is not None:
        return ListRequest(window.query, window.tasks)
    return ListRequest(ListQuery(max(0, now_ms - RETENTION_MS), page_limit=listing.page_limit), (ending[0],))


def _may_end_next(task: Task, now_ms: int) -> bool:
    return task.gone >= GONE_ANSWERS or task.invalid >= GONE_ANSWERS - 1 or task.is_past_deadline(now_ms)


def affordable_strategy(strategy: Strategy, open_tasks: int, rate_per_s: float | None) -> Strategy:
    """Return the strategy, or `auto` if the budget is too small for it.

    The strategies `status` and `list` take two requests a task. If these take more than half of the time for which the
    platform keeps results, the last results would come too late.
    """
    asked_first_s = 0.0 if rate_per_s is None else 2 * open_tasks / rate_per_s
    return strategy if asked_first_s <= RETENTION_MS / 1000 / 2 else Strategy.AUTO


def chance_finished(task: Task, now_ms: int, times: ProcessingTimes) -> float:
    """Return the probability that a pending task has finished by now."""
    return times.of(task.model_name, task.duration_s).chance(*_ages_s(task, now_ms))


def next_poll_ms(task: Task, now_ms: int, times: ProcessingTimes) -> int:
    """Return when the next question about a task that is unfinished now may pay, at the earliest (Unix ms)."""
    age_s = task.age_ms(now_ms) / 1000
    worth_s = times.of(task.model_name, task.duration_s).age_of_wait_s(LEAST_WAIT_S, age_s) - age_s
    wait_ms = max(MIN_LOOK_MS, int(worth_s * 1000), int(task.age_ms(now_ms) * LOOK_SHARE_OF_AGE))
    wait_ms = min(wait_ms, MAX_POLL_WAIT_MS)
    return at_latest_before_deadline(task, now_ms, wait_ms)


def at_latest_before_deadline(task: Task, now_ms: int, delay_ms: int) -> int:
    """Return `now + delay` (Unix ms), or the first of FORCED_ATTEMPTS_BEFORE_DEADLINE_MS that it would jump over."""
    due_ms = now_ms + delay_ms
    return min((chance_ms for chance_ms in _chances_ms(task) if now_ms < chance_ms < due_ms), default=due_ms)


def is_last_chance(task: Task, now_ms: int) -> bool:
    """Return whether one of FORCED_ATTEMPTS_BEFORE_DEADLINE_MS has come since the last answer about the task."""
    if now_ms < task.expires_at_ms - FORCED_ATTEMPTS_BEFORE_DEADLINE_MS[0]:
        return False
    heard_ms = _unfinished_ms(task, now_ms) or 0
    return any(now_ms >= chance_ms > heard_ms for chance_ms in _chances_ms(task))


@dataclass(slots=True)
class _Prospect:
    """A pending task with its estimates. Not frozen, because a frozen one takes longer to create."""

    task: Final[Task]
    chance: Final[float]
    wait_s: Final[float]
    is_urgent: Final[bool]
    is_last_chance: Final[bool]


def _prospect(task: Task, now_ms: int, times: ProcessingTimes) -> _Prospect:
    chance, wait_s = times.of(task.model_name, task.duration_s).chance_and_wait(*_ages_s(task, now_ms))
    return _Prospect(task, chance, wait_s, _is_urgent(task, now_ms), is_last_chance(task, now_ms))


def _ages_s(task: Task, now_ms: int) -> tuple[float, float]:
    unfinished_ms = _unfinished_ms(task, now_ms)
    return task.age_ms(now_ms) / 1000, (0 if unfinished_ms is None else task.age_ms(unfinished_ms)) / 1000


def _unfinished_ms(task: Task, now_ms: int) -> int | None:
    """Return when the task was last known to be unfinished; ignore a time in the future (the clock was ahead)."""
    at_ms = task.unfinished_at_ms
    return None if at_ms is None or at_ms > now_ms else at_ms


def _sort_out(
    ready: Iterable[Task], prospects: Iterable[_Prospect], constraints: PlanConstraints
) -> tuple[list[TaskRequest], list[_Prospect], list[_Prospect]]:
    """Return the requests for results, the tasks to ask about, and the tasks that are not worth a request yet."""
    results = [_task_request(Endpoint.RETRIEVE, task, constraints) for task in ready]
    questions, later = [], []
    may_guess = constraints.strategy is Strategy.AUTO
    for one in prospects:
        is_sure = one.chance >= SURE and constraints.trust_estimates
        if one.is_last_chance or (may_guess and (one.is_urgent or is_sure)):
            # Also while retrievals must wait: a question now would not save the retrieval.
            results.append(_task_request(_direct_endpoint(one.task, constraints), one.task, constraints, one.chance))
        elif constraints.ask_every_task or one.is_urgent or one.wait_s >= LEAST_WAIT_S:
            questions.append(one)
        else:
            later.append(one)
    return results, questions, later


def _direct_endpoint(task: Task, constraints: PlanConstraints) -> Endpoint:
    """Return the call for a task whose result is requested without asking first.

    A 404 of a retrieval may mean that the result does not exist yet; only the status shows whether the task exists.
    """
    return Endpoint.STATUS if task.gone and constraints.status_call_of(task) else Endpoint.RETRIEVE


def _task_request(
    endpoint: Endpoint, task: Task, constraints: PlanConstraints, chance: float = 1.0, *, is_question: bool = False
) -> TaskRequest:
    """Return the request about a task; after GONE_ANSWERS it asks the other API version."""
    version = task.version
    if task.gone == GONE_ANSWERS:
        version = constraints.other_version_of(task)
        endpoint = Endpoint.STATUS if version == "v1" else Endpoint.RETRIEVE
    return TaskRequest(endpoint, task, chance, is_question, version)


def _is_urgent(task: Task, now_ms: int) -> bool:
    """Whether to ask about the task whatever the estimate: its age is unknown, or an answer needs confirmation.

    While the clock shows a time before the task was queued and created, its age would stay 0. CLOCK_SET_MS excludes
    tasks that were queued before the clock was set at all.
    """
    is_unknown = not task.is_dated and task.unfinished_at_ms is None
    is_clock_behind = min(task.created_ms_estimate, max(task.added_at_ms, CLOCK_SET_MS)) > now_ms + CLOCKS_DIFFER_MS
    is_to_be_confirmed = task.gone > 0 or task.invalid > 0 or task.doubted_at_ms is not None
    return is_unknown or is_clock_behind or is_to_be_confirmed


def _chances_ms(task: Task) -> list[int]:
    return [task.expires_at_ms - before_ms for before_ms in FORCED_ATTEMPTS_BEFORE_DEADLINE_MS]


def _urgency(task: Task, now_ms: int) -> tuple[bool, int, int]:
    """Order retrievals by deadline; tasks past theirs come last, because their results may have been dropped."""
    return task.is_past_deadline(now_ms), task.expires_at_ms, task.row_id


def _questions(
    prospects: list[_Prospect], limit: int, constraints: PlanConstraints, listing: ListModel
) -> list[PlannedRequest]:
    """Return the questions with the highest scores, pages or single calls, as long as each pays for its request."""
    room = float(len(prospects) if constraints.ask_every_task else constraints.questions)
    if limit <= 0 or room <= 0:
        return []
    left = {one.task.row_id: Candidate(one.task, _score(one, constraints), 1.0 - one.chance) for one in prospects}
    shown = {key: one for key, one in left.items() if _is_shown(one.task, constraints, listing)}
    singles = [one for one in prospects if left[one.task.row_id].score >= 1 and _may_be_single(one, constraints, shown)]
    singles.sort(key=lambda one: (-left[one.task.row_id].score, one.task.expires_at_ms, one.task.row_id))
    requests: list[PlannedRequest] = []
    window, searches = _best_page(shown.values(), constraints, listing), 1
    while len(requests) < limit and room >= LEAST_ROOM:
        single = next((one for one in singles if one.task.row_id in left), None)
        if window is not None and (single is None or window.score >= left[single.task.row_id].score):
            requests.append(ListRequest(window.query, window.tasks))
        elif single is not None and (endpoint := _single_endpoint(single, constraints)) is not None:
            requests.append(_task_request(endpoint, single.task, constraints, single.chance, is_question=True))
        else:
            break
        room -= requests[-1].cost
        for task in requests[-1].tasks:
            del left[task.row_id]
            shown.pop(task.row_id, None)
        if isinstance(requests[-1], ListRequest) or (window is not None and requests[-1].tasks[0] in window.tasks):
            if searches == MAX_SEARCHES:
                break
            window, searches = _best_page(shown.values(), constraints, listing), searches + 1
    return requests


def _is_shown(task: Task, constraints: PlanConstraints, listing: ListModel) -> bool:
    """Whether a page of the list answers for the task."""
    if not task.is_dated or task.row_id in constraints.unlisted:
        return False
    # With strategy `list`, readiness is never inferred from absence: skip tasks at times with more entries than a page
    # shows.
    return constraints.strategy is not Strategy.LIST or not listing.is_crowded(task)


def _best_page(scored: Iterable[Candidate], constraints: PlanConstraints, listing: ListModel) -> ListWindow | None:
    if constraints.strategy is Strategy.STATUS or Endpoint.LIST in constraints.closed:
        return None
    if constraints.strategy is Strategy.LIST:
        window = best_window(scored, listing, at_least=1)
    else:
        window = best_window(scored, listing, at_least=2, only_processing=constraints.trust_list_gaps)
    return window if window is not None and window.score >= 1 else None


def _score(one: _Prospect, constraints: PlanConstraints) -> float:
    return 1.0 if constraints.ask_every_task else max(float(one.is_urgent), one.wait_s * WAIT_PRICE)


def _may_be_single(one: _Prospect, constraints: PlanConstraints, shown: Container[int]) -> bool:
    if _single_endpoint(one, constraints) is None:
        return False
    is_on_page = constraints.has_list and one.task.row_id in shown and not one.task.gone
    return constraints.strategy is not Strategy.LIST or not is_on_page


def _single_endpoint(one: _Prospect, constraints: PlanConstraints) -> Endpoint | None:
    wanted = [Endpoint.STATUS]
    if not constraints.status_call_of(one.task):
        wanted = [Endpoint.RETRIEVE]
    elif constraints.strategy is Strategy.AUTO:
        wanted = [Endpoint.RETRIEVE, Endpoint.STATUS] if one.chance >= LIKELY else [Endpoint.STATUS, Endpoint.RETRIEVE]
    elif constraints.strategy is Strategy.LIST and not one.task.is_dated:
        # A retrieval also returns when the task was created, so the next question can be a page.
        wanted = [Endpoint.RETRIEVE, Endpoint.STATUS]
    return next((endpoint for endpoint in wanted if endpoint not in constraints.closed), None)


def _worth_a_look_ms(task: Task, now_ms: int, times: ProcessingTimes) -> int:
    """Return when a question about a task may pay, from what is known of it (Unix ms)."""
    _, unfinished_s = _ages_s(task, now_ms)
    worth_s = times.of(task.model_name, task.duration_s).age_of_wait_s(LEAST_WAIT_S, unfinished_s)
    wait_ms = min(MAX_POLL_WAIT_MS, round(worth_s * 1000) - task.age_ms(now_ms))
    return at_latest_before_deadline(task, now_ms, max(1_000, wait_ms))
