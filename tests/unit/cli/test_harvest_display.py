"""What a running harvest says that it waits for."""

import pytest

from harvester.cli.harvest_display import plain_line
from harvester.domain.tasks.task import RETENTION_MS, TaskState
from harvester.service.progress import Progress
from tests.support.web_builders import StandingClock


def waiting(tasks: int, *, age_s: float, due_in_s: float) -> str:
    """Return the line of a harvest whose oldest task has that age."""
    clock = StandingClock()
    now_ms = clock.wall_ms()
    progress = Progress(started=clock.monotonic(), is_waiting=True)
    progress.counts[TaskState.PENDING] = tasks
    progress.next_due_ms = now_ms + round(due_in_s * 1000)
    progress.nearest_deadline_ms = now_ms - round(age_s * 1000) + RETENTION_MS
    return plain_line(progress, clock)


@pytest.mark.parametrize(
    ("tasks", "age_s", "due_in_s", "said"),
    [
        (5, 48, 12, "next look in 12 s: 5 tasks are younger than a minute"),
        (1, 60, 3, "next look in 3 s: 1 task is younger than a minute"),
        (2, 61, 90, "next look in 1 min 30 s: 2 tasks are younger than 2 minutes"),
        (2, 3600, 5, "next look in 5 s: 2 tasks are younger than 60 minutes"),
        (7, 3601, 5, "next look in 5 s: 7 tasks not finished yet"),
        (5, 48, 0, "no request is due yet, `harvester plan` shows what is next"),
    ],
)
def test_a_harvest_that_waits_says_until_when_and_why(tasks: int, age_s: float, due_in_s: float, said: str) -> None:
    assert said in waiting(tasks, age_s=age_s, due_in_s=due_in_s).split("; ")


def test_a_harvest_without_open_tasks_waits_for_nothing() -> None:
    assert "next look" not in waiting(0, age_s=48, due_in_s=12)
