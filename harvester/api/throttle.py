"""The rate limit in force: permits to send, and what answers teach about when the next one is due."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import anyio

from harvester.domain.pacing import MAX_RESERVATIONS, BudgetLease, Endpoint, LimitReport, Pacer, RateLimit

GRANT_S = 1.0
"""How much of the shared budget is leased at a time."""

SHARE_EVERY_S = 5.0
WORTH_SHARING_S = 1.0


class Permit:
    """The right to send one request. The client takes nothing else, so nobody sends past the throttle."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._spent = False

    def spend(self) -> None:
        """Use the permit up. Raises RuntimeError the second time."""
        if self._spent:
            raise RuntimeError("a permit is for one request")
        self._spent = True


class Ledger(Protocol):
    """Where processes share one budget; see `harvester.store.sqlite.Store`."""

    async def lease_requests(self, limit: RateLimit, count: int, now_ms: int) -> BudgetLease:
        """Take requests out of the shared budget."""
        ...

    async def share_blocks(self, blocks: dict[Endpoint, int], now_ms: int) -> dict[Endpoint, int]:
        """Tell of blocks and learn of those that others were told."""
        ...


class Throttle:
    """Hands out permits at the configured rate, less while the API asks for less.

    With a ledger the rate is that of all processes together: `refill` leases requests from it, a second's worth at a
    time, and what is not used in time is given up.
    """

    def __init__(
        self,
        limit: RateLimit,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        ledger: Ledger | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._pacer = Pacer(limit)
        self._monotonic = monotonic
        self._wall_ms = wall_ms
        self._ledger = ledger
        self._granted = 0
        self._grant_ends = -math.inf
        self._shared_at = -math.inf
        self._unshared: set[Endpoint] = set()
        self._refilling = anyio.Lock()
        # A fresh bucket is full: the first burst may go out at once.
        self._pacer.bucket.arrival = monotonic()

    @property
    def limit(self) -> RateLimit:
        """The configured ceiling."""
        return self._pacer.limit

    @limit.setter
    def limit(self, limit: RateLimit) -> None:
        self._pacer.limit = self._pacer.bucket.limit = limit
        self._grant_ends = -math.inf

    @property
    def rate_per_s(self) -> float | None:
        """The sustained rate of all requests in force; None without a limit."""
        return self.limit.requests_per_minute / 60 or None

    async def refill(self) -> None:
        """Lease requests if there are none left, and share what is known of blocks; nothing without a ledger."""
        if self._ledger is not None:
            # Two who wait for the same lease need one, not two.
            async with self._refilling:
                await self._refill(self._ledger)

    async def _refill(self, ledger: Ledger) -> None:
        now = self._monotonic()
        if self._unshared or now - self._shared_at >= SHARE_EVERY_S:
            blocks = {endpoint: self._as_wall_ms(endpoint, now) for endpoint in self._unshared}
            self._unshared.clear()
            self._shared_at = now
            self._adopt(await ledger.share_blocks(blocks, self._wall_ms()))
        interval_s = self.limit.interval_s
        if interval_s and (self._granted <= 0 or now >= self._grant_ends):
            count = max(1, min(MAX_RESERVATIONS // 4, int(GRANT_S / interval_s)))
            now_ms = self._wall_ms()
            lease = await ledger.lease_requests(self.limit, count, now_ms)
            self._pacer.bucket.arrival = now + (lease.start_ms - now_ms) / 1000
            self._granted = count
            self._grant_ends = self._pacer.bucket.arrival + count * interval_s + GRANT_S
            self._adopt(lease.blocks)

    def _as_wall_ms(self, endpoint: Endpoint, now: float) -> int:
        return self._wall_ms() + round(self._pacer.blocked_s(endpoint, now) * 1000)

    def _adopt(self, blocks: Mapping[Endpoint, int]) -> None:
        now, now_ms = self._monotonic(), self._wall_ms()
        for endpoint, until_ms in blocks.items():
            self._pacer.block(endpoint, (until_ms - now_ms) / 1000, now)

    def wait_s(self, endpoint: Endpoint) -> float:
        """Return how long a request of that class must wait; 0 means that `take` succeeds."""
        return self._pacer.wait_s(endpoint, self._monotonic())

    def blocked_s(self, endpoint: Endpoint) -> float:
        """Return how long the API has asked that class to stay away."""
        return self._pacer.blocked_s(endpoint, self._monotonic())

    def take(self, endpoint: Endpoint) -> Permit:
        """Return a permit for now. Raises RuntimeError if it is not due yet."""
        now = self._monotonic()
        # Below a microsecond the difference is rounding.
        if not math.isclose(self._pacer.wait_s(endpoint, now), 0.0, abs_tol=1e-6):
            raise RuntimeError("no request may go out now; see Throttle.wait_s")
        self._pacer.take(now)
        self._granted -= 1
        return Permit(endpoint)

    def charge(self) -> None:
        """Account for a request that went out without a permit: the HTTP library's own second try."""
        self._pacer.take(self._monotonic())
        self._granted -= 1

    def learn(self, endpoint: Endpoint, status: int, report: LimitReport) -> None:
        """Take note of what an answer with that HTTP status said about limits."""
        now = self._monotonic()
        if status == 429:
            self._pacer.refused(endpoint, report, now)
        else:
            self._pacer.accepted(endpoint, report, now)
        if self._pacer.blocked_s(endpoint, now) > WORTH_SHARING_S:
            self._unshared.add(endpoint)
