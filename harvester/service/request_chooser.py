"""Chooses the next request: it is worth making, its tasks are claimed, and it may go out now."""

from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from harvester.domain.planning.planned_requests import PlannedRequest
from harvester.service.claims import Claims
from harvester.service.due_requests import DueRequests
from harvester.service.end_conditions import EndConditions
from harvester.service.harvest_parts import HarvestParts
from harvester.service.probe_gate import ProbeGate
from harvester.service.rate_limit_notices import RateLimitNotices
from harvester.service.request_gate import RequestGate
from harvester.service.result_writer import ResultWriter
from harvester.service.run_options import RunOptions, StopWhen
from harvester.throttle.throttle import Permit

MIN_WAIT_S = 0.01

CLAIM_AHEAD = 12
"""Claimed requests that are left when more are claimed: the store, which may be writing a group of results, then has
time for it while these go out."""


@dataclass(frozen=True, slots=True)
class Wait:
    """No request may go out, or none is worth making, for `seconds`."""

    seconds: float


class RequestChooser:
    """Waits until a request may go out, plans requests, and claims their tasks."""

    def __init__(self, options: RunOptions, parts: HarvestParts, claims: Claims, writer: ResultWriter) -> None:
        self._recheck_s = options.recheck_s
        self._planner = parts.planner
        self._retry = parts.retry
        self._throttle = parts.throttle
        self._progress = parts.progress
        self._control = parts.control
        self._clock = parts.clock
        self._pause = parts.pause
        self._claims = claims
        self._disk_space = parts.disk_space
        self._probes = ProbeGate(parts, asks_once=options.until is StopWhen.ALL_ASKED)
        self._gate = RequestGate(parts, self._probes, options.recheck_s)
        self._due = DueRequests(options, parts, self._gate, self._probes)
        self._writer = writer
        self._ends = EndConditions(options, parts, writer)
        self._notices = RateLimitNotices(parts, options.recheck_s)
        self._claiming = anyio.Lock()
        self._is_waiting_for_calls = False
        """Whether the last plan had no requests."""

    def set_concurrency(self, requests: int) -> None:
        """Change how many requests may be under way at a time."""
        self._due.concurrency = requests

    async def prepare(self, now_ms: int) -> None:
        """Decide how the harvest begins, from what the store has of earlier ones."""
        await self._due.first_look.prepare(now_ms)

    async def choose(self, group: TaskGroup) -> tuple[PlannedRequest, Permit] | None:
        """Wait for the next request that is worth making and may go out; None when there will be none.

        While many tasks are due, it claims further ones in the task group.
        """
        while not self._control.is_stopping:
            self._progress.beats.beat(self._clock.monotonic())
            changed = self._control.changed
            if self._disk_space.is_short():
                # Claims would be renewed meanwhile, and even that takes space.
                await self._claims.give_back(self._claims.requests)
                await self._clock.wait(changed, self._recheck_s)
                continue
            if await self._retry.run(self._pause.is_paused):
                await self._claims.give_back(self._claims.requests)
                # The answers to what was under way may have ended the last tasks.
                if await self._ends.idle_s() is None:
                    return None
                self._progress.is_waiting = False
                await self._clock.wait(changed, self._recheck_s)
                continue
            await self._notices.update()
            await self._probes.release_held()
            wait_s = await self._until_request_s()
            if wait_s is None:
                return None
            if wait_s == 0:
                chosen = await self._next_request()
                if not isinstance(chosen, Wait):
                    self._claim_ahead(group)
                    self._progress.is_waiting = False
                    self._probes.record_sent(chosen)
                    return chosen, self._throttle.take(chosen.endpoint)
                if self._is_waiting_for_calls and self._ends.is_over_for_due():
                    return None
                wait_s = chosen.seconds
            self._progress.is_waiting = self._has_nothing_to_ask()
            await self._clock.wait(changed, min(wait_s, self._recheck_s))
        return None

    async def _until_request_s(self) -> float | None:
        """Return for how many seconds no task is due or no request may go out; None when the harvest is over."""
        if self._ends.is_over():
            return None
        wait_s = self._gate.any_wait_s()
        is_idle = wait_s == 0 and not self._claims.requests and not self._due.is_more_due
        return await self._ends.idle_s() if is_idle else wait_s

    async def _next_request(self) -> PlannedRequest | Wait:
        """Return the first claimed request that may go out now, after claiming more if there is none; else a wait.

        The process takes requests from the shared budget only for a plan, and claims tasks only after that: so an idle
        process takes nothing, and the tasks are the most urgent ones when their request goes out.
        """
        now_ms = self._clock.wall_ms()
        await self._claims.give_back_lapsed()
        await self._give_back_blocked()
        if not self._claims.requests:
            wait_s = await self._claim_unless_claimed(now_ms)
            if wait_s > 0:
                return Wait(wait_s)
        # More may be claimed than was leased of the budget, or that lease has ended during the wait for a slot.
        await self._retry.run(self._throttle.refill)
        for at, planned in enumerate(self._claims.requests):
            request = self._planner.renewed(planned)
            if self._gate.request_wait_s(request.endpoint) == 0:
                del self._claims.requests[at]
                return request
        claimed = self._claims.requests = [self._planner.renewed(one) for one in self._claims.requests]
        return Wait(max(MIN_WAIT_S, self._gate.least_wait_s(claimed)))

    def _claim_ahead(self, group: TaskGroup) -> None:
        """Begin to claim more if few claimed requests are left and the last plan left many due tasks out."""
        is_time = len(self._claims.requests) == CLAIM_AHEAD and self._due.is_more_due
        if is_time and self._due.claim_limit() > 2 * CLAIM_AHEAD:
            group.start_soon(self._claim, self._clock.wall_ms(), name="claim ahead")

    async def _claim_unless_claimed(self, now_ms: int) -> float:
        """Claim requests, unless that is under way; return how long to wait (s) because there are none."""
        if self._claiming.locked():
            async with self._claiming:
                return 0.0 if self._claims.requests else MIN_WAIT_S
        return await self._claim(now_ms)

    async def _claim(self, now_ms: int) -> float:
        async with self._claiming:
            plan = await self._due.plan(now_ms)
            self._is_waiting_for_calls = not plan.requests
            if self._due.awaits_tries:
                self._writer.expect_no_more()
            if not plan.requests:
                # The postponed tasks may have hidden others.
                return MIN_WAIT_S if plan.later else self._recheck_s
            await self._retry.run(self._throttle.refill)
            wait_s = self._gate.least_wait_s(plan.requests)
            if wait_s == 0:
                await self._claims.claim(plan.requests, now_ms)
            return wait_s

    async def _give_back_blocked(self) -> None:
        """Give back the tasks of requests whose endpoint must wait by now: another endpoint may answer for them."""
        await self._claims.give_back(self._gate.closed(self._claims.requests))

    def _has_nothing_to_ask(self) -> bool:
        """Whether the harvest waits for a task to become worth a request, not for the budget or an answer."""
        is_busy = self._progress.in_flight or self._claims.requests or self._progress.blocked_until_ms is not None
        return not is_busy and self._gate.any_wait_s() == 0
