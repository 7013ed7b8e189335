"""The part of a request budget that this process has, of what all processes on one database share."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio

from harvester.domain.limits.aimd import LearnedRate
from harvester.domain.limits.endpoint import Endpoint, RateLimit, charge
from harvester.domain.limits.endpoint_state import EndpointState, OpenWindow
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.quotas import WINDOWS_S, Quota
from harvester.domain.limits.shared_limits import (
    Charge,
    EndpointLimits,
    LimitUpdate,
    SharedRate,
    TaughtWindow,
)
from harvester.ports.store import LimitStore

GRANT_S = 1.0
"""How much of the shared budget is leased at a time."""

MAX_GRANTED = 16

SHARE_EVERY_S = 5.0


class SharedBudget:
    """Keeps a pacer in step with the ledger.

    Requests at the configured rate are leased before they go out, a second's worth at a time, and what is not used in
    time is given up. Those of a class with a cut rate are charged to the class as well, afterwards and within a
    second: a lease would be wasted, for of which class the next request will be is not known.
    """

    def __init__(
        self, ledger: LimitStore, pacer: Pacer, monotonic: Callable[[], float], wall_ms: Callable[[], int]
    ) -> None:
        self._ledger = ledger
        self._pacer = pacer
        self._monotonic = monotonic
        self._wall_ms = wall_ms
        self._granted = self._owed = 0
        self._grant_ends = -math.inf
        self._shared_at = -math.inf
        self._blocked: set[Endpoint] = set()
        self._heard_of: set[tuple[Endpoint, int]] = set()
        self._shared = {endpoint: _SharedClass(pacer, endpoint) for endpoint in pacer.endpoints}
        self._refilling = anyio.Lock()

    def took(self) -> None:
        """Take note of a request that went out; what went out without a lease is paid with the next one."""
        if self._granted > 0:
            self._granted -= 1
        else:
            self._owed += 1

    def blocked(self, endpoint: Endpoint) -> None:
        """Take note of a block that others should know of."""
        self._blocked.add(endpoint)

    def forget_lease(self) -> None:
        """Lease anew at the next refill: the rate has changed."""
        self._grant_ends = -math.inf

    async def refill(self) -> None:
        """Lease requests if there are none left, and share what is known of limits."""
        if not (self._is_to_share() or self._is_to_lease()):
            return
        # Two who wait for the same lease need one, not two.
        async with self._refilling:
            if self._is_to_share():
                await self._share(self._monotonic())
            if self._is_to_lease():
                await self._lease(self._monotonic(), self._pacer.limit.interval_s)

    def _is_to_share(self) -> bool:
        now = self._monotonic()
        return bool(self._blocked) or now - self._shared_at >= self._share_every_s(now)

    def _is_to_lease(self) -> bool:
        is_used_up = self._granted <= 0 or self._monotonic() >= self._grant_ends
        return self._pacer.limit.interval_s > 0 and is_used_up

    async def tell(self) -> None:
        """Share what is known of limits if there is anything new."""
        async with self._refilling:
            now = self._monotonic()
            if self._news(now, self._wall_ms()):
                await self._share(now)

    async def _lease(self, now: float, interval_s: float) -> None:
        count = max(1, min(MAX_GRANTED, int(GRANT_S / interval_s)))
        now_ms = self._wall_ms()
        lease = await self._ledger.lease_requests(self._pacer.limit, self._owed + count, now_ms)
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

    def _news(self, now: float, now_ms: int) -> LimitUpdate:
        blocks = {endpoint: now_ms + round(self._pacer.blocked_s(endpoint, now) * 1000) for endpoint in self._blocked}
        news = LimitUpdate(blocks)
        for shared in self._shared.values():
            shared.add_news(news, now, now_ms)
        return news

    async def _share(self, now: float) -> None:
        now_ms = self._wall_ms()
        news = self._news(now, now_ms)
        known = await self._ledger.share_limits(news, now_ms)
        # Only now: what could not be written is still to be told.
        self._shared_at = now
        self._blocked.difference_update(news.blocks)
        self._heard_of.update(news.blocks.items())
        self._adopt(known.blocks)
        for endpoint, shared in self._shared.items():
            shared.adopt(known.lessons.get(endpoint, EndpointLimits()), self._monotonic(), self._wall_ms())

    def _adopt(self, blocks: Mapping[Endpoint, int]) -> None:
        """Keep to blocks that are new here: of a known one a wall clock that is set back would make a longer one."""
        now, now_ms, known = self._monotonic(), self._wall_ms(), set(blocks.items())
        for endpoint, until_ms in known - self._heard_of:
            self._pacer.block(endpoint, (until_ms - now_ms) / 1000, now)
        self._heard_of = known


@dataclass(slots=True)
class _Told:
    """What one class had learned and sent when it was last put into words for the ledger."""

    quota: Quota | None = None
    window: TaughtWindow | None = None
    learned: LearnedRate | None = None
    rate: SharedRate | None = None
    sent: int = 0


class _SharedClass:
    """One class, and what the ledger is known to hold of it."""

    def __init__(self, pacer: Pacer, endpoint: Endpoint) -> None:
        self._pacer = pacer
        self._endpoint = endpoint
        self._held = self._telling = _Told()

    def add_news(self, news: LimitUpdate, now: float, now_ms: int) -> None:
        """Add what the ledger does not hold yet."""
        endpoint, held, known = self._endpoint, self._held, self._pacer.snapshot(self._endpoint, now)
        window, sent = _taught_window(known, now, now_ms), self._pacer.sent_since(endpoint, held.sent, now)
        self._telling = _Told(known.quota, window, known.learned, held.rate, sent.last_number)
        if known.quota is not None and known.quota != held.quota:
            news.quotas[endpoint] = known.quota
        if window is not None and window != held.window:
            news.windows[endpoint] = window
        if known.learned is not None and known.learned is not held.learned:
            since_ms = now_ms + round((known.learned.since - now) * 1000)
            news.rates[endpoint] = self._telling.rate = SharedRate(known.learned.per_minute, since_ms)
        rate = self._pacer.learned_rate(endpoint, now)
        if rate is not None and sent.count > 0:
            news.payments[endpoint] = Charge(sent.count, now_ms + round((sent.first_at - now) * 1000), rate)

    def adopt(self, lesson: EndpointLimits, now: float, now_ms: int) -> None:
        """Adopt limits from the ledger, unless this process has learned others that the ledger does not hold yet."""
        held, known = self._telling, self._pacer.snapshot(self._endpoint, now)
        quota = lesson.quota if known.quota == held.quota else None
        learned: LearnedRate | None = None
        if lesson.rate is not None and lesson.rate != held.rate and known.learned is held.learned:
            since = now - max(0.0, (now_ms - lesson.rate.at_ms) / 1000)
            learned = held.learned = LearnedRate(lesson.rate.per_minute, since)
            held.rate = lesson.rate
        held.quota = lesson.quota
        window = None if lesson.window is None else _open_window(lesson.window, now, now_ms)
        self._pacer.restore(self._endpoint, EndpointState(quota, window, learned), now)
        rate = self._pacer.learned_rate(self._endpoint, now)
        if rate is not None:
            arrival_ms, _ = charge(lesson.arrival_ms, now_ms, RateLimit(rate), 0)
            arrival = now + (arrival_ms - now_ms) / 1000
            self._pacer.restore(self._endpoint, EndpointState(arrival=arrival), now)
        self._held = held


def _taught_window(known: EndpointState, now: float, now_ms: int) -> TaughtWindow | None:
    """Return what is left of the open window, None where nothing is known of it or it is over soon."""
    window, quota = known.window, known.quota
    if window is None or quota is None or quota.window_s <= WINDOWS_S[0]:
        return None
    ends_ms, at_ms = (now_ms + round((at - now) * 1000) for at in (window.ends_at, window.as_of))
    return TaughtWindow(max(0, min(window.remaining, quota.limit)), ends_ms, at_ms)


def _open_window(taught: TaughtWindow, now: float, now_ms: int) -> OpenWindow:
    """Return the window of another process on the pacer's clock; a time ahead of this process's clock is now."""
    as_of = now - max(0.0, (now_ms - taught.at_ms) / 1000)
    return OpenWindow(taught.remaining, now + (taught.ends_ms - now_ms) / 1000, as_of)
