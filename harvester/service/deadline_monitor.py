"""Warns as soon as the request budget is too small to save every task before its deadline."""

from typing import Protocol

from harvester.domain.planning.feasibility import Budget, Deadlines, Feasibility, assess
from harvester.ports.log import get_logger
from harvester.ports.store import DeadlineSource
from harvester.reports.deadline_warning import deadline_warning
from harvester.service.clock import Clock
from harvester.service.progress import Progress

CHECK_EVERY_S = 60.0
"""Seconds between two assessments of the deadlines."""

CONDITION = "budget"

log = get_logger()


class Limits(Protocol):
    """The rate limit in force; see `harvester.throttle.throttle.Throttle`."""

    def results_budget(self, now_ms: int) -> Budget:
        """Return how many requests may be spent on results from now on."""
        ...

    def press(self, deadlines: Deadlines, now_ms: int) -> None:
        """Record the deadlines of the open tasks."""
        ...


async def assess_deadlines(source: DeadlineSource, limits: Limits, now_ms: int) -> Feasibility:
    """Return whether the budget in force saves the open tasks; pass their deadlines to `limits`. Raises StoreError."""
    deadlines = await source.deadlines(now_ms)
    limits.press(deadlines, now_ms)
    return assess(deadlines, now_ms, limits.results_budget(now_ms))


class DeadlineMonitor:
    """Updates `progress`: its `feasibility`, and the condition `budget` while tasks are at risk."""

    def __init__(self, source: DeadlineSource, limits: Limits, progress: Progress, clock: Clock) -> None:
        self._source = source
        self._limits = limits
        self._progress = progress
        self._clock = clock
        self._next_check_at = clock.monotonic()

    async def check(self) -> None:
        """Assess the deadlines, once a minute at most; log when the budget becomes too small and when that is over."""
        now = self._clock.monotonic()
        if now < self._next_check_at:
            return
        feasibility = await assess_deadlines(self._source, self._limits, self._clock.wall_ms())
        self._next_check_at = now + CHECK_EVERY_S
        self._progress.feasibility = feasibility
        warning = deadline_warning(feasibility)
        if warning is not None:
            if CONDITION not in self._progress.conditions:
                log.warning("tasks will expire", why=warning, at_risk=feasibility.at_risk)
            self._progress.conditions[CONDITION] = warning
        elif self._progress.conditions.pop(CONDITION, None) is not None:
            log.info("no task is at risk any more")
