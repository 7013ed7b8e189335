import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.endpoint import POLL_ENDPOINTS, Endpoint
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.costs import LEAST_WAIT_S
from harvester.domain.planning.list_reader import PROCESSING
from harvester.domain.planning.list_windows import ListModel, ListWindow, best_window
from harvester.domain.planning.plan import Plan, plan
from harvester.domain.planning.plan_constraints import PlanConstraints
from harvester.domain.planning.planned_requests import ListRequest, TaskRequest
from harvester.domain.planning.poll_times import (
    FORCED_ATTEMPTS_BEFORE_DEADLINE_MS,
    LAST_CHANCE_MS,
    MAX_POLL_WAIT_MS,
    MIN_POLL_WAIT_MS,
    POLL_WAIT_SHARE_OF_AGE,
    at_latest_before_deadline,
    next_poll_ms,
)
from harvester.domain.planning.processing_time import PRIOR, PRIOR_MEDIAN_S, ProcessingTimes
from harvester.domain.planning.questions import LEAST_ROOM
from harvester.domain.planning.strategy import Strategy, affordable_strategy
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS, Task, TaskState

NOW = 1_760_000_000_000
MINUTE_MS = 60_000
SURELY_MS = 3 * 60 * MINUTE_MS
"""At this age the prior is sure that a task has finished."""

HALF_DONE_MS = round(PRIOR_MEDIAN_S * 1010)
"""At this age it is a little more likely than not."""

MANY = PlanConstraints(limit=1000, questions=1000)


def task(key: int = 1, *, state: TaskState = TaskState.PENDING, age_ms: int = 0, dated: bool = True) -> Task:
    created = NOW - age_ms
    return Task(
        key,
        f"task-{key}",
        state,
        added_at_ms=created,
        expires_at_ms=created + RETENTION_MS,
        created_at_ms=created if dated else None,
    )


def planned(pending: list[Task], constraints: PlanConstraints = MANY, *, ready: list[Task] | None = None) -> Plan:
    def by_deadline(task: Task) -> tuple[int, int]:
        return task.expires_at_ms, task.row_id

    due = DueTasks(sorted(ready or [], key=by_deadline), sorted(pending, key=by_deadline))
    return plan(due, NOW, constraints, ProcessingTimes(), ListModel())


def endpoint_of(one: Task, constraints: PlanConstraints = MANY) -> Endpoint | None:
    requests = planned([one], constraints).requests
    return requests[0].endpoint if requests else None


pending_tasks = st.lists(
    st.builds(task, st.integers(1, 10**6), age_ms=st.integers(0, 2 * RETENTION_MS), dated=st.booleans()),
    max_size=30,
    unique_by=lambda one: one.row_id,
)
constraints = st.builds(
    PlanConstraints,
    limit=st.integers(0, 60),
    questions=st.integers(0, 5),
    strategy=st.sampled_from(Strategy),
    versions=st.sampled_from([ApiVersions("v1"), ApiVersions("v2")]),
    closed=st.frozensets(st.sampled_from(POLL_ENDPOINTS)),
    ask_every_task=st.booleans(),
    trust_estimates=st.booleans(),
)


@given(pending_tasks, pending_tasks, constraints)
def test_no_task_is_planned_twice_and_no_term_is_broken(
    pending: list[Task], others: list[Task], constraints: PlanConstraints
) -> None:
    known = {one.row_id for one in pending}
    ready = [replace(one, state=TaskState.READY) for one in others if one.row_id not in known]
    result = planned(pending, constraints, ready=ready)
    keys = [one.row_id for request in result.requests for one in request.tasks] + [
        one.row_id for one, _ in result.later
    ]
    assert len(keys) == len(set(keys))
    assert len(result.requests) <= constraints.limit
    assert not {request.endpoint for request in result.requests} & constraints.closed
    questions = [request for request in result.requests if request.is_question]
    assert (
        constraints.ask_every_task or sum(request.cost for request in questions) <= constraints.questions + LEAST_ROOM
    )
    if constraints.strategy is Strategy.STATUS:
        assert not any(isinstance(request, ListRequest) for request in result.requests)
    if constraints.versions.first == "v2":
        assert Endpoint.STATUS not in {request.endpoint for request in result.requests}
    assert all(until_ms > NOW for _, until_ms in result.later)


@given(pending_tasks, st.randoms(use_true_random=False), constraints)
def test_the_plan_does_not_depend_on_the_order_of_the_tasks(
    pending: list[Task], rng: random.Random, constraints: PlanConstraints
) -> None:
    shuffled = plan(DueTasks([], rng.sample(pending, len(pending))), NOW, constraints, ProcessingTimes(), ListModel())
    assert shuffled.requests == planned(pending, constraints).requests


@given(st.lists(st.integers(0, RETENTION_MS - 1), min_size=1, max_size=20))
def test_what_is_ready_is_retrieved_before_anything_is_asked_the_nearest_deadline_first(ages_ms: list[int]) -> None:
    ready = [task(key, state=TaskState.READY, age_ms=age_ms) for key, age_ms in enumerate(ages_ms)]
    asked = task(1000, age_ms=HALF_DONE_MS)
    requests = planned([asked], ready=ready).requests
    deadlines = [request.tasks[0].expires_at_ms for request in requests[: len(ready)]]
    assert deadlines == sorted(one.expires_at_ms for one in ready)
    assert [request.endpoint for request in requests] == [Endpoint.RETRIEVE] * len(ready) + [Endpoint.RETRIEVE]
    assert [request.is_question for request in requests] == [False] * len(ready) + [True]


def test_while_results_wait_nothing_is_asked() -> None:
    ready = [task(key, state=TaskState.READY) for key in range(5)]
    requests = planned([task(9, age_ms=HALF_DONE_MS)], PlanConstraints(limit=5, questions=5), ready=ready).requests
    assert [request.is_question for request in requests] == [False] * 5


def test_what_the_platform_may_have_dropped_costs_no_other_task_its_request() -> None:
    overdue = task(1, state=TaskState.READY, age_ms=RETENTION_MS + DAY_MS)
    young = task(2, state=TaskState.READY, age_ms=DAY_MS)
    first, second = planned([], ready=[overdue, young]).requests
    assert (first.tasks, second.tasks) == ((young,), (overdue,))


@pytest.mark.parametrize(
    ("age_ms", "endpoint", "is_question"),
    [
        (HALF_DONE_MS // 2, Endpoint.STATUS, True),
        (2 * HALF_DONE_MS, Endpoint.RETRIEVE, True),
        (SURELY_MS, Endpoint.RETRIEVE, False),
    ],
    ids=["unlikely", "likely", "surely"],
)
def test_the_likelier_a_task_has_finished_the_more_directly_it_is_asked(
    age_ms: int,
    endpoint: Endpoint,
    is_question: bool,  # noqa: FBT001
) -> None:
    one = task(age_ms=age_ms)
    requests = plan(
        DueTasks([], [one]), NOW, replace(MANY, ask_every_task=True), ProcessingTimes(), ListModel()
    ).requests
    assert [(request.endpoint, request.is_question) for request in requests] == [(endpoint, is_question)]


def test_where_reckoning_has_failed_the_sure_ones_are_asked_about() -> None:
    tasks = [task(key, age_ms=SURELY_MS + key) for key in range(50)]
    (request,) = planned(tasks, replace(MANY, trust_estimates=False)).requests
    assert isinstance(request, ListRequest)
    assert len(request.tasks) == 50


@pytest.mark.parametrize(
    "constraints", [PlanConstraints(strategy=Strategy.LIST), PlanConstraints(trust_list_gaps=False)]
)
def test_one_page_answers_for_fifty(constraints: PlanConstraints) -> None:
    tasks = [task(key, age_ms=HALF_DONE_MS + key * 1000) for key in range(120)]
    requests = planned(tasks, replace(constraints, limit=10, questions=2)).requests
    assert [request.endpoint for request in requests] == [Endpoint.LIST, Endpoint.LIST]
    assert [len(request.tasks) for request in requests] == [50, 50]


def test_a_page_of_the_unfinished_answers_for_more() -> None:
    tasks = [task(key, age_ms=4 * HALF_DONE_MS + key * 1000) for key in range(300)]
    (request,) = planned(tasks, PlanConstraints()).requests
    assert isinstance(request, ListRequest)
    assert request.query.status == PROCESSING
    assert len(request.tasks) > 200


def test_while_no_version_is_known_a_page_shows_finished_tasks_too() -> None:
    tasks = [task(key, age_ms=4 * HALF_DONE_MS + key * 1000) for key in range(300)]
    versions = ApiVersions("v2", is_first_given=False)
    (request,) = planned(tasks, PlanConstraints(versions=versions)).requests
    assert isinstance(request, ListRequest)
    assert request.query.status is None


def test_a_page_is_not_asked_for_a_single_task() -> None:
    assert endpoint_of(task(age_ms=2 * HALF_DONE_MS)) is Endpoint.RETRIEVE
    assert endpoint_of(task(age_ms=2 * HALF_DONE_MS), replace(MANY, strategy=Strategy.LIST)) is Endpoint.LIST
    assert endpoint_of(task(age_ms=2 * HALF_DONE_MS), replace(MANY, strategy=Strategy.STATUS)) is Endpoint.STATUS


def test_a_task_without_a_date_is_asked_for_its_result_at_once_and_then_by_itself() -> None:
    unknown = task(age_ms=0, dated=False)
    assert endpoint_of(unknown) is Endpoint.RETRIEVE
    asked = [
        replace(task(key, age_ms=2 * HALF_DONE_MS, dated=False), unfinished_at_ms=NOW - HALF_DONE_MS)
        for key in range(5)
    ]
    assert not any(isinstance(request, ListRequest) for request in planned(asked).requests)


def test_with_strategy_list_a_result_shows_on_which_page_a_task_without_a_date_is() -> None:
    preferring = replace(MANY, strategy=Strategy.LIST)
    unknown = task(age_ms=0, dated=False)
    assert endpoint_of(unknown, preferring) is Endpoint.RETRIEVE
    assert endpoint_of(unknown, replace(preferring, closed=frozenset({Endpoint.RETRIEVE}))) is Endpoint.STATUS


def test_a_task_that_the_list_does_not_show_is_asked_about_by_itself() -> None:
    tasks = [task(key, age_ms=HALF_DONE_MS + key) for key in range(5)]
    requests = planned(tasks, replace(MANY, unlisted={3}, ask_every_task=True)).requests
    assert sorted(len(request.tasks) for request in requests) == [1, 4]


def test_a_task_that_no_call_can_answer_for_now_keeps_no_page_from_the_others() -> None:
    tasks = [task(key, age_ms=HALF_DONE_MS + key) for key in range(5)]
    constraints = replace(
        MANY, strategy=Strategy.LIST, unlisted={4}, closed=frozenset({Endpoint.STATUS}), ask_every_task=True
    )
    assert [len(request.tasks) for request in planned(tasks, constraints).requests] == [4]


@pytest.mark.parametrize("closed", [{Endpoint.RETRIEVE}, {Endpoint.STATUS}, {Endpoint.LIST}])
def test_a_class_that_is_closed_is_replaced_where_another_can_answer(closed: set[Endpoint]) -> None:
    tasks = [task(key, age_ms=HALF_DONE_MS) for key in range(3)]
    requests = planned(tasks, replace(MANY, closed=frozenset(closed), ask_every_task=True)).requests
    assert {one.row_id for request in requests for one in request.tasks} == {0, 1, 2}


def test_a_task_is_asked_about_in_the_last_minutes_before_its_deadline_whatever_is_expected() -> None:
    stuck = replace(task(age_ms=RETENTION_MS - LAST_CHANCE_MS + 1), unfinished_at_ms=NOW - LAST_CHANCE_MS)
    assert endpoint_of(stuck, PlanConstraints(questions=0)) is Endpoint.RETRIEVE
    asked = replace(stuck, unfinished_at_ms=NOW - 1)
    assert endpoint_of(asked, PlanConstraints(questions=0)) is None


def test_a_download_that_has_to_be_confirmed_is_asked_for_at_once() -> None:
    assert endpoint_of(replace(task(), invalid=1), PlanConstraints(questions=0)) is Endpoint.RETRIEVE


@pytest.mark.parametrize("age_ms", [0, RETENTION_MS - 1])
def test_a_404_is_confirmed_by_the_status_at_once_for_a_result_that_does_not_exist_yet_may_be_the_reason(
    age_ms: int,
) -> None:
    doubtful = replace(task(age_ms=age_ms), gone=1, version="v1")
    assert endpoint_of(doubtful, PlanConstraints(questions=0)) is Endpoint.STATUS
    assert endpoint_of(replace(doubtful, version="v2"), PlanConstraints(questions=0)) is Endpoint.RETRIEVE
    assert endpoint_of(doubtful, PlanConstraints(questions=0, closed=frozenset({Endpoint.STATUS}))) is None
    assert endpoint_of(doubtful, PlanConstraints(questions=0, closed=frozenset({Endpoint.RETRIEVE}))) is Endpoint.STATUS


def test_a_fresh_task_waits_until_it_may_be_worth_a_request() -> None:
    result = planned([task()])
    assert result.requests == []
    ((_, until_ms),) = result.later
    age_s = (until_ms - NOW) / 1000
    # Exact to a second.
    assert PRIOR.expected_wait_s(age_s - 1) < LEAST_WAIT_S <= PRIOR.expected_wait_s(age_s)


@pytest.mark.parametrize("strategy", [Strategy.AUTO, Strategy.LIST])
def test_a_plan_looks_for_few_of_many_pages_and_the_next_ones_for_the_others(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for one takes longer with more due tasks, and delays all else."""
    left, listing = [task(key, age_ms=HALF_DONE_MS + key * 2_000) for key in range(1000)], ListModel(page_limit=5)
    searches: list[int] = []

    def counted(*arguments: Any, **named: Any) -> ListWindow | None:
        searches[-1] += 1
        return best_window(*arguments, **named)

    monkeypatch.setattr("harvester.domain.planning.questions.best_window", counted)
    while left:
        searches.append(0)
        result = plan(
            DueTasks([], left), NOW, replace(MANY, strategy=strategy, ask_every_task=True), ProcessingTimes(), listing
        )
        asked = {one.row_id for request in result.requests for one in request.tasks}
        assert asked
        left = [one for one in left if one.row_id not in asked]
    assert sum(searches) > 20
    assert max(searches) < 10


@given(st.integers(0, 10 * RETENTION_MS))
def test_the_wait_for_the_next_look_stays_in_its_bounds(age_ms: int) -> None:
    one = task(age_ms=age_ms)
    wait_ms = next_poll_ms(one, NOW, ProcessingTimes()) - NOW
    before_ms = min(
        (
            left_ms
            for last_ms in FORCED_ATTEMPTS_BEFORE_DEADLINE_MS
            if (left_ms := one.expires_at_ms - NOW - last_ms) > 0
        ),
        default=0,
    )
    least_ms = min(MAX_POLL_WAIT_MS, max(MIN_POLL_WAIT_MS, math.floor(age_ms * POLL_WAIT_SHARE_OF_AGE)))
    assert wait_ms == before_ms > 0 or least_ms <= wait_ms <= MAX_POLL_WAIT_MS


@given(st.integers(0, RETENTION_MS), st.integers(0, DAY_MS))
def test_no_wait_jumps_over_a_chance(age_ms: int, delay_ms: int) -> None:
    one = task(age_ms=age_ms)
    due_ms = at_latest_before_deadline(one, NOW, delay_ms)
    chances_ms = [one.expires_at_ms - before_ms for before_ms in FORCED_ATTEMPTS_BEFORE_DEADLINE_MS]
    assert due_ms == min(NOW + delay_ms, *(at_ms if at_ms > NOW else NOW + delay_ms for at_ms in chances_ms))


def test_of_what_was_claimed_by_others_nothing_is_left_in_a_request() -> None:
    tasks = tuple(task(key) for key in range(3))
    mine = replace(tasks[1], claim=7)
    request = ListRequest(planned([task(key, age_ms=HALF_DONE_MS) for key in range(3)]).requests[0].query, tasks)  # type: ignore[union-attr]
    taken = request.claimed({1: mine})
    assert taken is not None
    assert taken.tasks == (mine,)
    assert request.claimed({}) is None
    assert TaskRequest(Endpoint.STATUS, tasks[0]).claimed({1: mine}) is None


@pytest.mark.parametrize("strategy", Strategy)
def test_a_budget_of_too_few_requests_to_ask_first_goes_into_results(strategy: Strategy) -> None:
    per_s = 50 / (DAY_MS / 1000)
    assert affordable_strategy(strategy, 87, per_s) is strategy
    assert affordable_strategy(strategy, 88, per_s) is Strategy.AUTO
    assert affordable_strategy(strategy, 10**9, None) is strategy


# The last chances, and what may hide a task.


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("before_ms", FORCED_ATTEMPTS_BEFORE_DEADLINE_MS)
def test_ever_nearer_the_deadline_a_result_is_asked_for_whatever_the_list_says(
    strategy: Strategy, before_ms: int
) -> None:
    """A list that shows a task as processing for ever must not cost its result."""
    heard = replace(task(age_ms=RETENTION_MS - before_ms + 1), unfinished_at_ms=NOW - 2)
    (request,) = planned([heard], PlanConstraints(questions=0, strategy=strategy, trust_estimates=False)).requests
    assert (request.endpoint, request.is_question) == (Endpoint.RETRIEVE, False)
    assert (
        planned([replace(heard, unfinished_at_ms=NOW)], PlanConstraints(questions=0, strategy=strategy)).requests == []
    )


@pytest.mark.parametrize("strategy", [Strategy.STATUS, Strategy.LIST])
def test_an_answer_to_be_confirmed_is_not_put_off_by_others_that_wait_as_long(strategy: Strategy) -> None:
    waiting = [task(key, age_ms=2 * HALF_DONE_MS + 1) for key in range(1)]
    doubtful = replace(task(9, age_ms=3 * HALF_DONE_MS), gone=1)
    (request,) = planned([*waiting, doubtful], PlanConstraints(strategy=strategy)).requests
    assert doubtful in request.tasks


def test_a_likely_result_takes_less_of_the_budget_for_questions_than_a_status() -> None:
    likely = [task(key, age_ms=4 * HALF_DONE_MS) for key in range(20)]
    alone = PlanConstraints(limit=20, questions=2, closed=frozenset({Endpoint.LIST}))
    guesses = planned(likely, alone).requests
    assert {request.endpoint for request in guesses} == {Endpoint.RETRIEVE}
    assert all(0 < request.cost < 0.5 for request in guesses)
    assert len(guesses) > 4
    assert len(planned(likely, replace(alone, strategy=Strategy.STATUS)).requests) == 2


def test_who_prefers_the_list_waits_for_it_only_while_there_is_one() -> None:
    preferring = replace(MANY, strategy=Strategy.LIST, closed=frozenset({Endpoint.LIST}))
    assert endpoint_of(task(age_ms=2 * HALF_DONE_MS), preferring) is None
    assert endpoint_of(task(age_ms=2 * HALF_DONE_MS), replace(preferring, has_list=False)) is Endpoint.STATUS


@pytest.mark.parametrize("created_ms", [NOW + 10 * DAY_MS, NOW, 0, -(10**15)])
def test_a_date_that_cannot_be_hides_no_task(created_ms: int) -> None:
    """The clock of this machine may be behind the API's, and an API may tell any date."""
    odd = replace(task(), created_at_ms=created_ms, expires_at_ms=created_ms + RETENTION_MS, added_at_ms=NOW - DAY_MS)
    result = planned([odd])
    assert [one for request in result.requests for one in request.tasks] == [odd]


def test_what_was_heard_while_the_clock_was_ahead_keeps_no_task_waiting() -> None:
    ahead = NOW + 9 * DAY_MS
    young, old, last = (task(age_ms=age_ms) for age_ms in (HALF_DONE_MS, SURELY_MS, RETENTION_MS - LAST_CHANCE_MS + 1))
    for one in (young, old, last):
        assert endpoint_of(replace(one, unfinished_at_ms=ahead)) is endpoint_of(one) is Endpoint.RETRIEVE
    assert (
        endpoint_of(replace(last, unfinished_at_ms=ahead), PlanConstraints(questions=0, trust_estimates=False))
        is Endpoint.RETRIEVE
    )


@given(st.integers(-(10**14), 10**14), st.integers(0, 10**14))
def test_no_task_is_put_off_for_longer_than_the_longest_wait(age_ms: int, unfinished_ms: int) -> None:
    one = replace(task(age_ms=age_ms), unfinished_at_ms=unfinished_ms)
    assert all(NOW < until_ms <= NOW + MAX_POLL_WAIT_MS for _, until_ms in planned([one]).later)


def test_expedited_tasks_come_first_whatever_their_chance() -> None:
    young, urgent = task(1, age_ms=1000), task(2, state=TaskState.READY, age_ms=RETENTION_MS - MINUTE_MS)
    due = DueTasks([urgent], [young], expedited=frozenset([young.row_id]))

    found = plan(due, NOW, MANY, ProcessingTimes(), ListModel())

    assert [request.tasks[0].row_id for request in found.requests] == [young.row_id, urgent.row_id]
    assert found.later == []
