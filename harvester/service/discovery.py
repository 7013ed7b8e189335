"""Discovery: reads the account's list of tasks page by page, and stores each page before it requests the next."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import structlog

from harvester.domain.errors import StoreBusyError
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.backoff import Rng, backoff_ms
from harvester.domain.planning.list_reader import ListPage, ListReader
from harvester.domain.tasks.outcomes import Refused, Throttled
from harvester.ports.store import ListStore
from harvester.service.clock import OFF_S, SAMPLES, ApiClock, Clock
from harvester.service.conditions import set_condition
from harvester.service.list_api import ListApi
from harvester.service.list_settlement import Queued, queue_page
from harvester.service.progress import Progress
from harvester.throttle.throttle import Permit, Throttle

TRIES = 6
"""Requests for one page that may fail in a row before the pass over the list ends; the next pass tries again."""

FULL_LOOK_EVERY_S = 24 * 3600.0

OVERLAP_MS = 3600 * 1000
"""Milliseconds by which a pass overlaps the one before, because the list may show a task a little late."""

LOOK_AGAIN_S = 1.0
RETRY_LOOK_S = 60.0
SCHEDULE_S = 5.0
"""Seconds after which a changed schedule takes effect at the latest."""

CONDITION = "discovery"

log = structlog.stdlib.get_logger()


@dataclass(slots=True)
class DiscoveryReport:
    """The result of one pass over the list. `problem` says why it may be incomplete; tasks it found are queued anyway.

    `invalid` counts entries whose id is not acceptable, once for each time they are listed.
    """

    requests: int = 0
    queued: Queued = field(default_factory=Queued)
    invalid: int = 0
    newest_ms: int | None = None
    problem: str | None = None
    refusal: Refused | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the whole list was read."""
        return self.problem is None and self.refusal is None

    @property
    def listed(self) -> int:
        """The number of tasks in the list."""
        return len(self.queued.new_ids) + self.queued.known

    def add_wider(self, other: "DiscoveryReport") -> None:
        """Merge the report of a later pass that went farther back: it met the tasks again that this pass had queued."""
        other.queued.known -= len(self.queued.new_ids)
        other.queued.new_ids[:0] = self.queued.new_ids
        other.queued.new_states += self.queued.new_states
        other.queued.moved += self.queued.moved
        self.requests += other.requests
        self.queued, self.invalid, self.newest_ms = other.queued, other.invalid, other.newest_ms
        self.problem, self.refusal = other.problem, other.refusal


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often to read the list (seconds), and how far back (milliseconds)."""

    every_s: float
    since_ms: int


async def discover(  # noqa: PLR0913  # each is a part that a test replaces
    *,
    api: ListApi,
    throttle: Throttle,
    store: ListStore,
    clock: Clock,
    since_ms: int,
    rng: Rng | None = None,
    key: Callable[[], str | None] = lambda: None,
) -> DiscoveryReport:
    """Queue all tasks that were created since `since_ms` (Unix milliseconds) and are not known yet.

    `key` returns the fingerprint of the API key in use. Waits for permits of the rate limit.
    Raises StoreError.
    """
    rng = rng or random.Random()  # noqa: S311  # spreads waits, guards nothing
    reader, report, failures = ListReader(since_ms), DiscoveryReport(), 0
    while reader.query is not None:
        permit = await _permit(throttle, clock)
        asked_with = key()
        answer = await api.list_tasks(reader.query, permit)
        report.requests += 1
        if isinstance(answer, ListPage):
            failures = 0
            report.invalid += answer.count - len(answer.tasks)
            report.queued.add(await queue_page(store, reader.take(answer), clock.wall_ms(), rng, key=asked_with))
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


async def discover_lately(  # noqa: PLR0913  # each is a part that a test replaces
    *,
    api: ListApi,
    throttle: Throttle,
    store: ListStore,
    clock: ApiClock,
    lately_ms: int,
    is_dry: bool = False,
    rng: Rng | None = None,
    key: Callable[[], str | None] = lambda: None,
) -> DiscoveryReport:
    """Queue the tasks that were created in the last `lately_ms` (milliseconds); see `discover`.

    A clock that is ahead would hide the oldest of them: once the API's time shows that, after a few requests, another
    pass goes farther back. `is_dry`: the store only compares, so each pass finds the same new tasks again.
    """
    report = DiscoveryReport()
    for _ in range(SAMPLES):
        since_ms = clock.wall_ms() - lately_ms
        look = await discover(api=api, throttle=throttle, store=store, clock=clock, since_ms=since_ms, rng=rng, key=key)
        if is_dry:
            report.queued = Queued()
        report.add_wider(look)
        is_farther = clock.wall_ms() - lately_ms < since_ms - OFF_S * 1000
        if not look.is_complete or not (is_farther or clock.suspected_ahead_s() > OFF_S):
            break
    return report


async def keep_discovering(  # noqa: PLR0913  # each is a part that a test replaces
    *,
    api: ListApi,
    throttle: Throttle,
    store: ListStore,
    clock: Clock,
    progress: Progress,
    schedule: Callable[[], Schedule | None],
    rng: Rng | None = None,
    key: Callable[[], str | None] = lambda: None,
) -> Refused:
    """Read the list at once and then again and again, as `schedule` returns it; pause while it returns None.

    A failure sets a condition of `progress`, which the next complete pass ends. Returns only when the API refuses the
    key. Raises StoreError.
    """
    rng = rng or random.Random()  # noqa: S311
    looks, failures = _Looks(), 0
    while True:
        plan = schedule()
        if plan is None:
            await clock.wait(anyio.Event(), SCHEDULE_S)
            continue
        started = clock.monotonic()
        since_ms = looks.since_ms(plan, clock.wall_ms(), started)
        try:
            report = await discover(
                api=api, throttle=throttle, store=store, clock=clock, since_ms=since_ms, rng=rng, key=key
            )
        except StoreBusyError as error:
            report = DiscoveryReport(problem=f"The database cannot be written: {error.reason}.")
        progress.requests[Endpoint.LIST] += report.requests
        if report.refusal is not None:
            return report.refusal
        _tell(report, progress)
        failures = 0 if report.is_complete else failures + 1
        if report.is_complete:
            looks.done(plan, report, since_ms=since_ms, now_ms=clock.wall_ms(), started=started)
        # After a failure the next pass comes sooner than planned, but each further failure doubles the wait.
        at_most_s = RETRY_LOOK_S * 2 ** min(failures - 1, 20) if failures else math.inf
        await _pause(clock, started, schedule, at_most_s, rng.uniform(0.9, 1.1))


@dataclass(slots=True)
class _Looks:
    """How far back the next pass must go: to a little before the newest known task, and once a day all the way.

    The API's own times decide, so a wrong clock on this side hides no tasks.
    """

    newest_ms: int | None = None
    full_at: float | None = None
    full_back_ms: int = 0
    full_since_ms: int = 0

    def since_ms(self, plan: Schedule, now_ms: int, now: float) -> int:
        whole_ms = now_ms - plan.since_ms
        if whole_ms < self.full_since_ms - OVERLAP_MS:
            # The clock was ahead during the last full pass, as the API's time has shown since.
            self.full_at = None
        if self._is_full_due(plan, now) or self.newest_ms is None:
            return whole_ms
        return max(whole_ms, self.newest_ms - OVERLAP_MS)

    def done(self, plan: Schedule, report: DiscoveryReport, *, since_ms: int, now_ms: int, started: float) -> None:
        if self._is_full_due(plan, started):
            self.full_at, self.full_back_ms, self.full_since_ms = started, plan.since_ms, since_ms
        # A date in the future is a mistake of the API, and must not hide the tasks that are created from now on.
        known_ms = [min(ms, now_ms) for ms in (self.newest_ms, report.newest_ms) if ms is not None]
        self.newest_ms = max(known_ms, default=None)

    def _is_full_due(self, plan: Schedule, now: float) -> bool:
        return self.full_at is None or now - self.full_at >= FULL_LOOK_EVERY_S or plan.since_ms > self.full_back_ms


async def _permit(throttle: Throttle, clock: Clock) -> Permit:
    """Wait for a permit. While the list is blocked, take no requests out of the shared budget for it."""
    told = False
    while True:
        wait_s = throttle.endpoint_wait_s(Endpoint.LIST)
        if wait_s == 0:
            await throttle.refill()
            wait_s = throttle.wait_s(Endpoint.LIST)
        if wait_s == 0:
            return throttle.take(Endpoint.LIST)
        if not told and throttle.blocked_s(Endpoint.LIST) > LOOK_AGAIN_S:
            told = True
            log.warning("rate limit reached: the API asks to wait", seconds=round(throttle.blocked_s(Endpoint.LIST)))
        await throttle.publish_limits()
        await clock.wait(anyio.Event(), min(wait_s, LOOK_AGAIN_S))


async def _pause(
    clock: Clock, started: float, schedule: Callable[[], Schedule | None], at_most_s: float, share: float
) -> None:
    """Wait until the next pass is due, after `share` times the interval; a schedule that changes meanwhile counts."""
    while (plan := schedule()) is not None:
        left_s = started + min(plan.every_s, at_most_s) * share - clock.monotonic()
        if left_s <= 0:
            return
        await clock.wait(anyio.Event(), min(left_s, SCHEDULE_S))


def _tell(report: DiscoveryReport, progress: Progress) -> None:
    queued = report.queued
    set_condition(progress, CONDITION, report.problem)
    level = log.info if queued.new_ids or queued.moved else log.debug
    level("discovered", new=len(queued.new_ids), known=queued.known, requests=report.requests)
    if report.invalid:
        log.warning("listed ids that cannot be asked about", count=report.invalid)
