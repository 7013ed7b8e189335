"""The rate limit in force: permits to send, and what answers teach about when the next one is due."""

import math
import time
from collections.abc import Callable

from harvester.domain.pacing import Endpoint, LimitReport, Pacer, RateLimit


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


class Throttle:
    """Hands out permits at the configured rate, less while the API asks for less."""

    def __init__(self, limit: RateLimit, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pacer = Pacer(limit)
        self._monotonic = monotonic
        # A fresh bucket is full: the first burst may go out at once.
        self._pacer.bucket.arrival = monotonic()

    @property
    def limit(self) -> RateLimit:
        """The configured ceiling."""
        return self._pacer.limit

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
        return Permit(endpoint)

    def learn(self, endpoint: Endpoint, status: int, report: LimitReport) -> None:
        """Take note of what an answer with that HTTP status said about limits."""
        now = self._monotonic()
        if status == 429:
            self._pacer.refused(endpoint, report, now)
        else:
            self._pacer.accepted(endpoint, report, now)
