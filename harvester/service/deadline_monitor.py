"""Looks ahead: warns as soon as the request budget will not save every task before its deadline."""

from typing import Protocol

import structlog

from harvester.domain.planning.feasibility import Budget, Deadlines, Feasibility, assess
from harvester.ports.store import DeadlineSource
from harvester.reports.deadline_warning import deadline_warning
from harvester.service.clock import Clock
from harvester.service.progress import Progress

LOOK_EVERY_S = 60.0

CONDITION = "budget"

log = structlog.stdlib.get_logger()


class Limits(Protocol):
    """The rate limit in force; see `harvester.throttle.throttle.Throttle`."""

    def results_budget(self, now_ms: int) -> Budget:
        """Return what may be spent on results from now on."""
        ...

    def press(self, deadlines: Deadlines, now_ms: int) -> None:
        """Take note of the deadlines of the open tasks."""
        ...


async def assess_deadlines(source: DeadlineSource, limits: Limits, now_ms: int) -> Feasibility:
    """Return what the budget in force makes of the open tasks, and let it know them. Raises StoreError."""
    deadlines = await source.deadlines(now_ms)
    limits.press(deadlines, now_ms)
    return assess(deadlines, now_ms, limits.results_budget(now_ms))


class DeadlineMonitor:
    """Keeps `progress` informed: its `feasibility`, and the condition `budget` while tasks are at risk."""

    def __init__(self, source: DeadlineSource, limits: Limits, progress: Progress, clock: Clock) -> None:
        self._source = source
        self._limits = limits
        self._progress = progress
        self._clock = clock
        self._look_at = clock.monotonic()

    async def look(self) -> None:
        """Look ahead, once a minute at most; log when the budget begins to be too small, and when that is over."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        feasibility = await assess_deadlines(self._source, self._limits, self._clock.wall_ms())
        self._look_at = now + LOOK_EVERY_S
        self._progress.feasibility = feasibility
        warning = deadline_warning(feasibility)
        if warning is not None:
            if CONDITION not in self._progress.conditions:
                log.warning("tasks will expire", why=warning, at_risk=feasibility.at_risk)
            self._progress.conditions[CONDITION] = warning
        elif self._progress.conditions.pop(CONDITION, None) is not None:
            log.info("no task is at risk any more")
