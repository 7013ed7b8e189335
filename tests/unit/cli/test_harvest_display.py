"""What a running harvest says that it waits for."""

import io

import pytest
from rich.console import Console

from harvester.cli.harvest_display import _picture, plain_line
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


def drawn(progress: Progress) -> list[str]:
    """Return the picture in a terminal of 80 columns."""
    file = io.StringIO()
    Console(width=80, file=file).print(_picture(progress, StandingClock()))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_before_the_queue_is_read_the_display_does_not_say_that_it_is_empty() -> None:
    lines = drawn(Progress(started=StandingClock().monotonic()))

    assert lines[-1] == "starting"


def test_a_large_queue_with_a_long_way_to_go_fits_80_columns() -> None:
    progress = Progress(started=StandingClock().monotonic(), bytes_received=309_300_000)
    progress.counts |= {TaskState.PENDING: 1_234_567, TaskState.HARVESTED: 1}

    lines = drawn(progress)

    assert lines[0].endswith("  1/1234568")
    assert lines[1] == "0.0 tasks/s  309.3 MB"
    assert lines[2] == "1234567 pending, 1 harvested"


def test_a_harvest_without_open_tasks_waits_for_nothing() -> None:
    assert "next look" not in waiting(0, age_s=48, due_in_s=12)
