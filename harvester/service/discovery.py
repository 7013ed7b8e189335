"""Discovery: reads the account's list of tasks page by page, and stores each page before it requests the next."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import structlog

from harvester.domain.planning.backoff import Rng, backoff_ms
from harvester.domain.planning.list_reader import ListPage, ListReader
from harvester.domain.tasks.outcomes import Refused, Throttled
from harvester.ports.store import ListStore
from harvester.service.clock import OFF_S, SAMPLES, ApiClock, Clock
from harvester.service.discovery_report import DiscoveryReport
from harvester.service.list_api import ListApi
from harvester.service.list_permit import list_permit
from harvester.service.list_settlement import Queued, queue_page
from harvester.throttle.throttle import Throttle

TRIES = 6
"""Requests for one page that may fail in a row before the pass over the list ends; the next pass tries again."""

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryParts:
    """The parts of a discovery. `key` returns the fingerprint of the API key in use; `rng` spreads waits."""

    api: ListApi
    throttle: Throttle
    store: ListStore
    clock: Clock
    rng: Rng = field(default_factory=random.Random)
    key: Callable[[], str | None] = lambda: None


async def discover(parts: DiscoveryParts, since_ms: int) -> DiscoveryReport:
    """Queue all tasks that were created since `since_ms` (Unix milliseconds) and are not known yet.

    Waits for permits of the rate limit. Raises StoreError.
    """
    clock, rng = parts.clock, parts.rng
    reader, report, failures = ListReader(since_ms), DiscoveryReport(), 0
    while reader.query is not None:
        permit = await list_permit(parts.throttle, clock)
        asked_with = parts.key()
        answer = await parts.api.list_tasks(reader.query, permit)
        report.requests += 1
        if isinstance(answer, ListPage):
            failures = 0
            report.invalid += answer.count - len(answer.tasks)
            report.queued.add(await queue_page(parts.store, reader.take(answer), clock.wall_ms(), rng, key=asked_with))
            report.newest_ms = reader.newest_ms
        elif isinstance(answer, Refused):
            report.refusal = answer
            return report
        elif not isinstance(answer, Throttled):
            failures += 1
            message = answer.kind if answer.message is None else answer.message
            if failures == TRIES:
                report.problem = f"The list of tasks could not be read: {message.rstrip('.')}."
                return report
            log.info("the list could not be read, will be tried again", reason=message)
            await clock.wait(anyio.Event(), backoff_ms(failures, rng) / 1000)
    report.problem = reader.problem
    return report


async def discover_lately(
    parts: DiscoveryParts, clock: ApiClock, *, lately_ms: int, is_dry: bool = False
) -> DiscoveryReport:
    """Queue the tasks that were created in the last `lately_ms` (milliseconds); see `discover`.

    A clock that is ahead would hide the oldest of them: once the API's time shows that, after a few requests, another
    pass goes farther back. `is_dry`: the store only compares, so each pass finds the same new tasks again.
    """
    report = DiscoveryReport()
    for _ in range(SAMPLES):
        since_ms = clock.wall_ms() - lately_ms
        wider = await discover(parts, since_ms)
        if is_dry:
            report.queued = Queued()
        report.add_wider(wider)
        is_farther = clock.wall_ms() - lately_ms < since_ms - OFF_S * 1000
        if not wider.is_complete or not (is_farther or clock.suspected_ahead_s() > OFF_S):
            break
    return report
