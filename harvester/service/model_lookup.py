"""Looks up the models of stored results in the account's list: results of version 2 of the API do not name them.

A lookup is never in the way of a retrieval: it waits until enough results have gathered and nothing else is worth a
request, or until the list is about to forget a result. It keeps nothing in memory that is needed after a restart.
"""

import math
from collections import defaultdict

import anyio

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.backoff import backoff_ms
from harvester.domain.planning.list_reader import ListPage
from harvester.domain.planning.list_windows import ListWindow
from harvester.domain.planning.model_lookup import Load, ModelLookup, is_page_due
from harvester.domain.planning.planned_requests import ListRequest
from harvester.domain.tasks.listing import UnnamedResult
from harvester.domain.tasks.outcomes import Throttled, Transient
from harvester.domain.tasks.task import ApiVersion
from harvester.ports.log import get_logger
from harvester.reports.formats import counted
from harvester.service.conditions import set_condition
from harvester.service.harvest_parts import HarvestParts
from harvester.service.list_poller import ListPoller, Polled
from harvester.service.run_options import NOT_WAITED_FOR_S
from harvester.throttle.throttle import Permit

CONDITION = "models"

RESULTS_READ = 500
"""Results among which a page is chosen."""

FAILURES_BORNE = 3
"""Requests in a row without a page, after which a lookup gives up for a while."""

PAUSE_S = 600.0
MAX_PAUSE_S = 6 * 3600.0
"""Seconds: each pause after a lookup that gave up is twice as long as the one before, up to this."""

CHECK_EVERY_S = 1.0
MIN_WAIT_S = 0.01

RECHECK_S = 600.0
"""Seconds after which the store is read again although this process has stored no result: others may have."""

log = get_logger()


class ModelLookups:
    """Looks up models during a harvest, every `every_s` seconds at the most, and at its end."""

    def __init__(self, parts: HarvestParts, poller: ListPoller, *, every_s: float, grace_s: float) -> None:
        self._store = parts.source
        self._planner = parts.planner
        self._retry = parts.retry
        self._throttle = parts.throttle
        self._breaker = parts.breaker
        self._disk_space = parts.disk_space
        self._progress = parts.progress
        self._control = parts.control
        self._pause_watch = parts.pause
        self._clock = parts.clock
        self._rng = parts.new_rng()
        self._poller = poller
        self._every_s = every_s
        self._grace_s = grace_s
        self._lock = anyio.Lock()
        self._is_finishing = False
        self._paused_until = -math.inf
        self._pauses = self._failures = 0
        self._none_waits_until = -math.inf
        self._requests = 0
        """How many requests this process had sent at the last page of a lookup."""
        self._harvested = -1
        """How many results this process had stored when none waited for its model."""

    async def run(self) -> None:
        """Look up models whenever a page is due, until cancelled or finished."""
        while not self._is_finishing:
            await self._clock.wait(anyio.Event(), self._every_s * self._rng.uniform(0.75, 1.25))
            if self._may_look():
                async with self._lock:
                    await self._look_up()

    async def finish(self) -> None:
        """Look up the models of all results that wait for one, unless the harvest was stopped or the list has failed.

        A stop meanwhile gives the request under way the grace time.
        """
        self._is_finishing = True
        if self._control.is_stopping or self._clock.monotonic() < self._paused_until:
            return
        async with anyio.create_task_group() as group:
            self._control.cancel_after_stop(group.cancel_scope, self._grace_s)
            async with self._lock:
                await self._look_up()

    def _may_look(self) -> bool:
        """Whether results without a model may wait and a request for a page may go out."""
        now = self._clock.monotonic()
        may_wait = self._progress.harvested != self._harvested or now >= self._none_waits_until
        return may_wait and now >= self._paused_until and not self._disk_space.is_short()

    async def _look_up(self) -> None:
        """Request pages as long as one is due and they name models."""
        lookup = ModelLookup(self._planner.listing)
        while not self._control.is_stopping:
            results = await self._unnamed()
            version, listed_there = self._of_one_list(results)
            window = lookup.next_page(listed_there, version)
            if window is None:
                set_condition(self._progress, CONDITION, None)
            permit = await self._permit() if window is not None and self._is_due(window, results) else None
            if window is None or permit is None:
                return
            polled = await self._poll(window, permit)
            answer = polled.answer
            if isinstance(answer, ListPage):
                self._failures = 0
                await self._record(lookup, window, answer, polled.named)
                if lookup.has_given_up:
                    await self._pause("the list of tasks does not show them")
                    return
                continue
            self._failures += 1
            if self._failures >= FAILURES_BORNE or not isinstance(answer, Transient | Throttled):
                await self._pause(f"the list of tasks cannot be read: {(answer.message or answer.kind).rstrip('.')}")
                return
            await self._clock.wait(self._control.changed, backoff_ms(self._failures, self._rng) / 1000)

    async def _unnamed(self) -> list[UnnamedResult]:
        harvested, now_ms = self._progress.harvested, self._clock.wall_ms()
        results = await self._retry.run(lambda: self._store.unnamed_results(now_ms, limit=RESULTS_READ))
        self._harvested = -1 if results else harvested
        self._none_waits_until = self._clock.monotonic() + RECHECK_S
        return results

    def _of_one_list(self, results: list[UnnamedResult]) -> tuple[ApiVersion | None, list[UnnamedResult]]:
        """Return the API version whose list shows the most of these results, and which of them it shows."""
        now, by_list = self._clock.monotonic(), defaultdict[ApiVersion | None, list[UnnamedResult]](list)
        for one in results:
            by_list[self._planner.list_of(one.task, now)].append(one)
        return max(by_list.items(), key=lambda item: len(item[1]), default=(None, []))

    def _is_due(self, window: ListWindow, results: list[UnnamedResult]) -> bool:
        if self._is_finishing:
            return True
        load = Load(
            self._progress.open,
            is_idle=self._progress.is_waiting,
            rate_per_s=self._throttle.rate_per_s,
            requests=self._progress.requests.total() - self._requests,
        )
        return is_page_due(window, results, self._clock.wall_ms(), load)

    async def _permit(self) -> Permit | None:
        """Wait for a permit; None if the harvest stops or pauses, or if API or breaker would make it wait for long."""
        waited_until = self._clock.monotonic() + NOT_WAITED_FOR_S
        while not self._control.is_stopping and self._clock.monotonic() <= waited_until:
            if await self._retry.run(self._pause_watch.is_paused):
                return None
            wait_s = self._throttle.endpoint_wait_s(Endpoint.LIST)
            if wait_s > NOT_WAITED_FOR_S:
                return None
            if wait_s == 0:
                await self._retry.run(self._throttle.refill)
                wait_s = self._throttle.wait_s(Endpoint.LIST)
            if wait_s == 0 and self._breaker.allows(self._progress.in_flight, self._clock.monotonic()):
                return self._throttle.take(Endpoint.LIST)
            await self._clock.wait(self._control.changed, min(max(wait_s, MIN_WAIT_S), CHECK_EVERY_S))
        return None

    async def _poll(self, window: ListWindow, permit: Permit) -> Polled:
        self._progress.requests[Endpoint.LIST] += 1
        self._requests = self._progress.requests.total()
        return await self._poller.poll(ListRequest(window.query, (), harvested=window.tasks), permit)

    async def _record(self, lookup: ModelLookup, window: ListWindow, page: ListPage, named: int) -> None:
        now_ms = self._clock.wall_ms()
        absent = lookup.record(window, page, named)
        if absent:
            await self._retry.run(lambda: self._store.models_not_listed(absent, now_ms))
        log.info("looked up models", named=named, not_listed=len(absent), listed=page.count)
        if named:
            self._pauses = 0
            set_condition(self._progress, CONDITION, None)

    async def _pause(self, why: str) -> None:
        pause_s = min(MAX_PAUSE_S, PAUSE_S * 2 ** min(self._pauses, 10))
        self._pauses += 1
        self._failures = 0
        self._paused_until = self._clock.monotonic() + pause_s
        gaps = await self._retry.run(self._store.model_gaps)
        text = f"{counted(gaps.results, 'result')} without a model: {why}; to be asked again"
        set_condition(self._progress, CONDITION, text)
