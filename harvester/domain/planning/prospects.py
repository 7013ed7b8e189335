"""A pending task with its estimates, and whether to ask about it whatever they say."""

from dataclasses import dataclass
from typing import Final

from harvester.domain.planning.finish_estimates import chance_and_wait
from harvester.domain.planning.poll_times import is_last_chance
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.task import CLOCK_SET_MS, Task

CLOCKS_DIFFER_MS = 60_000
"""Milliseconds: a creation time that is further in the future shows that the clock was set back."""


@dataclass(slots=True)
class Prospect:
    """A pending task, the probability that it has finished, and the expected seconds that it has waited since.

    Not frozen, because a frozen one takes longer to create.
    """

    task: Final[Task]
    chance: Final[float]
    wait_s: Final[float]
    age_s: Final[float]
    is_urgent: Final[bool]
    is_last_chance: Final[bool]


def prospect_of(task: Task, now_ms: int, times: ProcessingTimes) -> Prospect:
    """Return the task with its estimates at `now_ms` (Unix ms)."""
    chance, wait_s = chance_and_wait(task, now_ms, times)
    return Prospect(
        task, chance, wait_s, task.age_ms(now_ms) / 1000, _is_urgent(task, now_ms), is_last_chance(task, now_ms)
    )


def _is_urgent(task: Task, now_ms: int) -> bool:
    """Whether to ask about the task whatever the estimate: its age is unknown, or an answer needs confirmation.

    While the clock shows a time before the task was queued and created, its age would stay 0. CLOCK_SET_MS excludes
    tasks that were queued before the clock was set at all.
    """
    is_unknown = not task.is_dated and task.unfinished_at_ms is None
    is_clock_behind = min(task.created_ms_estimate, max(task.added_at_ms, CLOCK_SET_MS)) > now_ms + CLOCKS_DIFFER_MS
    is_to_be_confirmed = task.gone > 0 or task.invalid > 0 or task.doubted_at_ms is not None
    return is_unknown or is_clock_behind or is_to_be_confirmed
