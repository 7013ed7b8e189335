from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.costs import SURE
from harvester.domain.planning.feasibility import Budget
from harvester.domain.planning.forecast import preview
from harvester.domain.planning.forecast_conditions import Conditions
from harvester.domain.planning.next_requests import Call, finished_among, next_requests
from harvester.domain.planning.planned_requests import ListRequest
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.queue_sample import QueuedTask, QueueSample
from harvester.domain.planning.request_estimate import estimate_requests
from harvester.domain.planning.strategy import Strategy
from harvester.domain.planning.todo import what_to_do
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS, Task, TaskState

NOW = 1_760_000_000_000
MINUTE_MS = 60_000
FIFTY_A_DAY = Budget(50 / 86_400, 50 / 86_400)
SIXTY = Budget(1.0, 1.0)
UNLIMITED = Budget(None)
TIMES = ProcessingTimes()


def turn(
    key: int, *, age_ms: int, state: TaskState = TaskState.PENDING, due_ms: int = 0, dated: bool = True
) -> QueuedTask:
    born = NOW - age_ms
    task = Task(key, f"task-{key}", state, born, born + RETENTION_MS, created_at_ms=born if dated else None)
    return QueuedTask(task, due_ms)


def sample(turns: list[QueuedTask], *, each: int = 1) -> QueueSample:
    sampled = sorted(turns, key=lambda one: (one.task.expires_at_ms, one.task.row_id))
    due = [one.task.state for one in sampled if one.due_ms <= NOW]
    return QueueSample(
        NOW,
        open_tasks=len(sampled) * each,
        ready_due=due.count(TaskState.READY) * each,
        pending_due=due.count(TaskState.PENDING) * each,
        each=each,
        sampled=sampled,
        head=sampled,
        deadlines=[(one.task.expires_at_ms, each) for one in sampled],
    )


def finished(count: int) -> list[QueuedTask]:
    return [turn(key, age_ms=DAY_MS + key) for key in range(count)]


def young(count: int, *, age_ms: int = MINUTE_MS) -> list[QueuedTask]:
    return [turn(1000 + key, age_ms=age_ms + key) for key in range(count)]


def test_each_due_task_is_in_one_class() -> None:
    ready = turn(1, age_ms=DAY_MS, state=TaskState.READY)
    sleeping = turn(2, age_ms=DAY_MS, due_ms=NOW + 1)
    undated, unborn = turn(3, age_ms=0, dated=False), turn(4, age_ms=0)

    todo = what_to_do(sample([ready, sleeping, undated, unborn, *young(5)]), Conditions(SIXTY), TIMES)

    assert (todo.retrieve, todo.straight_away, todo.by_page, todo.singly, todo.wait) == (1, 1, 5, 0, 1)
    assert todo.first_ms is not None
    assert todo.first_ms > NOW


def test_a_single_task_is_asked_about_by_itself() -> None:
    todo = what_to_do(sample(young(1)), Conditions(SIXTY), TIMES)
    assert (todo.by_page, todo.singly) == (0, 1)


@pytest.mark.parametrize(("strategy", "by_page", "singly"), [(Strategy.STATUS, 0, 9), (Strategy.LIST, 9, 0)])
def test_a_chosen_strategy_asks_about_all_and_in_its_way(strategy: Strategy, by_page: int, singly: int) -> None:
    todo = what_to_do(sample([*finished(4), *young(5)]), Conditions(SIXTY, strategy), TIMES)
    assert (todo.straight_away, todo.by_page, todo.singly) == (0, by_page, singly)


def test_drawn_tasks_stand_for_the_others() -> None:
    todo = what_to_do(sample([*finished(10), *young(5)], each=100), Conditions(SIXTY), TIMES)
    assert (todo.straight_away, todo.by_page) == (1000, 500)


def test_finished_tasks_take_one_request_each() -> None:
    expected = estimate_requests(sample(finished(100)), Conditions(SIXTY), TIMES)
    assert expected.requests == pytest.approx(100, abs=0.1)
    assert expected.finished_ms is None


def test_a_tight_budget_reaches_young_tasks_when_they_have_finished_and_asks_almost_nothing() -> None:
    tight, idle = (
        estimate_requests(sample(young(500)), Conditions(budget), TIMES) for budget in (FIFTY_A_DAY, UNLIMITED)
    )
    assert 500 <= tight.requests < 502
    assert 600 < idle.requests < 1500


def test_task_by_task_each_is_asked_about_at_least_once() -> None:
    expected = estimate_requests(sample(finished(100)), Conditions(SIXTY, Strategy.STATUS), TIMES)
    assert (expected.retrievals, expected.questions) == (100, 100)


@pytest.mark.parametrize("strategy", Strategy)
def test_near_the_deadline_no_status_is_requested_first(strategy: Strategy) -> None:
    old = sample([turn(key, age_ms=4 * DAY_MS + key) for key in range(100)])
    found = preview(old, Conditions(SIXTY, strategy), TIMES)
    assert found.todo.straight_away == 100
    assert found.expected.requests == pytest.approx(100, abs=0.1)


def test_page_by_page_fifty_are_asked_about_at_once() -> None:
    expected = estimate_requests(sample(finished(100)), Conditions(SIXTY, Strategy.LIST), TIMES)
    assert expected.questions == pytest.approx(2)


ages = st.lists(st.integers(0, 8 * DAY_MS), min_size=1, max_size=30)
budgets = st.sampled_from([FIFTY_A_DAY, SIXTY, UNLIMITED])


@given(ages, budgets, st.sampled_from(Strategy), st.sampled_from([1, 7]))
def test_no_harvest_takes_less_than_a_request_a_task(
    ages: list[int], budget: Budget, strategy: Strategy, each: int
) -> None:
    queue = sample([turn(key, age_ms=age_ms) for key, age_ms in enumerate(ages)], each=each)
    expected = estimate_requests(queue, Conditions(budget, strategy), TIMES)
    assert queue.open_tasks <= expected.retrievals <= expected.needed <= expected.requests + 1e-6


def test_all_is_done_when_the_last_has_probably_finished() -> None:
    seen = preview(sample(young(10)), Conditions(UNLIMITED), TIMES)
    age_s = (seen.finish_ms - (NOW - MINUTE_MS)) / 1000
    assert seen.feasibility.finish_ms == NOW
    # Ten tasks have all finished with one half if each has with the tenth root of it.
    assert TIMES.of(None, None).chance(age_s) ** 10 == pytest.approx(0.5, abs=1e-3)


def test_many_tasks_do_not_wait_for_the_slowest_of_all() -> None:
    seen = preview(sample(young(400)), Conditions(UNLIMITED), TIMES)
    age_s = (seen.finish_ms - (NOW - MINUTE_MS)) / 1000
    assert TIMES.of(None, None).chance(age_s) == pytest.approx(SURE, abs=1e-3)


def test_questions_that_cannot_be_spared_are_held_against_the_deadlines() -> None:
    queue = sample(finished(400))
    at_risk = {
        strategy: preview(queue, Conditions(FIFTY_A_DAY, strategy), TIMES).feasibility.at_risk for strategy in Strategy
    }
    assert at_risk[Strategy.AUTO] <= at_risk[Strategy.LIST] < at_risk[Strategy.STATUS]


def calls(turns: list[QueuedTask], conditions: Conditions) -> list[Call]:
    return next_requests(sample(turns), conditions, TIMES)


def test_results_come_in_the_order_of_their_deadlines_at_the_rate() -> None:
    foreseen = calls(finished(20), Conditions(SIXTY, calls=3))
    assert [one.request.tasks[0].row_id for one in foreseen] == [19, 18, 17]
    assert [one.at_ms - NOW for one in foreseen] == [0, 1000, 2000]


def test_a_task_that_expires_before_its_turn_comes_after_those_that_do_not() -> None:
    turns = [turn(key, age_ms=RETENTION_MS - left_ms) for key, left_ms in enumerate((500, 900, 1_500, 9_000, -1))]
    assert [one.request.tasks[0].row_id for one in calls(turns, Conditions(SIXTY))] == [0, 2, 3, 4, 1]


def test_what_a_page_finds_comes_before_the_next_question() -> None:
    first, second = calls(young(400, age_ms=5 * MINUTE_MS), Conditions(SIXTY, calls=2))
    assert isinstance(first.request, ListRequest)
    found = finished_among(first.request, first.at_ms, TIMES)
    assert found > 20
    assert second.at_ms >= NOW + (1 + found) * 1000
    assert not {one.row_id for one in first.request.tasks} & {one.row_id for one in second.request.tasks}


def test_what_is_not_worth_a_request_yet_is_forecast_for_when_it_is() -> None:
    (call,) = calls([turn(1, age_ms=0)], Conditions(UNLIMITED))
    assert NOW + 5_000 < call.at_ms < NOW + 60 * MINUTE_MS


def test_a_harvest_that_has_heard_nothing_is_forecast_to_begin_with_a_look() -> None:
    first = calls(young(5, age_ms=1_000), Conditions(SIXTY, looks_first=True))[0]
    assert (first.at_ms, len(first.request.tasks)) == (NOW, 5)
    assert calls(young(5, age_ms=1_000), Conditions(SIXTY))[0].at_ms > NOW


def test_a_higher_target_asks_later_and_less() -> None:
    turns = young(20, age_ms=1_000)
    patient, hasty = Conditions(SIXTY, target_latency_s=120.0), Conditions(SIXTY, target_latency_s=5.0)
    assert calls(turns, hasty)[0].at_ms < calls(turns, patient)[0].at_ms
    fewer, more = (estimate_requests(sample(turns), one, TIMES).questions for one in (patient, hasty))
    assert fewer < more


def test_a_waiting_task_is_forecast_for_its_time() -> None:
    (call,) = calls([turn(1, age_ms=DAY_MS, due_ms=NOW + 5_000)], Conditions(UNLIMITED))
    assert call.at_ms == NOW + 5_000


def test_results_that_the_api_does_not_want_yet_wait_for_the_end_of_the_block() -> None:
    blocked = Conditions(UNLIMITED, waits_ms={Endpoint.RETRIEVE: NOW + 3_600_000})
    (call,) = calls(finished(1), blocked)
    assert (call.at_ms, call.request.endpoint) == (NOW + 3_600_000, Endpoint.RETRIEVE)


def test_no_call_is_forecast_before_the_first_may_go_out() -> None:
    foreseen = calls(finished(3), Conditions(SIXTY, start_ms=NOW + 700))
    assert [one.at_ms - NOW for one in foreseen] == [700, 1700, 2700]


@pytest.mark.parametrize("turns", [[], finished(5)])
def test_no_call_is_forecast_without_tasks_or_without_a_request_for_it(turns: list[QueuedTask]) -> None:
    assert calls(turns, Conditions(SIXTY, calls=0 if turns else 10)) == []


@given(ages, budgets, st.sampled_from(Strategy))
def test_no_task_is_forecast_twice_and_times_never_go_back(ages: list[int], budget: Budget, strategy: Strategy) -> None:
    foreseen = calls(
        [turn(key, age_ms=age_ms) for key, age_ms in enumerate(ages)], Conditions(budget, strategy, calls=9)
    )
    keys = [task.row_id for one in foreseen for task in one.request.tasks]
    assert len(keys) == len(set(keys))
    assert len(foreseen) <= 9
    assert [one.at_ms for one in foreseen] == sorted(one.at_ms for one in foreseen)


def test_tasks_in_hand_are_neither_due_nor_later() -> None:
    queue = replace(sample(finished(3)), open_tasks=5, in_hand=1)
    assert queue.later == 1
