"""An API that answers wrongly for an hour loses no task, and a task that does not exist ends within a day.

On virtual time, with the real scheduler, planner and store.
"""

import random
from dataclasses import replace

import pytest

from bench.virtual import Quirks, Report, Setup, Submission, Trouble, draw_submissions, run_harvest
from harvester.domain.tasks.task import ApiVersion, TaskState
from tests.support.thorough import thorough

TASKS = 30
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

KINDS = ["gone", "unacceptable", "empty", "invalid", "failed"]

pytestmark = pytest.mark.usefixtures("quiet")


def tasks(count: int = TASKS, spread_s: float = 180.0, *, seed: int = 1) -> list[Submission]:
    return draw_submissions(count, spread_s, seed=seed, processing_median_s=60.0, processing_sigma=0.6)


def mistyped(count: int, *, seed: int = 9) -> list[Submission]:
    return [replace(one, exists=False) for one in tasks(count, seed=seed)]


def counts(report: Report) -> dict[TaskState, int]:
    return {state: count for state, count in report.counts.items() if count}


@pytest.mark.parametrize(
    ("kind", "share", "in_list"),
    [
        *((kind, 1.0, False) for kind in KINDS),
        ("gone", 1.0, True),
        ("gone", 0.3, False),
        *(pytest.param(kind, 1.0, True, marks=thorough) for kind in KINDS[1:]),
        *(pytest.param(kind, 0.3, in_list, marks=thorough) for kind in KINDS[:3] for in_list in (False, True)),
    ],
)
def test_an_api_that_answers_wrongly_for_an_hour_loses_no_task(kind: str, share: float, *, in_list: bool) -> None:
    trouble = Trouble(kind=kind, from_s=100.0, until_s=100.0 + HOUR_S, share=share, in_list=in_list)
    report = run_harvest(tasks(), Setup(trouble=trouble, recheck_s=20.0, stop_after_s=2 * DAY_S))
    assert counts(report) == {TaskState.HARVESTED: TASKS}
    # Soon after the API is well again, and not after a wait of hours.
    assert report.makespan_s <= 2 * HOUR_S
    assert sum(report.requests.values()) <= 14 * TASKS


@pytest.mark.parametrize("kind", ["gone", "invalid", *(pytest.param(kind, marks=thorough) for kind in KINDS[1:3])])
def test_restarts_in_the_middle_of_the_hour_lose_none_either(kind: str) -> None:
    trouble = Trouble(kind=kind, from_s=100.0, until_s=100.0 + HOUR_S)
    setup = Setup(trouble=trouble, recheck_s=20.0, restart_every_s=300.0, stop_after_s=DAY_S)
    assert counts(run_harvest(tasks(), setup)) == {TaskState.HARVESTED: TASKS}


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("kind", ["gone", "invalid", pytest.param("unacceptable", marks=thorough)])
def test_a_few_tasks_are_not_lost_either_while_nothing_else_is_answered(kind: str, count: int) -> None:
    trouble = Trouble(kind=kind, until_s=HOUR_S, in_list=True)
    report = run_harvest(tasks(count), Setup(trouble=trouble, recheck_s=20.0, stop_after_s=2 * DAY_S))
    assert counts(report) == {TaskState.HARVESTED: count}


@pytest.mark.parametrize(
    ("good", "bad"),
    [(0, 1), (20, 3), (5, 15), pytest.param(0, 40, marks=thorough), pytest.param(10, 60, marks=thorough)],
)
def test_tasks_that_do_not_exist_end_within_a_day(good: int, bad: int) -> None:
    setup = Setup(recheck_s=5.0, stop_after_s=DAY_S)
    report = run_harvest([*tasks(good), *mistyped(bad)] if good else mistyped(bad), setup)
    assert counts(report) == {TaskState.MISSING: bad} | ({TaskState.HARVESTED: good} if good else {})
    assert sum(report.requests.values()) <= 3 * good + 10 * bad


def test_a_few_mistyped_ids_end_within_a_minute_among_others() -> None:
    report = run_harvest([*tasks(20), *mistyped(2)], Setup(stop_after_s=1200.0))
    assert counts(report) == {TaskState.HARVESTED: 20, TaskState.MISSING: 2}


def test_tasks_that_only_the_other_version_knows_are_harvested_there() -> None:
    both = tasks(40)
    only_in: dict[str, ApiVersion] = {one.task.task_id: "v2" for one in both[::2]}
    report = run_harvest(both, Setup(only_in=only_in, stop_after_s=DAY_S, recheck_s=20.0))
    assert counts(report) == {TaskState.HARVESTED: 40}


def test_lists_that_show_only_the_tasks_of_their_version_tell_the_version_of_each_task() -> None:
    both = draw_submissions(200, 60.0, seed=1, processing_median_s=120.0)
    rng = random.Random(1)
    only_in: dict[str, ApiVersion] = {one.task.task_id: rng.choice(("v1", "v2")) for one in both}
    setup = Setup(only_in=only_in, quirks=Quirks(lists_are_separate=True), requests_per_minute=600, stop_after_s=DAY_S)
    report = run_harvest(both, setup)
    assert counts(report) == {TaskState.HARVESTED: 200}
    # Half of the tasks would be asked in the wrong version first, and most would be asked singly before that.
    assert sum(report.requests.values()) < 3 * 200
