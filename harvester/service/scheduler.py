"""Reads open tasks from the store and spends the request budget on them, in one task group.

The database is the only memory: a task is claimed for one request, and what came of it is written before the task can
be claimed again. So stopping at any moment loses nothing but the requests under way.
"""

import math
import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum

import anyio
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from harvester.domain.errors import StoreBusyError
from harvester.domain.limits.endpoint import POLL_ENDPOINTS, Endpoint
from harvester.domain.planning.plan import DueTasks, Plan, PlannedRequest, TaskRequest
from harvester.domain.planning.planner import CLOSED_S
from harvester.domain.tasks.records import LONGEST_SLEEP_MS, Lease
from harvester.service.final_states import REMEMBERED_MS
from harvester.service.harvest_parts import HarvestParts
from harvester.service.lease_watch import LeaseWatch
from harvester.service.list_poller import ListPoller
from harvester.service.maintenance import Housekeeping
from harvester.service.pipeline import Fetched, Pipeline
from harvester.service.result_writer import COMMIT_EVERY_S, Decided, ResultWriter
from harvester.service.room import RoomGuard
from harvester.throttle.memory_budget import Reservation
from harvester.throttle.throttle import Permit

LOOK_AGAIN_S = 1.0
"""How soon a row that another program inserts is seen."""

MIN_WAIT_S = 0.01
HOUSEKEEPING_S = 5.0

SET_BACK_MS = 60_000
"""A wall clock that loses more than this against the monotonic one was set back, not slewed."""

CLAIMED_AHEAD_S = 1.0
"""Tasks are claimed for about this much of the budget: few, so that a task found ready comes before them."""

MAX_CLAIMED_AHEAD = 64

NARROW_VIEW = 64
"""So many due tasks, at least, are looked at to find the results that are to be retrieved first."""

WIDE_VIEW = 500
"""So many due tasks, from each end, are looked at to find the questions that are worth most."""

NOT_WAITED_FOR_S = 60.0
"""A harvest that asks about each task once does not sit out a longer wait, and others say what they wait for."""

_ABOUT_TASKS = (Endpoint.STATUS, Endpoint.RETRIEVE)
"""Without these nothing can be brought to an end."""

RELEASED_AT_ONCE = 10_000
"""How many held tasks fall due in one transaction."""

LAST_WRITES_S = 15.0
"""After the grace time for downloads, what was downloaded is still written."""

log = structlog.stdlib.get_logger()


class StopWhen(Enum):
    """When a harvest is over by itself."""

    ALL_DONE = "every task has ended"
    ALL_ASKED = "every task has been asked about once"
    SIGNALLED = "a signal stops it"


@dataclass(frozen=True, slots=True)
class HarvestSettings:
    """How to harvest: `concurrency` requests at a time.

    A claim lasts `lease_s` and is renewed while the process lives. After a stop, downloads under way get `grace_s`.
    """

    concurrency: int = 8
    lease_s: float = 60.0
    grace_s: float = 30.0
    until: StopWhen = StopWhen.ALL_DONE


class Scheduler:
    """Runs a harvest: `await run()`, and `control.stop()` from anywhere in the event loop."""

    def __init__(self, settings: HarvestSettings, parts: HarvestParts) -> None:
        self._settings = settings
        self._source = parts.source
        self._planner = parts.planner
        self._writer = ResultWriter(parts)
        self._pipeline = Pipeline(parts, self._writer)
        self._list_poller = ListPoller(parts)
        self._retry = parts.retry
        self._throttle = parts.throttle
        self._budget = parts.budget
        self._breaker = parts.breaker
        self._final_states = parts.final_states
        self._progress = parts.progress
        self.control = parts.control
        self._clock = parts.clock
        self._housekeeping = Housekeeping(parts)
        self._room = RoomGuard(parts.source, parts.budget, parts.progress, parts.clock)
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._queue: list[PlannedRequest] = []
        self._leases = LeaseWatch(self.owner, settings.lease_s)
        self._leased_until = -math.inf
        self._ahead_ms = self._wall_ahead_ms()
        self._is_waiting_for_calls = False
        self._is_more_due = False
        self._blocked: set[Endpoint] = set()
        self._slots = anyio.CapacityLimiter(settings.concurrency)
        self._final_states.asks_once = settings.until is StopWhen.ALL_ASKED
        self._has_probe = False

    def set_concurrency(self, requests: int) -> None:
        """Change how many requests may be under way at a time; those that are go on."""
        self._slots.total_tokens = requests
        self._settings = replace(self._settings, concurrency=requests)

    async def run(self) -> None:
        """Harvest until there is nothing left to do, or until stopped. Claims are given back in any case."""
        try:
            async with anyio.create_task_group() as group:
                self.control.cancel_after_stop(group.cancel_scope, self._settings.grace_s + LAST_WRITES_S)
                await self._prepare()
                group.start_soon(self._keep_house, name="housekeeping")
                await self._flow()
                group.cancel_scope.cancel()
        finally:
            # Not patient any more: what cannot be given back now falls due by itself when the lease ends.
            with anyio.CancelScope(shield=True), suppress(StoreBusyError):
                await self._source.release(self.owner)
                await self._source.share_processing_times(self._planner.times.take_fresh())
                await self._throttle.tell()
                self._progress.counts = await self._source.counts()

    async def _prepare(self) -> None:
        now_ms = self._clock.wall_ms()
        await self._free_dead(now_ms)
        await self._wake_misdated(now_ms)
        if self._settings.until is StopWhen.ALL_ASKED:
            await self._retry.run(lambda: self._source.wake_early(now_ms))
        await self._housekeeping.prepare()
        since_ms = now_ms - REMEMBERED_MS
        self._final_states.remember(await self._retry.run(lambda: self._source.recent_answers(since_ms, now_ms)))

    async def _flow(self) -> None:
        """Run the stages; each ends when the one before it has closed its stream."""
        responses, to_decode = anyio.create_memory_object_stream[Fetched](self._settings.concurrency)
        settlements, to_write = anyio.create_memory_object_stream[Decided](MAX_CLAIMED_AHEAD)
        async with anyio.create_task_group() as stages, responses, settlements, to_decode, to_write:
            for number in range(self._pipeline.decoding_concurrency):
                receive, send = to_decode.clone(), settlements.clone()
                stages.start_soon(self._pipeline.decode, receive, send, name=f"decode {number}")
            stages.start_soon(self._writer.write, to_write.clone(), name="write")
            await self._dispatch(responses)

    async def _dispatch(self, responses: MemoryObjectSendStream[Fetched]) -> None:
        """Spend the budget, request by request, until there is nothing to do; then wait for what is under way."""
        async with anyio.create_task_group() as fetches:
            self.control.cancel_after_stop(fetches.cancel_scope, self._settings.grace_s)
            while True:
                slot = object()
                await self._slots.acquire_on_behalf_of(slot)
                # Before the permit is taken: with one in hand, a request that waits would go out at a wrong time.
                await self._budget.room()
                with self._progress.beats.at_work("dispatch", self._clock.monotonic):
                    chosen = await self._choose()
                if chosen is None:
                    return
                self._progress.in_flight += 1
                hold = self._budget.take()
                fetches.start_soon(self._carry_out, slot, *chosen, hold, responses, name=f"ask {chosen[0].endpoint}")

    async def _carry_out(
        self,
        slot: object,
        request: PlannedRequest,
        permit: Permit,
        hold: Reservation,
        responses: MemoryObjectSendStream[Fetched],
    ) -> None:
        try:
            if isinstance(request, TaskRequest):
                await self._pipeline.fetch(request, permit, hold, responses)
                return
            hold.release()
            self._progress.requests[request.endpoint] += 1
            try:
                await self._list_poller.poll(request, permit)
            finally:
                self.control.record_done(1)
        finally:
            self._slots.release_on_behalf_of(slot)

    async def _choose(self) -> tuple[PlannedRequest, Permit] | None:
        """Wait for the next request that is worth making and may be made; None when there will be none."""
        while not self.control.is_stopping:
            self._progress.beats.beat(self._clock.monotonic())
            changed = self.control.changed
            if self._room.is_short():
                # What is claimed would be renewed meanwhile, and even that takes room.
                await self._give_back(self._queue)
                await self._clock.wait(changed, LOOK_AGAIN_S)
                continue
            await self._note_blocks()
            await self._release_held()
            held_s = await self._until_request_s()
            if held_s is None:
                return None
            if held_s == 0:
                request = await self._next_request()
                if not isinstance(request, float):
                    self._progress.is_waiting = False
                    self._has_probe = self._has_probe and not isinstance(request, TaskRequest)
                    return request, self._throttle.take(request.endpoint)
                if self._is_over_for_now():
                    return None
                held_s = request
            self._progress.is_waiting = self._has_nothing_to_ask()
            await self._clock.wait(changed, min(held_s, LOOK_AGAIN_S))
        return None

    async def _until_request_s(self) -> float | None:
        """Return how long there is nothing due, or no request may go out; None when the harvest is over."""
        if self._settings.until is StopWhen.ALL_ASKED and not self._progress.in_flight and self._is_blocked_for_long():
            return None
        if (
            self._settings.until is StopWhen.ALL_DONE
            and not self._progress.in_flight
            and self._final_states.is_open_for_long
        ):
            return None
        held_s = self._held_s()
        is_idle = held_s == 0 and not self._queue and not self._is_more_due
        return await self._idle_s() if is_idle else held_s

    async def _release_held(self) -> None:
        """Let the tasks whose ends were held back be asked again, when the API answers sensibly, or one as a probe."""
        self._final_states.rate_per_s = self._throttle.rate_per_s
        if self._final_states.has_closed:
            while await self._retry.run(lambda: self._source.release_held(RELEASED_AT_ONCE)) == RELEASED_AT_ONCE:
                pass
            self._final_states.has_closed = False
        elif self._final_states.is_open and self._final_states.probe_wait_s() == 0 and not self._progress.in_flight:
            self._final_states.probe_sent()
            self._has_probe = True
            await self._retry.run(lambda: self._source.release_held(1))

    def _is_probing(self) -> bool:
        """Whether no tasks are asked but probes; who asks about each task once, asks about each."""
        return self._final_states.is_probing and self._settings.until is not StopWhen.ALL_ASKED

    def _class_wait_s(self, endpoint: Endpoint) -> float:
        """Return how long requests of that class must wait whatever the total rate, for the API's sake."""
        return max(self._throttle.class_wait_s(endpoint), self._hold_s(endpoint))

    def _request_wait_s(self, endpoint: Endpoint) -> float:
        return max(self._throttle.wait_s(endpoint), self._hold_s(endpoint))

    def _hold_s(self, endpoint: Endpoint) -> float:
        """Return how long requests of that class are held back because only probes are sent."""
        if endpoint in _ABOUT_TASKS and not self._has_probe and self._is_probing():
            return max(self._final_states.probe_wait_s(), 2 * CLOSED_S)
        return 0.0

    def _soonest_s(self, endpoints: Iterable[Endpoint]) -> float:
        """Return how long no request of any of these classes may go out; infinite for none."""
        soonest_s = math.inf
        for endpoint in endpoints:
            soonest_s = min(soonest_s, self._request_wait_s(endpoint))
            if soonest_s == 0:
                break
        return soonest_s

    def _has_nothing_to_ask(self) -> bool:
        """Whether neither the budget nor a request under way is waited for, but a task to be worth a request."""
        is_busy = self._progress.in_flight or self._queue or self._progress.blocked_until_ms is not None
        return not is_busy and self._held_s() == 0

    def _held_s(self) -> float:
        """Return how long no request may go out."""
        now = self._clock.monotonic()
        if not self._breaker.allows(self._progress.in_flight, now):
            # While a probe is under way its answer wakes this up.
            return self._breaker.wait_s(now) or LOOK_AGAIN_S
        return self._soonest_s(POLL_ENDPOINTS)

    async def _next_request(self) -> PlannedRequest | float:
        """Return the first claimed request that may be taken now, after claiming more if there is none; else a wait.

        Only for what is worth a request one is taken from the shared budget, and only then tasks are claimed for it:
        so an idle process costs nothing, and the tasks are the most urgent ones at the moment of sending.
        """
        now_ms = self._clock.wall_ms()
        await self._give_back_lapsed()
        await self._give_back_blocked()
        if not self._queue:
            plan = await self._plan(now_ms)
            self._is_waiting_for_calls = not plan.requests
            if not plan.requests:
                # What is postponed may have hidden others.
                return MIN_WAIT_S if plan.later else LOOK_AGAIN_S
            await self._retry.run(self._throttle.refill)
            wait_s = self._wait_s(plan.requests)
            if wait_s > 0:
                return wait_s
            await self._claim(plan.requests, now_ms)
        # More may be claimed than was leased, or the lease has ended while a slot was waited for.
        await self._retry.run(self._throttle.refill)
        request = next((request for request in self._queue if self._request_wait_s(request.endpoint) == 0), None)
        if request is None:
            return max(MIN_WAIT_S, self._wait_s(self._queue))
        self._queue.remove(request)
        return request

    def _wait_s(self, requests: Sequence[PlannedRequest]) -> float:
        return self._soonest_s({request.endpoint for request in requests}) if requests else 0.0

    async def _plan(self, now_ms: int) -> Plan:
        limit = self._claim_limit()
        due = await self._due(now_ms, max(limit, NARROW_VIEW), newest=False)
        plan = self._plan_for(due, now_ms, limit)
        if not due.is_whole and not _is_full(plan, due, limit):
            # What is surely finished, and which questions are worth most, needs a wider view.
            plan = self._plan_for(await self._due(now_ms, WIDE_VIEW, newest=True), now_ms, limit)
        if plan.later:
            await self._retry.run(lambda: self._source.postpone(plan.later, now_ms))
        # Then the store, which may be writing, need not be asked once more whether any are due.
        self._is_more_due = bool(plan.requests) and not due.is_whole
        return plan

    async def _due(self, now_ms: int, limit: int, *, newest: bool) -> DueTasks:
        wake = self._settings.until is not StopWhen.ALL_ASKED
        # Which leases are over is not for the wall clock to say: see `_free_dead`.
        return await self._retry.run(
            lambda: self._source.due(now_ms, limit=limit, newest=newest, wake=wake, lapsed=False)
        )

    def _plan_for(self, due: DueTasks, now_ms: int, limit: int) -> Plan:
        return self._planner.plan(
            due,
            now_ms=now_ms,
            now=self._clock.monotonic(),
            limit=limit,
            open_tasks=self._progress.open,
            rate_per_s=self._throttle.rate_per_s,
            waits_s={endpoint: self._class_wait_s(endpoint) for endpoint in POLL_ENDPOINTS},
            evidence_ago_s=self._final_states.evidence_ago_s,
        )

    async def _claim(self, requests: Sequence[PlannedRequest], now_ms: int) -> None:
        """Queue the requests with those of their tasks that nobody else has taken meanwhile."""
        leased_until = self._lease_ends()
        lease, tasks = self._lease(now_ms), [task for request in requests for task in request.tasks]
        claimed = {task.key: task for task in await self._retry.run(lambda: self._source.claim(lease, tasks))}
        if claimed:
            self._leased_until = max(self._leased_until, leased_until)
        taken = [request for request in (request.claimed(claimed) for request in requests) if request is not None]
        self._planner.spent(taken, self._clock.monotonic())
        self._queue += taken

    async def _give_back_blocked(self) -> None:
        """Give back the tasks whose call the API has come to want no more: another call may answer for them.

        Due at once, not at a time: a harvest that asks about each task once wakes nobody.
        """
        queued = {request.endpoint for request in self._queue}
        closed = {endpoint for endpoint in queued if self._class_wait_s(endpoint) > CLOSED_S}
        await self._give_back([request for request in self._queue if request.endpoint in closed])

    async def _give_back_lapsed(self) -> None:
        """Give back what was claimed if this process stood still for longer than its leases: others may have it.

        By the steady clock: one that only seems to stand still, as the wall clock jumps, keeps what it has.
        """
        if self._clock.monotonic() >= self._leased_until:
            await self._give_back(self._queue)

    async def _give_back(self, requests: Sequence[PlannedRequest]) -> None:
        if requests:
            self._queue = [request for request in self._queue if request not in requests]
            tasks = [(task, 0) for request in requests for task in request.tasks]
            await self._retry.run(lambda: self._source.defer(tasks))

    def _claim_limit(self) -> int:
        if self._is_probing():
            return 1
        rate_per_s = self._throttle.rate_per_s
        ahead = MAX_CLAIMED_AHEAD if rate_per_s is None else CLAIMED_AHEAD_S * rate_per_s
        return max(1, min(MAX_CLAIMED_AHEAD, 4 * self._settings.concurrency, int(ahead)))

    async def _idle_s(self) -> float | None:
        """Return how long no task is due; None when the harvest is over."""
        next_due_ms = await self._retry.run(self._source.next_due_ms)
        if next_due_ms == 0:
            return 0.0
        wait_ms = math.inf if next_due_ms is None else next_due_ms - self._clock.wall_ms()
        if wait_ms > COMMIT_EVERY_S * 1000:
            self._writer.expect_no_more()
        if self._settings.until is StopWhen.ALL_ASKED or next_due_ms is None:
            is_over = self._settings.until is not StopWhen.SIGNALLED and not self._progress.in_flight
            return None if is_over else LOOK_AGAIN_S
        if (
            wait_ms > NOT_WAITED_FOR_S * 1000
            and self._settings.until is StopWhen.ALL_DONE
            and await self._are_all_held()
        ):
            return None
        # Nothing sleeps that long: the clock was set back since, and whoever looks for due tasks wakes them.
        return 0.0 if wait_ms > LONGEST_SLEEP_MS else max(0.0, wait_ms / 1000)

    async def _are_all_held(self) -> bool:
        """Whether each open task waits for a confirmation for longer than a harvest that ends by itself waits."""
        after_ms = self._clock.wall_ms() + round(NOT_WAITED_FOR_S * 1000)
        held = await self._retry.run(lambda: self._source.held_by_reason(after_ms))
        return not self._progress.in_flight and sum(held.values()) >= self._progress.open

    def _is_over_for_now(self) -> bool:
        """Whether each task that is left to be asked about once needs a call that is blocked for long."""
        if self._settings.until is not StopWhen.ALL_ASKED or not self._is_waiting_for_calls or self._progress.in_flight:
            return False
        waits_s = [self._throttle.class_wait_s(endpoint) for endpoint in POLL_ENDPOINTS]
        closed_s = [wait_s for wait_s in waits_s if wait_s > CLOSED_S]
        return bool(closed_s) and min(closed_s) > NOT_WAITED_FOR_S

    def _is_blocked_for_long(self) -> bool:
        return min(self._throttle.class_wait_s(endpoint) for endpoint in _ABOUT_TASKS) > NOT_WAITED_FOR_S

    async def _note_blocks(self) -> None:
        """Tell when the API asks a class of requests to stay away, and when that is over.

        The other processes and the next one are told first: this one may be killed at any moment.
        """
        until_ms = None
        for endpoint in _ABOUT_TASKS:
            blocked_s = self._throttle.blocked_s(endpoint)
            if blocked_s > LOOK_AGAIN_S:
                until_ms = max(until_ms or 0, self._clock.wall_ms() + round(blocked_s * 1000))
                if endpoint not in self._blocked:
                    self._blocked.add(endpoint)
                    await self._retry.run(self._throttle.tell)
                    log.warning("rate limited", endpoint=endpoint.value, wait_s=round(blocked_s))
            elif blocked_s == 0 and endpoint in self._blocked:
                self._blocked.remove(endpoint)
                log.info("rate limit over", endpoint=endpoint.value)
        held_s = self._throttle.class_wait_s(Endpoint.RETRIEVE)
        if held_s > NOT_WAITED_FOR_S:
            # The last of a quota is spread over hours, which nobody has asked for in words.
            until_ms = max(until_ms or 0, self._clock.wall_ms() + round(held_s * 1000))
        self._progress.blocked_until_ms = until_ms

    def _lease(self, now_ms: int) -> Lease:
        return Lease(self.owner, now_ms + int(self._settings.lease_s * 1000), now_ms)

    def _lease_ends(self) -> float:
        """Return when a lease that is taken now ends, in steady seconds."""
        return self._clock.monotonic() + self._settings.lease_s

    async def _keep_house(self) -> None:
        """Renew the leases, and do what else is to be done now and then."""
        every_s = min(HOUSEKEEPING_S, self._settings.lease_s / 3)
        while True:
            await self._clock.wait(anyio.Event(), every_s)
            with self._progress.beats.at_work("housekeeping", self._clock.monotonic):
                now_ms, leased_until = self._clock.wall_ms(), self._lease_ends()
                await self._give_back_lapsed()
                await self._notice_set_back_clock(now_ms)
                lease = self._lease(now_ms)
                if await self._retry.run(lambda: self._source.renew(lease)):  # noqa: B023  # awaited here
                    self._leased_until = leased_until
                await self._free_dead(now_ms)
                await self._housekeeping.keep()

    async def _free_dead(self, now_ms: int) -> None:
        """Free what dead processes had in hand."""
        held = await self._retry.run(self._source.held_leases)
        dead = self._leases.dead(held, self._clock.monotonic(), now_ms)
        if dead and (freed := await self._retry.run(lambda: self._source.free(dead))):
            log.info("freed the tasks of processes that are gone", tasks=freed)

    async def _wake_misdated(self, now_ms: int) -> None:
        """Let nothing wait for the time by which the clock was ahead of a process before this one."""
        if woken := await self._retry.run(lambda: self._source.wake_misdated(now_ms)):
            log.warning("the clock was ahead before this start, waiting tasks are asked about now", tasks=woken)

    async def _notice_set_back_clock(self, now_ms: int) -> None:
        """Let nobody wait for the time that a clock was set back by: what is backed off falls due at once."""
        before_ms, self._ahead_ms = self._ahead_ms, self._wall_ahead_ms()
        if before_ms - self._ahead_ms > SET_BACK_MS:
            log.warning(
                "the clock was set back, waiting tasks are asked about now", by_s=(before_ms - self._ahead_ms) / 1000
            )
            await self._retry.run(lambda: self._source.wake_early(now_ms))

    def _wall_ahead_ms(self) -> float:
        return self._clock.wall_ms() - self._clock.monotonic() * 1000


def _is_full(plan: Plan, due: DueTasks, limit: int) -> bool:
    """Whether results fill the plan, and none with a nearer deadline can be hidden by tasks that hang."""
    results = {request.tasks[0].key for request in plan.requests if not request.is_probe}
    return len(results) >= limit and (not due.pending or any(task.key in results for task in due.pending))
