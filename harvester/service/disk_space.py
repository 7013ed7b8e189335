"""Checks for free space on the volume of the database: no request goes out without space for its result."""

import math

from harvester.ports.space import LARGE_LOG_BYTES
from harvester.ports.store import SpaceWatch
from harvester.service.clock import Clock
from harvester.service.conditions import set_condition
from harvester.service.progress import Progress
from harvester.throttle.memory_budget import MemoryBudget

SPACE = "space"
LOG = "log"

CHECK_EVERY_S = 0.2
"""Seconds between checks, because a check before each of hundreds of requests a second would cost too much."""

SPARE = 1.25
"""Factor on the needed space for requests to go on: with less, they would stop again at once."""


class DiskSpaceGuard:
    """Updates the conditions `space` (no space for more results) and `log` (a reader keeps the log long)."""

    def __init__(self, source: SpaceWatch, budget: MemoryBudget, progress: Progress, clock: Clock) -> None:
        self._source = source
        self._budget = budget
        self._progress = progress
        self._clock = clock
        self._next_check_at = -math.inf

    def is_short(self) -> bool:
        """Whether the next result might not find space. Results under way count while they are in memory."""
        now = self._clock.monotonic()
        if now < self._next_check_at:
            return False
        space = self._source.free_space()
        if space is None:
            return False
        # A body and its vectors twice: more than is written for it, to the log and then to the database.
        needed = space.needed_bytes + self._budget.held_bytes + self._budget.expected_bytes
        is_short = space.free_bytes < needed * (SPARE if SPACE in self._progress.conditions else 1)
        text = f"{_shown(space.free_bytes)} are free and {_shown(needed)} needed: nothing more is asked for until then"
        set_condition(self._progress, SPACE, text if is_short else None)
        if not is_short:
            self._next_check_at = now + CHECK_EVERY_S
        return is_short

    async def tend_log(self) -> None:
        """Cut the log if possible, and set the condition `log` if a reader keeps it long."""
        report = await self._source.tend_log()
        is_large = report.is_pinned and report.bytes >= LARGE_LOG_BYTES
        text = (
            f"{_shown(report.bytes)} long, and grows until another program ends the read transaction that it has open"
        )
        set_condition(self._progress, LOG, text if is_large else None)


def _shown(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
