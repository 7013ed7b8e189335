"""A pause, on virtual time: no process sends a request while it lasts, and all go on afterwards."""

from dataclasses import replace

import pytest

from bench.virtual import START_MS, Setup, draw_submissions, run_harvest
from harvester.domain.tasks.task import TaskState
from harvester.service.pause_watch import READ_EVERY_S

pytestmark = pytest.mark.usefixtures("quiet")

TASKS = 40
LATENCY_S = 0.5
PAUSED_S = (10.0, 310.0)


@pytest.mark.parametrize("chosen", [{"processes": 2}, {"asks_once": True}, {"strategy": "status"}], ids=str)
def test_nothing_is_asked_during_a_pause_and_everything_afterwards(chosen: dict[str, object]) -> None:
    made = draw_submissions(TASKS, 0.0, seed=1, processing_median_s=0.01, processing_sigma=0.01)
    setup = Setup(requests_per_minute=60, latency_s=LATENCY_S, stop_after_s=3600.0, paused_s=PAUSED_S)

    report = run_harvest(made, replace(setup, **chosen))  # type: ignore[arg-type]

    assert report.counts[TaskState.HARVESTED] == TASKS
    stored_s = [(at_ms - START_MS) / 1000 for at_ms in report.stored_at_ms.values()]
    # What was under way is finished: it went out within the time for which a reading holds.
    last_s = PAUSED_S[0] + 2 * READ_EVERY_S + 2 * LATENCY_S
    assert [at_s for at_s in stored_s if last_s < at_s < PAUSED_S[1]] == []
    assert min(stored_s) < PAUSED_S[0] < PAUSED_S[1] < max(stored_s)
