"""Compute when the next request may go out. Times are monotonic seconds.

A token bucket as the generic cell rate algorithm (GCRA, ITU-T I.371): the state of a bucket is one number, the
theoretical arrival time of the next request.
"""

from dataclasses import dataclass
from enum import StrEnum

MIN_BLOCK_S = 1.0
"""Seconds: the shortest block, so that `Retry-After: 0` cannot cause an endless loop of requests."""

MAX_BLOCK_S = 25 * 3600.0
"""Seconds: the longest block. APIs count limits for a day at most, so a longer wait is a mistake of the server."""

MAX_GUESSED_BLOCK_S = 300.0
"""Seconds: the longest block after a 429 that states no wait."""

MAX_LEASED_AHEAD_MS = 5_000.0
"""Milliseconds: requests that are due later are not leased yet, because a process may end before it sends them."""

LEASE_SLACK_MS = 5_000.0
"""Milliseconds for which another process may have waited for the database after it read the clock."""

MAX_CHARGED_AHEAD_MS = 60_000.0
MAX_CHARGED = 64
"""The furthest ahead, as milliseconds plus requests at the rate, that sent requests of all processes are charged."""


class Endpoint(StrEnum):
    """The kinds of requests that the API limits separately."""

    STATUS = "status"
    RETRIEVE = "retrieve"
    LIST = "list"


POLL_ENDPOINTS = (Endpoint.STATUS, Endpoint.RETRIEVE, Endpoint.LIST)
"""The endpoints that answer whether a task has finished, in the order of reports.

The scheduler waits for the first of these that may be called, so an endpoint that polls no task does not belong here.
"""

TASK_ENDPOINTS = (Endpoint.STATUS, Endpoint.RETRIEVE)
"""The endpoints that answer about one task. Without these no task can be brought to an end."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A sustained rate (0: no limit), and the number of requests that may go out at once after a pause."""

    requests_per_minute: float
    burst: int = 1

    @property
    def interval_s(self) -> float:
        """Seconds between two requests at the sustained rate."""
        return 60.0 / self.requests_per_minute if self.requests_per_minute > 0 else 0.0

    @property
    def tolerance_s(self) -> float:
        """Seconds by which a burst may run ahead of the sustained rate."""
        return self.interval_s * (self.burst - 1)


@dataclass(slots=True)
class Bucket:
    """One GCRA bucket: `arrival` is the theoretical arrival time of the next request."""

    limit: RateLimit
    arrival: float = 0.0

    def ready_at(self) -> float:
        """Return the earliest time at which a request conforms."""
        return self.arrival - self.limit.tolerance_s

    def take(self, now: float, requests: float = 1.0) -> None:
        """Account for `requests`, which may be a fraction, at `now`."""
        self.arrival = max(self.arrival, now) + requests * self.limit.interval_s


@dataclass(frozen=True, slots=True)
class LimitReport:
    """The limits that one answer states, each None if absent. `reset_s` and `retry_after_s` count from now."""

    remaining: int | None = None
    reset_s: float | None = None
    retry_after_s: float | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class BudgetLease:
    """Requests reserved from the budget that processes share: when the first may go out, and the known blocks.

    Times are Unix milliseconds, because monotonic clocks of two processes cannot be compared. `is_taken` False: nothing
    was reserved; retry at `start_ms`.
    """

    start_ms: float
    blocks: dict[Endpoint, int]
    is_taken: bool = True


def reserve(arrival_ms: float, now_ms: float, limit: RateLimit, count: int) -> tuple[float, float]:
    """Return when the first of `count` requests is due, and the theoretical arrival time after the last.

    Ignore an arrival that is further ahead than any lease at this rate: the clock has jumped, or the rate was lower.
    """
    last_lease_ms = max(1_000.0, 2_000 * limit.interval_s)
    furthest_ms = MAX_LEASED_AHEAD_MS + LEASE_SLACK_MS + limit.tolerance_s * 1000 + last_lease_ms
    return _reserve(arrival_ms, now_ms, limit, count, furthest_ms)


def charge(arrival_ms: float, now_ms: float, limit: RateLimit, count: int) -> tuple[float, float]:
    """Return the same for requests that have been sent already and that other processes do not know of yet."""
    furthest_ms = MAX_CHARGED_AHEAD_MS + MAX_CHARGED * limit.interval_s * 1000
    return _reserve(arrival_ms, now_ms, limit, count, furthest_ms)


def _reserve(arrival_ms: float, now_ms: float, limit: RateLimit, count: int, furthest_ms: float) -> tuple[float, float]:
    start_ms = arrival_ms if now_ms < arrival_ms <= now_ms + furthest_ms else now_ms
    return start_ms, start_ms + count * limit.interval_s * 1000


def is_to_be_leased(start_ms: float, now_ms: float, limit: RateLimit) -> bool:
    """Return whether a request with that arrival time is due soon enough to be leased now."""
    return start_ms - limit.tolerance_s * 1000 - now_ms <= MAX_LEASED_AHEAD_MS
