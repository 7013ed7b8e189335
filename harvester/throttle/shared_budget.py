"""This process's part of the request budget that all processes on one database share."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio

from harvester.domain.limits.aimd import LearnedRate
from harvester.domain.limits.endpoint import Endpoint, RateLimit, charge
from harvester.domain.limits.endpoint_state import EndpointState
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.quotas import WINDOWS_S, Quota
from harvester.domain.limits.shared_limits import (
    Charge,
    EndpointLimits,
    LimitUpdate,
    SharedRate,
    SharedWindow,
)
from harvester.ports.store import LimitStore

GRANT_S = 1.0
"""Seconds at the configured rate: the requests of this time are leased together."""

MAX_GRANTED = 16
"""Requests: the most in one lease."""

SHARE_EVERY_S = 5.0
"""Seconds between two exchanges of limits; GRANT_S while a rate is cut."""


class SharedBudget:
    """Keeps a pacer in step with the limit store.

    It leases requests at the configured rate before they go out, for a second at a time; unused ones lapse. Requests to
    an endpoint with a cut rate are charged to that endpoint afterwards, within a second, because the endpoint of the
    next request is not known in advance and a lease for it might be wasted.
    """

    def __init__(
        self, limit_store: LimitStore, pacer: Pacer, monotonic: Callable[[], float], wall_ms: Callable[[], int]
    ) -> None:
        self._limit_store = limit_store
        self._pacer = pacer
        self._monotonic = monotonic
        self._wall_ms = wall_ms
        self._granted = self._owed = 0
        self._grant_ends = -math.inf
        self._shared_at = -math.inf
        self._blocked: set[Endpoint] = set()
        self._known_blocks: set[tuple[Endpoint, int]] = set()
        self._shared = {endpoint: _SharedEndpoint(pacer, endpoint) for endpoint in pacer.endpoints}
        self._refilling = anyio.Lock()

    def took(self) -> None:
        """Record a sent request; one without a lease is added to the next lease."""
        if self._granted > 0:
            self._granted -= 1
        else:
            self._owed += 1

    def blocked(self, endpoint: Endpoint) -> None:
        """Note a block of an endpoint, to share it with the other processes."""
        self._blocked.add(endpoint)

    def forget_lease(self) -> None:
        """Drop the lease after a change of the rate, so that the next refill takes a new one."""
        self._grant_ends = -math.inf

    async def refill(self) -> None:
        """Lease requests if none are left, and exchange limits if it is time. Raises StoreError."""
        if not (self._is_to_share() or self._is_to_lease()):
            return
        # Two callers that wait at the same time need only one lease.
        async with self._refilling:
            if self._is_to_share():
                await self._share(self._monotonic())
            if self._is_to_lease():
                await self._lease(self._monotonic(), self._pacer.limit.interval_s)

    def _is_to_share(self) -> bool:
        now = self._monotonic()
        since_s = now - self._shared_at
        return bool(self._blocked) or (since_s >= GRANT_S and since_s >= self._share_every_s(now))

    def _is_to_lease(self) -> bool:
        is_used_up = self._granted <= 0 or self._monotonic() >= self._grant_ends
        return self._pacer.limit.interval_s > 0 and is_used_up

    async def publish_limits(self) -> None:
        """Exchange limits if this process has learned new ones. Raises StoreError."""
        async with self._refilling:
            now = self._monotonic()
            if self._unpublished_limits(now, self._wall_ms()):
                await self._share(now)

    async def load_limits(self) -> None:
        """Exchange limits now. Raises StoreError."""
        async with self._refilling:
            await self._share(self._monotonic())

    async def _lease(self, now: float, interval_s: float) -> None:
        count = max(1, min(MAX_GRANTED, int(GRANT_S / interval_s)))
        now_ms = self._wall_ms()
        lease = await self._limit_store.lease_requests(self._pacer.limit, self._owed + count, now_ms)
        start = now + (lease.start_ms - now_ms) / 1000
        self._granted = count
        if lease.is_taken:
            start += self._owed * interval_s
            self._owed = 0
            self._grant_ends = start + count * interval_s + GRANT_S
            self._pacer.start_at(start)
        else:
            self._pacer.start_at(start)
            self._grant_ends = self._pacer.ready_at()
        self._adopt(lease.blocks)

    def _share_every_s(self, now: float) -> float:
        is_any_cut = any(self._pacer.learned_rate(endpoint, now) is not None for endpoint in self._shared)
        return GRANT_S if is_any_cut else SHARE_EVERY_S

    def _unpublished_limits(self, now: float, now_ms: int) -> LimitUpdate:
        blocks = {endpoint: now_ms + round(self._pacer.blocked_s(endpoint, now) * 1000) for endpoint in self._blocked}
        update = LimitUpdate(blocks)
        for shared in self._shared.values():
            shared.add_unpublished(update, now, now_ms)
        return update

    async def _share(self, now: float) -> None:
        now_ms = self._wall_ms()
        update = self._unpublished_limits(now, now_ms)
        known = await self._limit_store.share_limits(update, now_ms)
        # Only now, so that limits that could not be written are shared at the next exchange.
        self._shared_at = now
        self._blocked.difference_update(update.blocks)
        self._known_blocks.update(update.blocks.items())
        self._adopt(known.blocks)
        for endpoint, shared in self._shared.items():
            shared.adopt(known.limits_by_endpoint.get(endpoint, EndpointLimits()), self._monotonic(), self._wall_ms())

    def _adopt(self, blocks: Mapping[Endpoint, int]) -> None:
        """Adopt blocks that are new here; a known one would become longer if the wall clock was set back."""
        now, now_ms, known = self._monotonic(), self._wall_ms(), set(blocks.items())
        for endpoint, until_ms in known - self._known_blocks:
            self._pacer.block(endpoint, (until_ms - now_ms) / 1000, now)
        self._known_blocks = known


@dataclass(slots=True)
class _Published:
    """The limits of one endpoint, and its number of requests, as last passed to the limit store."""

    quota: Quota | None = None
    window: SharedWindow | None = None
    learned: LearnedRate | None = None
    rate: SharedRate | None = None
    sent: int = 0


class _SharedEndpoint:
    """One endpoint, and its limits that the limit store already has."""

    def __init__(self, pacer: Pacer, endpoint: Endpoint) -> None:
        self._pacer = pacer
        self._endpoint = endpoint
        self._published = self._publishing = _Published()

    def add_unpublished(self, update: LimitUpdate, now: float, now_ms: int) -> None:
        """Add the limits that the limit store does not have yet."""
        endpoint, published, known = self._endpoint, self._published, self._pacer.snapshot(self._endpoint, now)
        window, sent = _shared_window(known, now, now_ms), self._pacer.sent_since(endpoint, published.sent, now)
        self._publishing = _Published(known.quota, window, known.learned, published.rate, sent.last_number)
        if known.quota is not None and known.quota != published.quota:
            update.quotas[endpoint] = known.quota
        if window is not None and window != published.window:
            update.windows[endpoint] = window
        if known.learned is not None and known.learned is not published.learned:
            since_ms = now_ms + round((known.learned.since - now) * 1000)
            update.rates[endpoint] = self._publishing.rate = SharedRate(known.learned.per_minute, since_ms)
        rate = self._pacer.learned_rate(endpoint, now)
        if rate is not None and sent.count > 0:
            update.charges[endpoint] = Charge(sent.count, now_ms + round((sent.first_at - now) * 1000), rate)

    def adopt(self, endpoint_limits: EndpointLimits, now: float, now_ms: int) -> None:
        """Adopt limits from the limit store, unless this process has learned others that are not stored yet."""
        published, known = self._publishing, self._pacer.snapshot(self._endpoint, now)
        quota = endpoint_limits.quota if known.quota == published.quota else None
        learned: LearnedRate | None = None
        if (
            endpoint_limits.rate is not None
            and endpoint_limits.rate != published.rate
            and known.learned is published.learned
        ):
            since = now - max(0.0, (now_ms - endpoint_limits.rate.at_ms) / 1000)
            learned = published.learned = LearnedRate(endpoint_limits.rate.per_minute, since)
            published.rate = endpoint_limits.rate
        published.quota = endpoint_limits.quota
        window = None if endpoint_limits.window is None else endpoint_limits.window.on_clock(now, now_ms)
        self._pacer.restore(self._endpoint, EndpointState(quota, window, learned), now)
        rate = self._pacer.learned_rate(self._endpoint, now)
        if rate is not None:
            arrival_ms, _ = charge(endpoint_limits.arrival_ms, now_ms, RateLimit(rate), 0)
            arrival = now + (arrival_ms - now_ms) / 1000
            self._pacer.restore(self._endpoint, EndpointState(arrival=arrival), now)
        self._published = published


def _shared_window(known: EndpointState, now: float, now_ms: int) -> SharedWindow | None:
    """Return what is left of the open window; None if it is not known, or only a minute long."""
    window, quota = known.window, known.quota
    if window is None or quota is None or quota.window_s <= WINDOWS_S[0]:
        return None
    ends_ms, at_ms = (now_ms + round((at - now) * 1000) for at in (window.ends_at, window.as_of))
    return SharedWindow(max(0, min(window.remaining, quota.limit)), ends_ms, at_ms)
