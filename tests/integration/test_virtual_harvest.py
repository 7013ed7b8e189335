"""Whole harvests on virtual time: the real scheduler, pipeline, throttle and SQL against a model of the API."""

import asyncio
from collections import Counter
from dataclasses import replace

import anyio
import pytest

from bench.virtual import (
    START_MS,
    InlineStore,
    ModelApi,
    Quirks,
    Report,
    Setup,
    Submission,
    VirtualClock,
    draw_submissions,
    run_harvest,
    run_virtually,
)
from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.tasks.task import RETENTION_MS, TaskState
from harvester.service.discovery import DiscoveryParts, discover
from harvester.service.discovery_report import DiscoveryReport
from harvester.simulator.settings import SimulatorSettings
from harvester.throttle.throttle import Throttle
from tests.support.harvest_parts import never_paused
from tests.support.thorough import thorough

TASKS = 200

pytestmark = pytest.mark.usefixtures("quiet")


def tasks(*, ours: bool = True, failed_ratio: float = 0.0, opaque_ids: bool = False) -> list[Submission]:
    return draw_submissions(
        TASKS,
        60.0,
        seed=1,
        foreign=not ours,
        processing_median_s=60.0,
        processing_sigma=0.3,
        failed_ratio=failed_ratio,
        opaque_ids=opaque_ids,
    )


def sent(report: Report) -> int:
    return sum(report.requests.values())


@pytest.mark.parametrize("opaque_ids", [False, pytest.param(True, marks=thorough)])
def test_every_task_is_harvested_with_one_download(opaque_ids: bool) -> None:  # noqa: FBT001
    ours, theirs = tasks(opaque_ids=opaque_ids), tasks(ours=False)
    report = run_harvest([*ours, *theirs], Setup(requests_per_minute=600))
    assert report.counts[TaskState.HARVESTED] == TASKS == sum(report.counts.values())
    assert dict(report.retrieved) == {submission.task.task_id: 1 for submission in ours}
    assert report.ready_to_stored_s[0] >= 0


@pytest.mark.parametrize("strategy", ["auto", pytest.param("list", marks=thorough)])
def test_where_ids_have_no_time_pages_are_requested_once_answers_have_stated_it(strategy: str) -> None:
    report = run_harvest(tasks(opaque_ids=True), Setup(requests_per_minute=60, strategy=strategy))
    assert report.counts[TaskState.HARVESTED] == TASKS
    assert report.requests[Endpoint.LIST] > 0
    assert sent(report) < 2.5 * TASKS


def test_the_same_seed_gives_the_same_harvest() -> None:
    setup = Setup(requests_per_minute=300, error_ratio=0.1, seed=3)
    assert run_harvest(tasks()[:60], setup) == run_harvest(tasks()[:60], setup)


def test_another_seed_gives_another_harvest() -> None:
    setups = [Setup(requests_per_minute=300, error_ratio=0.1, seed=seed) for seed in (1, 2)]
    one, other = (run_harvest(tasks()[:60], setup) for setup in setups)
    assert one.stored_at_ms != other.stored_at_ms


def test_no_more_requests_go_out_than_the_rate_allows() -> None:
    report = run_harvest(tasks(), Setup(requests_per_minute=60))
    assert TASKS <= sent(report) <= report.makespan_s + 1


@pytest.mark.parametrize("processes", [3, *(pytest.param(fewer, marks=thorough) for fewer in (1, 2))])
def test_processes_on_one_database_send_no_more_than_the_rate_allows_together(processes: int) -> None:
    """Also where a process claims more ahead than it leases at a time."""
    per_s, submissions = 50, draw_submissions(1000, 1.0, seed=1, processing_median_s=1.0, processing_sigma=0.1)
    report = run_harvest(submissions, Setup(requests_per_minute=60 * per_s, processes=processes, concurrency=32))
    assert report.counts[TaskState.HARVESTED] == len(submissions)
    stored_ms = report.stored_at_ms.values()
    # A lease holds a third of a second's requests.
    assert len(stored_ms) <= per_s * ((max(stored_ms) - min(stored_ms)) / 1000 + processes / 3)


def test_a_tighter_budget_goes_into_results_and_a_spare_one_buys_shorter_waits() -> None:
    submissions = draw_submissions(300, 300.0, seed=1, processing_median_s=120.0)
    reports = [run_harvest(submissions, Setup(requests_per_minute=rate)) for rate in (20, 60, 600)]
    shares = [report.requests[Endpoint.RETRIEVE] / sent(report) for report in reports]
    waits_s = [report.ready_to_stored_s[150] for report in reports]
    assert shares[0] > 0.9 > shares[1] > shares[2]
    assert waits_s == sorted(waits_s, reverse=True)


def test_by_pages_tasks_are_asked_about_singly_where_a_page_cannot_show_them_all() -> None:
    """All in one second, of which every page shows the same fifty."""
    at_once = draw_submissions(300, 0.0, seed=1, processing_median_s=60.0, processing_sigma=0.3)
    report = run_harvest(at_once, Setup(requests_per_minute=300, strategy="list"))
    assert report.harvested == 300
    assert report.requests[Endpoint.LIST] < 30
    assert sent(report) < 3 * 300
    # Two requests each, at 300 a minute.
    assert report.ready_to_stored_s[-1] < 150


def of_age(submissions: list[Submission], age_s: float) -> list[Submission]:
    """Return the same as if they had been submitted so much earlier, and queued only now."""
    aged = []
    for one in submissions:
        created_ms = one.task.created_at_ms - round(age_s * 1000)
        task_id = f"{created_ms // 1000:08x}{one.task.task_id[8:]}"
        finished_ms = one.task.finished_at_ms - round(age_s * 1000)
        task = replace(one.task, task_id=task_id, created_at_ms=created_ms, finished_at_ms=finished_ms)
        aged.append(replace(one, task=task))
    return aged


@pytest.mark.parametrize("strategy", ["auto", "list", pytest.param("status", marks=thorough)])
def test_what_is_near_its_deadline_is_served_in_time_where_the_budget_allows_it(strategy: str) -> None:
    """At a request a minute, with hundreds of others: there is no time to ask first, whatever the strategy is."""
    minutes = 60
    near = of_age(draw_submissions(50, 1.0, seed=1), RETENTION_MS / 1000 - 60 * minutes)
    others = of_age(draw_submissions(300, 1.0, seed=2), 86_400.0)
    report = run_harvest(
        [*others, *near], Setup(requests_per_minute=1, strategy=strategy, lease_s=600, stop_after_s=60.0 * minutes)
    )
    assert {one.task.task_id for one in near} <= set(report.stored_at_ms)


def test_what_is_left_of_a_quota_is_not_saved_up_beyond_the_deadline_of_a_task() -> None:
    """The last five of fifty requests a day would go out hours apart; three tasks come, and expire in an hour."""
    setup = Setup(server_limits=SimulatorSettings(requests_per_day=50), recheck_s=60.0, stop_after_s=12 * 3600.0)
    others = of_age(draw_submissions(100, 1.0, seed=1), 86_400.0)
    near = of_age(draw_submissions(3, 1.0, seed=2), RETENTION_MS / 1000 - 3600 - 600)
    report = run_harvest([*others, *(replace(one, queued_at_ms=START_MS + 600_000) for one in near)], setup)
    assert {one.task.task_id for one in near} <= set(report.stored_at_ms)
    # Requests without a near deadline are still spread: one of the last two had its turn.
    assert (report.requests.total(), report.refused.total()) == (49, 0)


def test_failed_tasks_end_as_failed() -> None:
    report = run_harvest(tasks(failed_ratio=0.3), Setup(requests_per_minute=600))
    assert 0 < report.counts[TaskState.FAILED] == TASKS - report.counts[TaskState.HARVESTED]


def test_a_limit_of_the_server_is_learned_from_its_answers() -> None:
    setup = Setup(requests_per_minute=600, server_limits=SimulatorSettings(requests_per_minute=30))
    report = run_harvest(tasks(), setup)
    assert report.counts[TaskState.HARVESTED] == TASKS
    windows = report.makespan_s / 60
    assert sum(report.refused.values()) <= windows * setup.concurrency


def test_the_list_shows_every_task_as_it_was_a_lag_ago() -> None:
    lag_s, listed_after_s = 20.0, 100.0
    submissions = [*tasks(failed_ratio=0.2), *tasks(ours=False)]

    async def discover_late() -> DiscoveryReport:
        async with InlineStore() as store:
            clock = VirtualClock()
            throttle = Throttle(RateLimit(0), clock.monotonic)
            api = ModelApi([one.task for one in submissions], clock, throttle, latency_s=0.0, list_lag_s=lag_s)
            await anyio.sleep(listed_after_s)
            parts = DiscoveryParts(api=api, throttle=throttle, store=store, clock=clock, pause=never_paused(clock))
            return await discover(parts, START_MS)

    report = run_virtually(discover_late())
    shown_at_ms = START_MS + round((listed_after_s - lag_s) * 1000)
    expected = Counter(one.task.status_at(shown_at_ms) for one in submissions)
    found = {"ready": TaskState.READY, "failed": TaskState.FAILED, "processing": TaskState.PENDING}
    assert {state: report.queued.new_states[found[state]] for state in expected} == expected
    assert set(expected) == set(found)
    assert report.requests < len(submissions) / 10


def test_a_loop_in_which_no_task_can_run_again_is_an_error() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="no timer is set"):
        run_virtually(wait_for_ever())


def test_models_that_results_do_not_name_cost_one_page_for_fifty() -> None:
    """No page is needed otherwise: the tasks have finished long before they are queued."""
    finished = draw_submissions(TASKS, 60.0, seed=1, processing_median_s=60.0, queued_after_s=7200.0)
    setup = Setup(requests_per_minute=600, quirks=Quirks(hides_models=True))
    report = run_harvest(finished, setup)
    assert (report.harvested, report.without_model) == (TASKS, 0)
    assert (report.requests[Endpoint.RETRIEVE], report.requests[Endpoint.STATUS]) == (TASKS, 0)
    assert TASKS / 50 <= report.requests[Endpoint.LIST] <= TASKS / 50 + 2


@thorough
@pytest.mark.parametrize("problem", [403, 500])
def test_a_list_that_is_refused_costs_a_handful_of_requests_and_leaves_the_results(problem: int) -> None:
    finished = draw_submissions(60, 60.0, seed=1, processing_median_s=60.0, queued_after_s=7200.0)
    quirks = Quirks(hides_models=True, list_problem=problem)
    report = run_harvest(finished, Setup(requests_per_minute=600, quirks=quirks, stop_after_s=6 * 3600.0))
    assert (report.harvested, report.without_model) == (60, 60)
    assert report.requests[Endpoint.LIST] <= 20
