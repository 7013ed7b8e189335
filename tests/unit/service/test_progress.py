"""A running harvest's estimate of the time that it still takes."""

import pytest

from harvester.domain.planning.feasibility import Budget, assess
from harvester.domain.tasks.task import TaskState
from harvester.service.progress import Progress

NOW_MS = 1_760_000_000_000
DAY_MS = 86_400_000


def progress(*ends: float, left: int) -> Progress:
    """A harvest that began at 0 s; tasks have ended at the times `ends`, and `left` are open."""
    shown = Progress(started=0.0)
    shown.counts[TaskState.PENDING] = left + len(ends)
    for at in ends:
        shown.record_transition(TaskState.PENDING, TaskState.HARVESTED, at)
    return shown


def test_the_wait_for_the_first_result_does_not_count() -> None:
    assert progress(*range(30, 41), left=20).eta_s(40.0, NOW_MS) == pytest.approx(20.0)


def test_the_first_few_ends_say_nothing() -> None:
    assert progress(30.0, 31.0, 32.0, 33.0, left=20).eta_s(33.0, NOW_MS) is None


def test_many_ends_in_one_transaction_are_not_a_rate_without_end() -> None:
    assert progress(*[30.0] * 9, left=20).eta_s(30.0, NOW_MS) == pytest.approx(2.5)


def test_what_the_budget_does_not_allow_is_not_promised() -> None:
    shown = progress(*range(10), left=101)
    shown.feasibility = assess([(NOW_MS + DAY_MS, 101)], NOW_MS, Budget(pace_per_s=0.001))
    assert shown.eta_s(10.0, NOW_MS) == pytest.approx(100_000.0)


def test_while_all_tasks_wait_there_is_no_estimate() -> None:
    shown = progress(*range(10), left=10)
    shown.is_waiting = True
    assert shown.eta_s(10.0, NOW_MS) is None
