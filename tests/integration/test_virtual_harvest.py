"""Whole harvests on virtual time: the real scheduler, pipeline, throttle and SQL against a model of the API."""

import asyncio
from pathlib import Path

import pytest

from bench.virtual import Report, Setup, draw_submissions, run_harvest, run_virtually
from harvester.domain.pacing import Endpoint
from harvester.domain.tasks import DAY_MS, TaskState
from harvester.simulator.settings import SimulatorSettings

TASKS = 200


def harvest(database: Path, setup: Setup, *, failed_ratio: float = 0.0, opaque_ids: bool = False) -> Report:
    ours = draw_submissions(TASKS, 120.0, seed=1, failed_ratio=failed_ratio, opaque_ids=opaque_ids)
    theirs = draw_submissions(TASKS, 120.0, seed=1, foreign=True)
    return run_harvest([*ours, *theirs], setup, database)


@pytest.mark.parametrize("opaque_ids", [False, True])
def test_every_task_is_harvested_with_one_download(tmp_path: Path, opaque_ids: bool) -> None:  # noqa: FBT001
    report = harvest(tmp_path / "harvester.db", Setup(requests_per_minute=600), opaque_ids=opaque_ids)
    assert report.counts[TaskState.HARVESTED] == TASKS == sum(report.counts.values())
    assert list(report.retrieved.values()) == [1] * TASKS
    assert report.ready_to_stored_s[0] >= 0


def test_the_same_seed_gives_the_same_harvest(tmp_path: Path) -> None:
    setup = Setup(requests_per_minute=120, error_ratio=0.1, seed=3)
    assert harvest(tmp_path / "first.db", setup) == harvest(tmp_path / "second.db", setup)


def test_another_seed_gives_another_harvest(tmp_path: Path) -> None:
    first, second = (
        harvest(tmp_path / f"{seed}.db", Setup(requests_per_minute=600, error_ratio=0.1, seed=seed)) for seed in (1, 2)
    )
    assert first.stored_at_ms != second.stored_at_ms


def test_no_more_requests_go_out_than_the_rate_allows(tmp_path: Path) -> None:
    report = harvest(tmp_path / "harvester.db", Setup(requests_per_minute=60))
    assert TASKS <= sum(report.requests.values()) <= report.makespan_s + 1


def test_failed_tasks_end_as_failed(tmp_path: Path) -> None:
    report = harvest(tmp_path / "harvester.db", Setup(requests_per_minute=600), failed_ratio=0.3)
    assert 0 < report.counts[TaskState.FAILED] == TASKS - report.counts[TaskState.HARVESTED]


def test_a_daily_limit_of_the_server_is_learned_from_its_answers(tmp_path: Path) -> None:
    limits = SimulatorSettings(requests_per_day=50)
    setup = Setup(requests_per_minute=600, server_limits=limits, stop_after_s=1.5 * DAY_MS / 1000)
    report = harvest(tmp_path / "harvester.db", setup)
    assert sum(report.requests.values()) - sum(report.refused.values()) == 2 * 50
    assert sum(report.refused.values()) <= 2 * len(Endpoint) * setup.concurrency


def test_a_loop_in_which_nobody_can_run_again_says_so() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="no timer is set"):
        run_virtually(wait_for_nobody())
