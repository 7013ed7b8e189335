"""Reads open tasks from the store and spends the request budget on them, in one task group.

The database is the only memory: a task is claimed for one request, and what came of it is written before the task can
be claimed again. So stopping at any moment loses nothing but the requests under way.
"""

import os
import secrets
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol, TypeVar

import anyio
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from harvester.api.memory_budget import Hold
from harvester.api.throttle import Permit, Throttle
from harvester.domain.breaker import Breaker
from harvester.domain.outcomes import Refused
from harvester.domain.pacing import Endpoint
from harvester.domain.planning import Action, deferred_until_ms, plan
from harvester.domain.tasks import DAY_MS, Task, TaskState
from harvester.service.clock import Clock
from harvester.service.pipeline import Decided, Fetched, Pipeline
from harvester.service.progress import Progress
from harvester.store.overview import Horizon
from harvester.store.taking import Lease

T = TypeVar("T")

LOOK_AGAIN_S = 1.0
"""How soon a row that another program inserts is seen."""

MIN_WAIT_S = 0.01
HOUSEKEEPING_S = 5.0

CLAIMED_AHEAD_S = 1.0
"""Tasks are claimed for about this much of the budget: few, so that a task found ready comes before them."""

MAX_CLAIMED_AHEAD = 64

ATTEMPTS_KEPT_MS = 30 * DAY_MS
PRUNE_EVERY_S = 3600.0

NOT_WAITED_FOR_S = 60.0
"""A harvest that asks about each task once does not sit out a longer block."""

_ABOUT_TASKS = (Endpoint.STATUS, Endpoint.RETRIEVE)
"""What a harvest asks; the list is asked by discovery."""

LAST_WRITES_S = 15.0
"""After the grace time for downloads, what was downloaded is still written."""

log = structlog.stdlib.get_logger()


class TaskSource(Protocol):
    """What the scheduler needs of the store; see `harvester.store.sqlite.Store`."""

    async def claim(self, lease: Lease, *, now_ms: int, limit: int, wake: bool = True) -> list[Task]:
        """Claim due tasks."""
        ...

    async def wake_early(self, now_ms: int) -> None:
        """Make every waiting task due now."""
        ...

    async def renew(self, lease: Lease, now_ms: int) -> int:
        """Prolong the owner's claims that have not lapsed."""
        ...

    async def defer(self, tasks: Sequence[tuple[Task, int]]) -> None:
        """Give claimed tasks back, each due again at a time."""
        ...

    async def release(self, owner: str) -> int:
        """Give the owner's claims back."""
        ...

    async def prune(self, before_ms: int) -> int:
        """Forget a batch of old attempts; return how many."""
        ...

    async def counts(self) -> dict[TaskState, int]:
        """Count tasks by state."""
        ...

    async def horizon(self) -> Horizon:
        """Return what falls due next."""
        ...


class Until(Enum):
    """When a harvest is over by itself."""

    ENDED = "every task has ended"
    ASKED = "every task has been asked about once"
    STOPPED = "somebody stops it"


@dataclass(frozen=True, slots=True)
class HarvestSettings:
    """How to harvest: `concurrency` requests at a time.

    A claim lasts `lease_s` and is renewed while the process lives. After a stop, downloads under way get `grace_s`.
    `has_status_call` is false for v2 of the API, where one call gives status and result.
    """

    concurrency: int = 8
    lease_s: float = 60.0
    grace_s: float = 30.0
    until: Until = Until.ENDED
    has_status_call: bool = True


class Scheduler:
    """Runs a harvest: `await run()`, and `stop()` from anywhere in the event loop."""

    def __init__(  # noqa: PLR0913  # each is a part that a test replaces
        self,
        settings: HarvestSettings,
        *,
        source: TaskSource,
        pipeline: Pipeline,
        throttle: Throttle,
        breaker: Breaker,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._source = source
        self._pipeline = pipeline
        self._throttle = throttle
        self._breaker = breaker
        self._progress = progress
        self._clock = clock
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.refusal: Refused | None = None
        self._queue: list[Action] = []
        self._leased_until_ms = 0
        self._prune_at = 0.0
        self._blocked: set[Endpoint] = set()
        self._slots = anyio.CapacityLimiter(settings.concurrency)
        self._changed = anyio.Event()
        self._stopping = False
        self._fetches: anyio.CancelScope | None = None
        self._everything: anyio.CancelScope | None = None
        pipeline.settled = self._on_settled
        pipeline.refused = self.refuse

    def stop(self) -> None:
        """Take on nothing new; what is under way has the grace time to finish. Safe to call twice."""
        if self._stopping:
            return
        self._stopping = True
        now = anyio.current_time()
        if self._fetches is not None:
            self._fetches.deadline = now + self._settings.grace_s
        if self._everything is not None:
            self._everything.deadline = now + self._settings.grace_s + LAST_WRITES_S
        self._wake_up()

    def refuse(self, outcome: Refused) -> None:
        """Stop because the API does not accept the key; `refusal` keeps what it said."""
        self.refusal = self.refusal or outcome
        self.stop()

    def set_concurrency(self, requests: int) -> None:
        """Change how many requests may be under way at a time; those that are go on."""
        self._slots.total_tokens = requests
        self._settings = replace(self._settings, concurrency=requests)

    async def run(self) -> None:
        """Harvest until there is nothing left to do, or until stopped. Claims are given back in any case."""
        try:
            async with anyio.create_task_group() as group:
                self._everything = group.cancel_scope
                await self._prepare()
                group.start_soon(self._keep_house, name="housekeeping")
                await self._flow()
                group.cancel_scope.cancel()
        finally:
            # Not patient any more: what cannot be given back now falls due by itself when the lease ends.
            with anyio.CancelScope(shield=True), suppress(sqlite3.Error):
                await self._source.release(self.owner)
                self._progress.counts = await self._source.counts()

    async def _prepare(self) -> None:
        now_ms = self._clock.wall_ms()
        if self._settings.until is Until.ASKED:
            await self._patiently(lambda: self._source.wake_early(now_ms))
        await self._refresh()

    async def _flow(self) -> None:
        """Run the stages; each ends when the one before it has closed its stream."""
        replies, to_decode = anyio.create_memory_object_stream[Fetched](self._settings.concurrency)
        settlements, to_write = anyio.create_memory_object_stream[Decided](MAX_CLAIMED_AHEAD)
        async with anyio.create_task_group() as stages, replies, settlements, to_decode, to_write:
            for number in range(self._pipeline.decoding_concurrency):
                receive, send = to_decode.clone(), settlements.clone()
                stages.start_soon(self._pipeline.decode, receive, send, name=f"decode {number}")
            stages.start_soon(self._pipeline.write, to_write.clone(), name="write")
            await self._dispatch(replies)

    async def _dispatch(self, replies: MemoryObjectSendStream[Fetched]) -> None:
        """Spend the budget, request by request, until there is nothing to do; then wait for what is under way."""
        async with anyio.create_task_group() as fetches:
            self._fetches = fetches.cancel_scope
            while True:
                slot = object()
                await self._slots.acquire_on_behalf_of(slot)
                # Before the permit is taken: with one in hand, a request that waits would go out at a wrong time.
                await self._pipeline.budget.room()
                with self._progress.beats.at_work("dispatch", self._clock.monotonic):
                    chosen = await self._choose()
                if chosen is None:
                    return
                self._progress.in_flight += 1
                hold = self._pipeline.budget.take()
                fetches.start_soon(self._fetch, slot, chosen, hold, replies, name=f"fetch {chosen[0].task.task_id}")

    async def _fetch(
        self, slot: object, chosen: tuple[Action, Permit], hold: Hold, replies: MemoryObjectSendStream[Fetched]
    ) -> None:
        try:
            await self._pipeline.fetch(*chosen, hold, replies)
        finally:
            self._slots.release_on_behalf_of(slot)

    async def _choose(self) -> tuple[Action, Permit] | None:
        """Wait for the next request that is worth making and may be made; None when there will be none."""
        while not self._stopping:
            self._progress.beats.beat(self._clock.monotonic())
            changed = self._changed
            self._note_blocks()
            held_s = await self._until_request_s()
            if held_s is None:
                return None
            if held_s == 0:
                action = await self._next_action()
                if action is not None:
                    return action, self._throttle.take(action.endpoint)
                held_s = max(MIN_WAIT_S, self._held_s({action.endpoint for action in self._queue}))
            await self._clock.wait(changed, min(held_s, LOOK_AGAIN_S))
        return None

    async def _until_request_s(self) -> float | None:
        """Return how long there is nothing to ask, or no request may go out; None when the harvest is over.

        Only when something is due a request is taken from the shared budget, and only then a task is claimed for it:
        so an idle process costs nothing, and the task is the most urgent one at the moment of sending.
        """
        held_s: float | None = self._held_s(_ABOUT_TASKS)
        if self._settings.until is Until.ASKED and not self._progress.in_flight and self._is_blocked_for_long():
            return None
        if held_s == 0 and not self._queue:
            held_s = await self._idle_s()
        if held_s == 0:
            await self._patiently(self._throttle.refill)
            held_s = self._held_s(_ABOUT_TASKS)
        return held_s

    def _held_s(self, endpoints: Iterable[Endpoint]) -> float:
        """Return how long no request to any of these may go out."""
        now = self._clock.monotonic()
        if not self._breaker.allows(self._progress.in_flight, now):
            # While a probe is under way its answer wakes this up.
            return self._breaker.wait_s(now) or LOOK_AGAIN_S
        return min((self._throttle.wait_s(endpoint) for endpoint in endpoints), default=0.0)

    async def _next_action(self) -> Action | None:
        """Take the first claimed action that may go out now, after claiming more if there is none."""
        now_ms = self._clock.wall_ms()
        self._drop_lapsed(now_ms)
        action = self._first_permitted()
        if action is None and len(self._queue) < MAX_CLAIMED_AHEAD:
            wake = self._settings.until is not Until.ASKED
            lease, limit = self._lease(now_ms), self._claim_limit()
            claimed = await self._patiently(
                lambda: self._source.claim(lease, now_ms=now_ms, limit=limit, wake=wake),
            )
            if claimed:
                self._leased_until_ms = max(self._leased_until_ms, lease.until_ms)
            tasks = [*(action.task for action in self._queue), *claimed]
            self._queue = await self._without_blocked(
                plan(tasks, now_ms, has_status_call=self._settings.has_status_call), now_ms
            )
            action = self._first_permitted()
        if action is not None:
            self._queue.remove(action)
        return action

    async def _without_blocked(self, actions: list[Action], now_ms: int) -> list[Action]:
        """Give back the tasks whose call the API wants not to see for a while: they must not keep others waiting."""
        deferred, rest = [], []
        for action in actions:
            blocked_s = self._throttle.blocked_s(action.endpoint)
            if blocked_s > LOOK_AGAIN_S:
                blocked_until_ms = now_ms + round(blocked_s * 1000)
                deferred.append((action.task, deferred_until_ms(action, blocked_until_ms, now_ms)))
            else:
                rest.append(action)
        if deferred:
            await self._patiently(lambda: self._source.defer(deferred))
        return rest

    def _drop_lapsed(self, now_ms: int) -> None:
        """Forget what was claimed if this process stood still for longer than its leases: somebody else may have it."""
        if now_ms >= self._leased_until_ms:
            self._queue.clear()

    def _first_permitted(self) -> Action | None:
        return next((action for action in self._queue if self._throttle.wait_s(action.endpoint) == 0), None)

    def _claim_limit(self) -> int:
        interval_s = self._throttle.limit.interval_s
        ahead = CLAIMED_AHEAD_S / interval_s if interval_s else MAX_CLAIMED_AHEAD
        return max(1, min(MAX_CLAIMED_AHEAD, 4 * self._settings.concurrency, int(ahead)))

    async def _idle_s(self) -> float | None:
        """Return how long no task is due; None when the harvest is over."""
        next_due_ms = (await self._patiently(self._source.horizon)).next_due_ms
        if next_due_ms == 0:
            return 0.0
        if self._settings.until is Until.ASKED or next_due_ms is None:
            is_over = self._settings.until is not Until.STOPPED and not self._progress.in_flight
            return None if is_over else LOOK_AGAIN_S
        return max(0.0, (next_due_ms - self._clock.wall_ms()) / 1000)

    def _is_blocked_for_long(self) -> bool:
        return min(self._throttle.blocked_s(endpoint) for endpoint in _ABOUT_TASKS) > NOT_WAITED_FOR_S

    def _note_blocks(self) -> None:
        """Tell when the API asks a class of requests to stay away, and when that is over."""
        until_ms = None
        for endpoint in _ABOUT_TASKS:
            blocked_s = self._throttle.blocked_s(endpoint)
            if blocked_s > LOOK_AGAIN_S:
                until_ms = max(until_ms or 0, self._clock.wall_ms() + round(blocked_s * 1000))
                if endpoint not in self._blocked:
                    self._blocked.add(endpoint)
                    log.warning("rate limited", endpoint=endpoint.value, wait_s=round(blocked_s))
            elif blocked_s == 0 and endpoint in self._blocked:
                self._blocked.remove(endpoint)
                log.info("rate limit over", endpoint=endpoint.value)
        self._progress.blocked_until_ms = until_ms

    def _lease(self, now_ms: int) -> Lease:
        return Lease(self.owner, now_ms + int(self._settings.lease_s * 1000))

    async def _keep_house(self) -> None:
        """Renew the leases, and refresh what displays show."""
        every_s = min(HOUSEKEEPING_S, self._settings.lease_s / 3)
        while True:
            await self._clock.wait(anyio.Event(), every_s)
            with self._progress.beats.at_work("housekeeping", self._clock.monotonic):
                now_ms = self._clock.wall_ms()
                self._drop_lapsed(now_ms)
                lease = self._lease(now_ms)
                if await self._patiently(lambda: self._source.renew(lease, now_ms)):  # noqa: B023  # awaited here
                    self._leased_until_ms = lease.until_ms
                await self._prune()
                await self._refresh()

    async def _prune(self) -> None:
        """Forget old attempts, an hour's worth at a time and in small transactions."""
        now = self._clock.monotonic()
        if now < self._prune_at:
            return
        before_ms = self._clock.wall_ms() - ATTEMPTS_KEPT_MS
        if await self._patiently(lambda: self._source.prune(before_ms)) == 0:
            self._prune_at = now + PRUNE_EVERY_S

    async def _refresh(self) -> None:
        self._progress.counts = await self._patiently(self._source.counts)
        nearest = (await self._patiently(self._source.horizon)).nearest_deadline
        self._progress.nearest_deadline_ms = nearest.expires_at_ms if nearest else None

    async def _patiently(self, write: Callable[[], Awaitable[T]]) -> T:
        return await self._pipeline.patiently(write)

    def _on_settled(self, count: int) -> None:
        self._progress.in_flight -= count
        self._wake_up()

    def _wake_up(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
