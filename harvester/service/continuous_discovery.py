"""Read the account's list of tasks again and again, as a schedule says."""

import math
from collections.abc import Callable

import anyio

from harvester.domain.errors import StoreBusyError
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.tasks.outcomes import Refused
from harvester.ports.log import get_logger
from harvester.service.clock import Clock
from harvester.service.conditions import set_condition
from harvester.service.discovery import DiscoveryParts, discover
from harvester.service.discovery_range import DiscoveryRange, Schedule
from harvester.service.discovery_report import DiscoveryReport
from harvester.service.progress import Progress

RETRY_PASS_S = 60.0
SCHEDULE_S = 5.0
"""Seconds after which a changed schedule takes effect at the latest."""

CONDITION = "discovery"

log = get_logger()


async def keep_discovering(
    parts: DiscoveryParts, progress: Progress, schedule: Callable[[], Schedule | None]
) -> Refused:
    """Read the list at once and then again and again, as `schedule` returns it; pause while it returns None.

    A failure sets a condition of `progress`, which the next complete pass ends. Returns only when the API refuses the
    key. Raises StoreError.
    """
    clock, reach, failures = parts.clock, DiscoveryRange(), 0
    while True:
        plan = schedule()
        if plan is None:
            await clock.wait(anyio.Event(), SCHEDULE_S)
            continue
        started = clock.monotonic()
        since_ms = reach.since_ms(plan, clock.wall_ms(), started)
        try:
            report = await discover(parts, since_ms)
        except StoreBusyError as error:
            report = DiscoveryReport(problem=f"The database cannot be written: {error.reason}.")
        progress.requests[Endpoint.LIST] += report.requests
        if report.refusal is not None:
            return report.refusal
        _report(report, progress)
        failures = 0 if report.is_complete else failures + 1
        if report.is_complete:
            reach.done(plan, report, since_ms=since_ms, now_ms=clock.wall_ms(), started=started)
        # After a failure the next pass comes sooner than planned, but each further failure doubles the wait.
        at_most_s = RETRY_PASS_S * 2 ** min(failures - 1, 20) if failures else math.inf
        await _pause(clock, started, schedule, at_most_s, parts.rng.uniform(0.9, 1.1))


async def _pause(
    clock: Clock, started: float, schedule: Callable[[], Schedule | None], at_most_s: float, share: float
) -> None:
    """Wait until the next pass is due, after `share` times the interval; a schedule that changes meanwhile counts."""
    while (plan := schedule()) is not None:
        left_s = started + min(plan.every_s, at_most_s) * share - clock.monotonic()
        if left_s <= 0:
            return
        await clock.wait(anyio.Event(), min(left_s, SCHEDULE_S))


def _report(report: DiscoveryReport, progress: Progress) -> None:
    queued = report.queued
    set_condition(progress, CONDITION, report.problem)
    level = log.info if queued.new_ids or queued.moved else log.debug
    level("discovered", new=len(queued.new_ids), known=queued.known, requests=report.requests)
    if report.invalid:
        log.warning("listed ids that cannot be asked about", count=report.invalid)
