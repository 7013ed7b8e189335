"""Harvests on virtual time while the API, its list, clocks or processes do what they should not.

In all of them every task ends, with a bounded number of requests, and none waits without need.
"""

from dataclasses import replace

import pytest

from bench.virtual import START_MS, Quirks, Report, Setup, Submission, draw_submissions, run_harvest
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import RETENTION_MS, TaskState
from harvester.simulator.settings import SimulatorSettings
from tests.support.thorough import thorough

TASKS = 90
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
NEVER_MS = 10**15

pytestmark = pytest.mark.usefixtures("quiet")


def tasks(count: int = TASKS, spread_s: float = 180.0, *, seed: int = 1, foreign: bool = False) -> list[Submission]:
    return draw_submissions(
        count, spread_s, seed=seed, foreign=foreign, processing_median_s=120.0, processing_sigma=0.6
    )


def finishing(submissions: list[Submission], *, not_before_s: float) -> list[Submission]:
    earliest_ms = START_MS + round(not_before_s * 1000)
    return [
        replace(one, task=replace(one.task, finished_at_ms=max(one.task.finished_at_ms, earliest_ms)))
        for one in submissions
    ]


def sent(report: Report) -> int:
    return sum(report.requests.values())


def check(report: Report, *, count: int = TASKS, per_task: float, half_within_s: float) -> None:
    assert report.counts[TaskState.HARVESTED] == count == sum(report.counts.values())
    assert set(report.retrieved.values()) == {1}
    assert sent(report) <= per_task * count
    assert report.ready_to_stored_s[count // 2] <= half_within_s


LISTS = {
    "as documented": (Quirks(), 0.0),
    "ignores the status": (Quirks(list_ignores_status=True), 0.0),
    "ignores the window": (Quirks(list_ignores_window=True), 0.0),
    "ignores both and tells no total": (
        Quirks(list_ignores_status=True, list_ignores_window=True, tells_total=False),
        0.0,
    ),
    "oldest first": (Quirks(list_is_ascending=True, tells_total=False), 0.0),
    "empty": (Quirks(list_is_empty=True), 0.0),
    "without dates and total": (Quirks(lists_dates=False, tells_total=False), 0.0),
    "ten at a time": (Quirks(list_page_limit=10), 0.0),
    "ten at a time in secret": (Quirks(list_page_limit=10, tells_page_limit=False), 0.0),
    "ten at a time in secret without a total": (
        Quirks(list_page_limit=10, tells_page_limit=False, tells_total=False),
        0.0,
    ),
    "late by ten seconds": (Quirks(), 10.0),
    "late by five minutes": (Quirks(), 300.0),
    "late by hours": (Quirks(), 3 * HOUR_S),
    "of other words": (Quirks(unfinished="queued"), 0.0),
    **{f"answers {status}": (Quirks(list_problem=status), 0.0) for status in (403, 404, 429, 500)},
}


VARIANTS = {
    *("ignores the status", "ignores the window", "ten at a time", "ten at a time in secret", "late by ten seconds"),
    *("late by hours", "of other words", "answers 403", "answers 404", "answers 500"),
    *("oldest first", "without dates and total", "ten at a time in secret without a total"),
}
"""Lists that go the same way as one of the others, left to `make test-all`."""


@pytest.mark.parametrize(
    ("quirks", "lag_s"),
    [pytest.param(*given, id=name, marks=thorough if name in VARIANTS else ()) for name, given in LISTS.items()],
)
def test_whatever_the_list_does_every_task_is_harvested_soon(quirks: Quirks, lag_s: float) -> None:
    report = run_harvest(tasks(), Setup(requests_per_minute=60, quirks=quirks, list_lag_s=lag_s))
    check(report, per_task=2.5, half_within_s=400.0)
    if quirks.list_problem:
        assert report.requests[Endpoint.LIST] <= 20


@pytest.mark.parametrize("strategy", ["auto", *(pytest.param(one, marks=thorough) for one in ("status", "list"))])
@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(),
        Quirks(list_problem=404),
        Quirks(list_problem=429),
        Quirks(list_is_empty=True),
        Quirks(list_is_ascending=True, tells_total=False),
        Quirks(list_ignores_window=True, tells_total=False),
        Quirks(list_page_limit=10, tells_page_limit=False),
        Quirks(lists_dates=False),
    ],
    ids=["fine", "404", "429", "empty", "oldest first", "window ignored", "ten at a time", "no dates"],
)
def test_asking_once_comes_to_an_end(strategy: str, quirks: Quirks) -> None:
    submissions = draw_submissions(60, 5.0, seed=1, processing_median_s=20.0, processing_sigma=2.0)
    setup = Setup(requests_per_minute=240, strategy=strategy, quirks=quirks, asks_once=True, stop_after_s=HOUR_S)
    report = run_harvest(submissions, setup)
    assert report.is_over
    assert sent(report) <= 3.5 * len(submissions)
    assert report.counts[TaskState.READY] == 0


IDS = {"opaque": (True, 0.0), "hours ahead": (False, 5 * HOUR_S), "hours behind": (False, -5 * HOUR_S)}


@pytest.mark.parametrize(
    ("opaque", "ahead_s"),
    [pytest.param(*given, id=name, marks=thorough if name == "opaque" else ()) for name, given in IDS.items()],
)
def test_ids_need_not_tell_the_time(opaque: bool, ahead_s: float) -> None:  # noqa: FBT001
    submissions = draw_submissions(
        TASKS, 180.0, seed=1, processing_median_s=120.0, processing_sigma=0.6, opaque_ids=opaque, ids_ahead_s=ahead_s
    )
    check(run_harvest(submissions, Setup(requests_per_minute=60)), per_task=3.5, half_within_s=400.0)


@pytest.mark.parametrize("ahead_s", [HOUR_S, pytest.param(-HOUR_S, marks=thorough)])
def test_a_clock_that_is_wrong_by_an_hour_costs_minutes(ahead_s: float) -> None:
    report = run_harvest(tasks(), Setup(requests_per_minute=60, clock_ahead_s=ahead_s))
    check(report, per_task=3.0, half_within_s=900.0)
    assert report.makespan_s <= HOUR_S


@pytest.mark.parametrize("processing_s", [120.0, pytest.param(600.0, marks=thorough)])
def test_more_tasks_in_one_second_than_a_page_holds_are_all_found(processing_s: float) -> None:
    submissions = draw_submissions(120, 0.9, seed=1, processing_median_s=processing_s, processing_sigma=0.5)
    report = run_harvest(submissions, Setup(requests_per_minute=120))
    check(report, count=120, per_task=4.0, half_within_s=300.0)


def test_a_thousand_foreign_tasks_a_minute_make_pages_dear_and_nothing_else() -> None:
    report = run_harvest([*tasks(), *tasks(4000, foreign=True)], Setup(requests_per_minute=60))
    check(report, per_task=2.5, half_within_s=300.0)


def test_an_outage_of_six_hours_costs_few_requests() -> None:
    setup = Setup(requests_per_minute=60, recheck_s=5.0)
    report = run_harvest(finishing(tasks(60), not_before_s=6 * HOUR_S), setup)
    check(report, count=60, per_task=5.0, half_within_s=1800.0)


def test_tasks_that_hang_are_asked_about_ever_more_rarely_and_delay_no_others() -> None:
    hung = [replace(one, task=replace(one.task, finished_at_ms=NEVER_MS)) for one in tasks(70, seed=7)]
    setup = Setup(requests_per_minute=60, recheck_s=5.0, stop_after_s=3 * HOUR_S)
    report = run_harvest([*hung, *tasks()], setup)
    assert report.counts[TaskState.HARVESTED] == TASKS
    assert report.counts[TaskState.PENDING] == len(hung)
    assert report.makespan_s <= 2000
    assert sent(report) <= 8 * (TASKS + len(hung))


@pytest.mark.parametrize("problem", [400, pytest.param(404, marks=thorough)])
def test_a_result_that_is_asked_for_too_early_is_asked_for_again(problem: int) -> None:
    setup = Setup(requests_per_minute=60, quirks=Quirks(early_problem=problem))
    check(run_harvest(tasks(), setup), per_task=2.0, half_within_s=60.0)


@pytest.mark.parametrize(
    "ahead_s", [pytest.param(0.0, id="opaque ids"), pytest.param(HOUR_S, id="a clock ahead", marks=thorough)]
)
def test_a_404_for_a_result_that_does_not_exist_yet_costs_no_task(ahead_s: float) -> None:
    submissions = draw_submissions(
        TASKS, 180.0, seed=1, processing_median_s=600.0, processing_sigma=0.6, opaque_ids=ahead_s == 0
    )
    setup = Setup(requests_per_minute=60, quirks=Quirks(early_problem=404), clock_ahead_s=ahead_s)
    # The first 404 about a task also asks the other API version, which answers the same.
    check(run_harvest(submissions, setup), per_task=10.0, half_within_s=900.0)


@pytest.mark.parametrize(
    "setup",
    [
        Setup(requests_per_minute=60, processes=2),
        Setup(requests_per_minute=60, processes=2, lease_s=5.0, latency_s=4.0),
        Setup(requests_per_minute=60, restart_every_s=45.0),
    ],
    ids=["two processes", "leases as short as the answers", "restarts"],
)
def test_processes_that_share_a_database_or_begin_anew_waste_little(setup: Setup) -> None:
    check(run_harvest(tasks(), setup), per_task=2.2, half_within_s=60.0)


@pytest.mark.parametrize(
    "strategy", [pytest.param(one, marks=() if one == Strategy.AUTO else thorough) for one in Strategy]
)
def test_a_budget_that_can_save_all_saves_all_whatever_the_strategy_is(strategy: Strategy) -> None:
    """Thirty-five requests in the seven days: to ask first about thirty tasks takes sixty."""
    setup = Setup(requests_per_minute=5 / (24 * 60), strategy=strategy, recheck_s=300.0, lease_s=HOUR_S)
    report = run_harvest(tasks(30), setup)
    check(report, count=30, per_task=1.1, half_within_s=4 * DAY_S)


@pytest.mark.parametrize(
    ("strategy", "restart_every_s"),
    [
        ("auto", 25.0),
        ("status", 45.0),
        *(pytest.param(*one, marks=thorough) for one in (("auto", 45.0), ("status", 25.0))),
    ],
)
def test_runs_that_are_shorter_than_the_wait_for_a_request_come_to_an_end(
    strategy: str, restart_every_s: float
) -> None:
    report = run_harvest(tasks(30), Setup(requests_per_minute=1, restart_every_s=restart_every_s, strategy=strategy))
    check(report, count=30, per_task=2.2, half_within_s=HOUR_S)


def test_without_a_limit_each_task_still_costs_few_requests() -> None:
    check(run_harvest(tasks(), Setup(requests_per_minute=0)), per_task=4.0, half_within_s=30.0)


@pytest.mark.parametrize(
    ("strategy", "quirks"),
    [
        pytest.param("auto", Quirks(list_is_frozen=True), id="auto, frozen"),
        pytest.param("auto", Quirks(list_is_empty=True), id="auto, empty", marks=thorough),
        pytest.param("list", Quirks(list_is_frozen=True), id="list, frozen", marks=thorough),
        pytest.param("list", Quirks(list_problem=404), id="list, 404", marks=thorough),
    ],
)
def test_with_fifty_requests_a_day_and_a_useless_list_nothing_is_lost(strategy: str, quirks: Quirks) -> None:
    submissions = draw_submissions(80, 60.0, seed=1)
    setup = Setup(
        strategy=strategy,
        quirks=quirks,
        recheck_s=300.0,
        lease_s=2 * HOUR_S,
        server_limits=SimulatorSettings(requests_per_day=50),
        stop_after_s=7 * DAY_S,
    )
    report = run_harvest(submissions, setup)
    assert report.counts[TaskState.HARVESTED] == len(submissions)
    assert report.makespan_s < RETENTION_MS / 1000


@pytest.mark.parametrize(("processes", "restart_every_s"), [(2, None), (1, HOUR_S)], ids=["together", "restarts"])
def test_a_quota_of_a_day_is_shared_and_outlives_a_restart_without_a_refusal(
    processes: int, restart_every_s: float | None
) -> None:
    setup = Setup(
        processes=processes,
        restart_every_s=restart_every_s,
        recheck_s=300.0,
        lease_s=2 * HOUR_S,
        server_limits=SimulatorSettings(requests_per_day=50),
        stop_after_s=4 * DAY_S,
    )
    report = run_harvest(draw_submissions(TASKS, 60.0, seed=1), setup)
    # Questions before the quota is known leave the median result to the tenth that is spread over the day.
    check(report, per_task=1.1, half_within_s=15 * HOUR_S)
    assert DAY_S < report.makespan_s < 2 * DAY_S
    assert sum(report.refused.values()) == 0
    # The last tenth is spread over the day, restart or not; two processes may send the last two at the same time.
    first_day = [at_ms for at_ms in report.stored_at_ms.values() if at_ms - START_MS < DAY_S * 1000]
    assert max(first_day) - START_MS > 11 * HOUR_S * 1000
