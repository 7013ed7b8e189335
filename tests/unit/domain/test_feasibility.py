from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harvester.domain.planning.feasibility import Budget, Feasibility, QuotaBalance, assess
from harvester.domain.tasks.task import DAY_MS

NOW = 1_760_000_000_000
HOUR_MS = 3_600_000

minutes = st.integers(-20, 120)
histograms = st.lists(st.tuples(minutes, st.integers(1, 3)), max_size=6, unique_by=lambda entry: entry[0]).map(
    lambda entries: [(NOW + at * 60_000, count) for at, count in sorted(entries)]
)
# A step of a whole number of milliseconds: the simulation must not lose a task to rounding.
allowances = st.builds(
    lambda left, renews, limit, window: QuotaBalance(left, NOW + renews * 60_000, limit, window * 60_000),
    st.integers(0, 4),
    st.integers(1, 90),
    st.integers(1, 4),
    st.integers(1, 60),
)
resumptions = st.none() | st.integers(-10, 90).map(lambda minutes: NOW + minutes * 60_000)
paces = st.integers(1, 40).map(lambda step_minutes: 1 / (60 * step_minutes))
budgets = st.builds(lambda pace, resumes: Budget(pace, resumes_ms=resumes), paces, resumptions)
quotas = st.builds(
    lambda pace, quota, resumes: Budget(pace, balance=quota, resumes_ms=resumes), paces, allowances, resumptions
)


def moments_of(budget: Budget, step_ms: int) -> list[int]:
    """Let a request go out whenever it may, minute by minute as all of these times are."""
    start_ms = max(NOW, budget.resumes_ms or NOW)
    quota, moments, next_ms = budget.balance, list[int](), start_ms
    left, ends_ms = (quota.left, quota.renews_ms) if quota is not None else (0, 0)
    for at_ms in range(start_ms, NOW + 300 * 60_000, 60_000):
        while quota is not None and at_ms >= ends_ms:
            left, ends_ms = quota.limit, ends_ms + quota.window_ms
        if at_ms >= next_ms and (quota is None or left > 0):
            moments.append(at_ms)
            left, next_ms = left - 1, at_ms + step_ms
    return moments


def most_that_can_be_served(deadlines: list[tuple[int, int]], budget: Budget, step_ms: int) -> int:
    """Give each task a moment of its own at which a request may go out, in every possible way: a matching."""
    moments = moments_of(budget, step_ms)[:20]
    tasks = [at_ms for at_ms, count in deadlines if at_ms > NOW for _ in range(count)]
    server: dict[int, int] = {}

    def find_a_moment(task: int, tried: set[int]) -> bool:
        for number, moment_ms in enumerate(moments):
            if moment_ms <= tasks[task] and tasks[task] > moments[0] and number not in tried:
                tried.add(number)
                if number not in server or find_a_moment(server[number], tried):
                    server[number] = task
                    return True
        return False

    return sum(find_a_moment(task, set()) for task in range(len(tasks)))


def assess_exactly(deadlines: list[tuple[int, int]], budget: Budget, reaction_ms: int = 0) -> Feasibility:
    return assess(deadlines, NOW, budget, requests_per_task=1.0, reaction_ms=reaction_ms)


@given(histograms, budgets)
def test_no_order_of_serving_loses_fewer_tasks(deadlines: list[tuple[int, int]], budget: Budget) -> None:
    assert budget.rate_per_s is not None
    found = assess_exactly(deadlines, budget)

    served = most_that_can_be_served(deadlines, budget, round(1000 / budget.rate_per_s))
    assert found.open_tasks == sum(count for _, count in deadlines)
    assert found.open_tasks - found.overdue - found.at_risk == served


@given(histograms, budgets)
def test_the_needed_rate_saves_what_any_rate_saves_and_a_lower_one_does_not(
    deadlines: list[tuple[int, int]], budget: Budget
) -> None:
    needed_per_s = assess_exactly(deadlines, budget).needed_per_s
    unlimited = assess_exactly(deadlines, Budget(None, resumes_ms=budget.resumes_ms))
    assume(needed_per_s > 0)

    def at_risk(rate_per_s: float) -> int:
        return assess_exactly(deadlines, Budget(rate_per_s, resumes_ms=budget.resumes_ms)).at_risk

    assert at_risk(needed_per_s) == unlimited.at_risk
    assert at_risk(needed_per_s * 0.999) > unlimited.at_risk


@given(histograms, budgets, st.sampled_from([0, 5, 30]))
def test_what_the_needed_rate_cannot_save_is_too_near_to_act(
    deadlines: list[tuple[int, int]], budget: Budget, reaction_minutes: int
) -> None:
    found = assess_exactly(deadlines, budget, reaction_minutes * 60_000)

    start_ms = max(NOW, budget.resumes_ms or NOW)
    near = sum(count for at_ms, count in deadlines if NOW < at_ms < start_ms + max(1, reaction_minutes * 60_000))
    assert found.beyond_saving <= min(near, found.at_risk)


@given(histograms, budgets | quotas, st.integers(2, 5))
def test_a_higher_rate_loses_no_more(deadlines: list[tuple[int, int]], budget: Budget, times: int) -> None:
    assert budget.pace_per_s is not None
    faster = replace(budget, pace_per_s=budget.pace_per_s * times)

    assert assess(deadlines, NOW, faster).at_risk <= assess(deadlines, NOW, budget).at_risk


@given(histograms, budgets)
def test_the_first_loss_is_the_first_deadline_that_the_tasks_before_it_leave_no_time_for(
    deadlines: list[tuple[int, int]], budget: Budget
) -> None:
    found = assess_exactly(deadlines, budget)

    ahead = [entry for entry in deadlines if entry[0] > NOW]
    prefixes = [ahead[: number + 1] for number in range(len(ahead))]
    losing = [prefix[-1][0] for prefix in prefixes if assess_exactly(prefix, budget).at_risk]
    assert found.first_loss_ms == (losing[0] if losing else None)


def test_the_figures_of_a_plan_with_fifty_requests_a_day() -> None:
    fifty_a_day = Budget(50 / 86_400)

    found = assess([(NOW + 7 * DAY_MS, 2000)], NOW, fifty_a_day, requests_per_task=1.0)

    assert found.at_risk == 2000 - 351
    assert found.needed_per_s == pytest.approx(1999 / (7 * 86_400))
    assert found.finish_ms == NOW + round(1999 / 50 * DAY_MS)
    assert found.first_loss_ms == NOW + 7 * DAY_MS


@given(histograms, quotas)
def test_a_quota_loses_what_its_windows_have_no_room_for(deadlines: list[tuple[int, int]], budget: Budget) -> None:
    assert budget.pace_per_s is not None
    deadlines = [(at_ms + 1, count) for at_ms, count in deadlines]
    served = most_that_can_be_served(deadlines, budget, round(1000 / budget.pace_per_s))
    found = assess_exactly(deadlines, budget)

    # `assess` keeps the pace even while the quota is used up, so it may place a request or two too early.
    assert served <= found.open_tasks - found.overdue - found.at_risk <= served + 2


def test_what_is_left_of_a_quota_is_counted() -> None:
    deadlines, pace = [(NOW + 6 * HOUR_MS, 60)], 1.0

    left = assess(deadlines, NOW, Budget(pace, pace, QuotaBalance(99, NOW + 20 * HOUR_MS, 100, DAY_MS)))
    used_up = assess(deadlines, NOW, Budget(pace, pace, QuotaBalance(3, NOW + 20 * HOUR_MS, 100, DAY_MS)))
    renewed = assess(deadlines, NOW, Budget(pace, pace, QuotaBalance(3, NOW + 5 * HOUR_MS, 100, DAY_MS)))

    assert (left.at_risk, left.finish_ms) == (0, NOW + 59_000)
    assert (used_up.at_risk, used_up.beyond_saving, used_up.finish_ms) == (57, 0, NOW + 20 * HOUR_MS + 56_000)
    assert (renewed.at_risk, renewed.finish_ms) == (0, NOW + 5 * HOUR_MS + 56_000)


def test_requests_that_are_repeated_take_their_part_of_the_budget() -> None:
    found = assess([(NOW + HOUR_MS, 60)], NOW, Budget(1 / 60), requests_per_task=1.5)

    assert found.at_risk == 60 - 41


def test_tasks_past_their_deadline_are_counted_apart() -> None:
    found = assess([(NOW - DAY_MS, 3), (NOW, 2), (NOW + DAY_MS, 1)], NOW, Budget(1.0))

    assert (found.open_tasks, found.overdue, found.at_risk, found.first_loss_ms) == (6, 5, 0, None)


def test_without_a_limit_only_a_block_loses_tasks() -> None:
    deadlines = [(NOW + HOUR_MS, 1000), (NOW + 3 * HOUR_MS, 1000)]

    free = assess(deadlines, NOW, Budget(None))
    blocked = assess(deadlines, NOW, Budget(None, resumes_ms=NOW + 2 * HOUR_MS))

    assert (free.at_risk, free.finish_ms) == (0, NOW)
    assert (blocked.at_risk, blocked.beyond_saving, blocked.finish_ms) == (1000, 1000, NOW + 2 * HOUR_MS)


def test_an_empty_queue_needs_nothing() -> None:
    found = assess([], NOW, Budget(1.0))

    assert (found.open_tasks, found.at_risk, found.needed_per_s, found.finish_ms) == (0, 0, 0.0, NOW)


@pytest.mark.parametrize(
    ("budget", "is_held_by_setting"),
    [
        (Budget(1.0, setting_per_s=1.0), True),
        (Budget(None, setting_per_s=None), False),
        (Budget(1.0, setting_per_s=1.0, balance=QuotaBalance(9, NOW, 50, DAY_MS)), False),
        (Budget(0.5, setting_per_s=1.0), False),
        (Budget(0.5, setting_per_s=None), False),
    ],
)
def test_it_is_known_whether_the_setting_or_the_api_limits(budget: Budget, *, is_held_by_setting: bool) -> None:
    assert budget.is_held_by_setting == is_held_by_setting


def test_a_slice_of_the_histogram_counts_like_its_tasks_one_by_one() -> None:
    counts = [(NOW + at * 60_000, 1) for at in accumulate([3] * 30)]
    whole = [(at_ms, 1) for at_ms, _ in counts for _ in range(2)]

    assert assess(whole, NOW, Budget(1 / 100)) == assess([(at_ms, 2) for at_ms, _ in counts], NOW, Budget(1 / 100))
