"""Reads open tasks from the store and spends the request budget on them, in one task group.

The database is the only memory: a task is claimed for one request, and the result is stored before the task can be
claimed again. Therefore a stop at any moment loses only the requests under way.
"""

from contextlib import suppress

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from harvester.domain.errors import StoreBusyError
from harvester.domain.planning.planned_requests import PlannedRequest, TaskRequest
from harvester.service.claims import Claims
from harvester.service.clock_watch import ClockWatch
from harvester.service.due_requests import MAX_CLAIMED_AHEAD
from harvester.service.final_states import REMEMBERED_MS
from harvester.service.harvest_parts import HarvestParts
from harvester.service.housekeeping import Housekeeping
from harvester.service.list_poller import ListPoller
from harvester.service.model_lookup import ModelLookups
from harvester.service.pipeline import Fetched, Pipeline
from harvester.service.request_chooser import RequestChooser
from harvester.service.result_writer import Decided, ResultWriter
from harvester.service.run_options import RunOptions, StopWhen
from harvester.throttle.memory_budget import Reservation
from harvester.throttle.throttle import Permit

LAST_WRITES_S = 15.0
"""Seconds after the grace time for downloads in which downloaded results are still stored."""


class Scheduler:
    """Runs a harvest: `await run()`, and `control.stop()` from anywhere in the event loop."""

    def __init__(self, options: RunOptions, parts: HarvestParts) -> None:
        self._options = options
        self._source = parts.source
        self._planner = parts.planner
        self._retry = parts.retry
        self._throttle = parts.throttle
        self._budget = parts.budget
        self._final_states = parts.final_states
        self._progress = parts.progress
        self._clock = parts.clock
        self.control = parts.control
        self._writer = ResultWriter(parts)
        self._pipeline = Pipeline(parts, self._writer)
        self._list_poller = ListPoller(parts)
        self._claims = Claims(parts, options.lease_s)
        self._chooser = RequestChooser(options, parts, self._claims, self._writer)
        self._clock_watch = ClockWatch(parts)
        self._housekeeping = Housekeeping(parts)
        self._models = ModelLookups(parts, self._list_poller, every_s=options.housekeeping_s, grace_s=options.grace_s)
        self._slots = anyio.CapacityLimiter(options.concurrency)

    def set_concurrency(self, requests: int) -> None:
        """Change how many requests may be under way at a time; requests under way go on."""
        self._slots.total_tokens = requests
        self._chooser.set_concurrency(requests)

    async def run(self) -> None:
        """Harvest until there is nothing left to do, or until stopped. Claims are given back in any case."""
        try:
            async with anyio.create_task_group() as group:
                self.control.cancel_after_stop(group.cancel_scope, self._options.grace_s + LAST_WRITES_S)
                await self._prepare()
                group.start_soon(self._keep_house, name="housekeeping")
                group.start_soon(self._models.run, name="models")
                await self._flow()
                await self._models.finish()
                group.cancel_scope.cancel()
        finally:
            # Without repeats: claims that cannot be given back now end by themselves with their lease.
            with anyio.CancelScope(shield=True), suppress(StoreBusyError):
                await self._claims.release()
                await self._source.share_processing_times(self._planner.times.take_fresh())
                await self._throttle.publish_limits()
                self._progress.counts = await self._source.counts()

    async def _prepare(self) -> None:
        now_ms = self._clock.wall_ms()
        await self._claims.free_dead(now_ms)
        await self._clock_watch.make_misdated_due(now_ms)
        if self._options.until is StopWhen.ALL_ASKED:
            await self._retry.run(lambda: self._source.make_all_due(now_ms))
        await self._housekeeping.prepare()
        self._planner.load_versions(await self._retry.run(self._source.known_versions))
        await self._chooser.prepare(now_ms)
        since_ms = now_ms - REMEMBERED_MS
        self._final_states.remember(await self._retry.run(lambda: self._source.recent_answers(since_ms, now_ms)))

    async def _flow(self) -> None:
        """Run the stages; each ends when the one before it has closed its stream."""
        responses, to_decode = anyio.create_memory_object_stream[Fetched](self._options.concurrency)
        settlements, to_write = anyio.create_memory_object_stream[Decided](MAX_CLAIMED_AHEAD)
        async with anyio.create_task_group() as stages, responses, settlements, to_decode, to_write:
            for number in range(self._pipeline.decoding_concurrency):
                receive, send = to_decode.clone(), settlements.clone()
                stages.start_soon(self._pipeline.decode, receive, send, name=f"decode {number}")
            stages.start_soon(self._writer.write, to_write.clone(), name="write")
            await self._dispatch(responses)

    async def _dispatch(self, responses: MemoryObjectSendStream[Fetched]) -> None:
        """Send requests until there is nothing to do; then wait for those under way."""
        async with anyio.create_task_group() as fetches:
            self.control.cancel_after_stop(fetches.cancel_scope, self._options.grace_s)
            while True:
                slot = object()
                await self._slots.acquire_on_behalf_of(slot)
                # Wait for memory before the permit is taken: a request with a permit must go out at once.
                await self._budget.wait_for_room()
                with self._progress.beats.at_work("dispatch", self._clock.monotonic):
                    chosen = await self._chooser.choose(fetches)
                if chosen is None:
                    return
                self._progress.in_flight += 1
                reservation = self._budget.take()
                fetches.start_soon(
                    self._carry_out, slot, *chosen, reservation, responses, name=f"ask {chosen[0].endpoint}"
                )

    async def _carry_out(
        self,
        slot: object,
        request: PlannedRequest,
        permit: Permit,
        reservation: Reservation,
        responses: MemoryObjectSendStream[Fetched],
    ) -> None:
        try:
            if isinstance(request, TaskRequest):
                await self._pipeline.fetch(request, permit, reservation, responses)
                return
            reservation.release()
            self._progress.requests[request.endpoint] += 1
            try:
                await self._list_poller.poll(request, permit)
            finally:
                self.control.record_done(1)
        finally:
            self._slots.release_on_behalf_of(slot)

    async def _keep_house(self) -> None:
        """Renew the leases, watch the clock, free the tasks of dead processes, and do the housekeeping."""
        every_s = min(self._options.housekeeping_s, self._options.lease_s / 3)
        while True:
            await self._clock.wait(anyio.Event(), every_s)
            with self._progress.beats.at_work("housekeeping", self._clock.monotonic):
                now_ms = self._clock.wall_ms()
                await self._claims.give_back_lapsed()
                await self._clock_watch.notice_set_back(now_ms)
                await self._claims.renew()
                await self._claims.free_dead(now_ms)
                await self._housekeeping.run()
