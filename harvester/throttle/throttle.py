"""The rate limit in force: hand out permits to send, and learn limits from answers."""

import math
import time
from collections.abc import Callable

from harvester.domain.limits.endpoint import Endpoint, LimitReport, RateLimit
from harvester.domain.limits.endpoint_state import EndpointBudget
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.quotas import Quota, Sending
from harvester.domain.planning.feasibility import Budget, Deadlines
from harvester.ports.store import LimitStore
from harvester.throttle.shared_budget import SharedBudget

WORTH_SHARING_S = 1.0


class Permit:
    """The right to send one request. The client requires one for each request, so none goes past the throttle."""

    def __init__(self, endpoint: Endpoint, sending: Sending | None = None) -> None:
        self.endpoint = endpoint
        self.sending = sending
        self._spent = False

    def spend(self) -> None:
        """Use the permit up. Raises RuntimeError the second time."""
        if self._spent:
            raise RuntimeError("a permit is for one request")
        self._spent = True


class Throttle:
    """Hands out permits at the configured rate, or more slowly while the API demands it.

    With a limit store, all processes share the rate, and learned limits outlive the process: see
    `harvester.throttle.shared_budget`.
    """

    def __init__(
        self,
        limit: RateLimit,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        limit_store: LimitStore | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._pacer = Pacer(limit)
        self._monotonic = monotonic
        self._shared = None if limit_store is None else SharedBudget(limit_store, self._pacer, monotonic, wall_ms)
        # A fresh bucket is full: the first burst may go out at once.
        self._pacer.start_at(monotonic())

    @property
    def limit(self) -> RateLimit:
        """The configured ceiling."""
        return self._pacer.limit

    @limit.setter
    def limit(self, limit: RateLimit) -> None:
        self._pacer.change_limit(limit, self._monotonic())
        if self._shared is not None:
            self._shared.forget_lease()

    @property
    def rate_per_s(self) -> float | None:
        """The sustained rate of retrievals in requests per second, for planning; None if nothing limits it.

        The least of the configured rate, the cut rate of retrievals, and their quota over its window. A burst may be
        faster, and a block stops it for a while.
        """
        return self._pacer.rate_per_s(self._monotonic())

    def results_budget(self, now_ms: int) -> Budget:
        """Return the budget for retrievals from `now_ms` (Unix milliseconds) on."""
        return self._pacer.results_budget(self._monotonic(), now_ms)

    def press(self, deadlines: Deadlines, now_ms: int) -> None:
        """Note the deadlines of the open tasks, so that a quota's reserve is used before them."""
        self._pacer.press(deadlines, self._monotonic(), now_ms)

    def budget(self, endpoint: Endpoint) -> EndpointBudget:
        """Return the limits of that endpoint for reports."""
        return self._pacer.budget(endpoint, self._monotonic())

    @property
    def has_quota_of_day(self) -> bool:
        """Whether a quota of a day, or of longer, is known for any endpoint."""
        return self._pacer.has_quota_of_day(self._monotonic())

    async def refill(self) -> None:
        """Lease requests if none are left, and exchange limits; no effect without a limit store. Raises StoreError."""
        if self._shared is not None:
            await self._shared.refill()

    async def load_limits(self) -> None:
        """Adopt the limits that other processes have learned; no effect without a limit store. Raises StoreError."""
        if self._shared is not None:
            await self._shared.load_limits()

    async def publish_limits(self) -> None:
        """Store the limits learned since the last refill, which may be hours ago. Raises StoreError."""
        if self._shared is not None:
            await self._shared.publish_limits()

    def wait_s(self, endpoint: Endpoint) -> float:
        """Return the seconds that a request to that endpoint must wait; 0 means that `take` succeeds."""
        return self._pacer.wait_s(endpoint, self._monotonic())

    def endpoint_wait_s(self, endpoint: Endpoint) -> float:
        """Return the seconds to wait because of the endpoint's own limits: a block, a quota's end or a cut rate."""
        return self._pacer.endpoint_wait_s(endpoint, self._monotonic())

    def blocked_s(self, endpoint: Endpoint) -> float:
        """Return the seconds for which that endpoint is still blocked."""
        return self._pacer.blocked_s(endpoint, self._monotonic())

    def take(self, endpoint: Endpoint) -> Permit:
        """Return a permit for now. Raises RuntimeError if it is not due yet."""
        now = self._monotonic()
        # A difference below a microsecond is rounding.
        if not math.isclose(self._pacer.wait_s(endpoint, now), 0.0, abs_tol=1e-6):
            raise RuntimeError("no request may go out now; see Throttle.wait_s")
        return Permit(endpoint, self._send(endpoint, now))

    def charge(self, permit: Permit) -> None:
        """Account for a request that the HTTP library sent a second time on the same permit."""
        permit.sending = self._send(permit.endpoint, self._monotonic())

    def learn(self, endpoint: Endpoint, status: int, report: LimitReport, sending: Sending | None = None) -> None:
        """Learn from the limits that an answer with that HTTP status reports.

        `sending` is the permit's; without it the request was sent just now.
        """
        now = self._monotonic()
        if status == 429:
            self._pacer.throttled(endpoint, report, now, sending)
        else:
            self._pacer.accepted(endpoint, report, now, sending)
        if self._shared is not None and self._pacer.blocked_s(endpoint, now) > WORTH_SHARING_S:
            self._shared.blocked(endpoint)

    def learn_quota(self, endpoint: Endpoint, quota: Quota | None) -> None:
        """Adopt a quota that the API has stated in a message; no effect for None."""
        if quota is not None:
            self._pacer.learn_quota(endpoint, quota)

    def _send(self, endpoint: Endpoint, now: float) -> Sending:
        if self._shared is not None:
            self._shared.took()
        return self._pacer.take(endpoint, now)
