"""The rate limit as arithmetic: when may the next request go out? Times are monotonic seconds.

A token bucket in the form of the generic cell rate algorithm (GCRA, ITU-T I.371): one number for each bucket,
the theoretical arrival time of the next request, is all there is to keep.
"""

from dataclasses import dataclass
from enum import StrEnum

MIN_BLOCK_S = 1.0
"""`Retry-After: 0` must not mean "at once, for ever"."""

MAX_BLOCK_S = 25 * 3600.0
"""Limits are counted for a day at most; a longer wait than a day and an hour is a mistake of the server."""

MAX_GUESSED_BLOCK_S = 300.0

MAX_LEASED_AHEAD_MS = 5_000.0
"""What may go out later than that is not leased yet: a process that ends before would have wasted it."""

LEASE_SLACK_MS = 5_000.0
"""Another process may have waited for its turn to write since it looked at the clock."""

MAX_CHARGED_AHEAD_MS = 60_000.0
MAX_CHARGED = 64
"""So far ahead of now requests may be charged that went out already, by all processes together."""


class Endpoint(StrEnum):
    """The classes of requests that the API limits separately."""

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
    """A sustained rate (0: no limit) and how many requests may go out at once after a pause."""

    requests_per_minute: float
    burst: int = 1

    @property
    def interval_s(self) -> float:
        """Seconds between two requests at the sustained rate."""
        return 60.0 / self.requests_per_minute if self.requests_per_minute > 0 else 0.0

    @property
    def tolerance_s(self) -> float:
        """How far ahead of the sustained rate a burst may run."""
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
        """Account for one request at `now`, or a part of one."""
        self.arrival = max(self.arrival, now) + requests * self.limit.interval_s


@dataclass(frozen=True, slots=True)
class LimitReport:
    """What one answer says about limits; None where it says nothing. `reset_s` counts from now."""

    remaining: int | None = None
    reset_s: float | None = None
    retry_after_s: float | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class BudgetLease:
    """Requests taken out of a budget that processes share: the time of the first, and the known blocks.

    All in Unix milliseconds: monotonic clocks of two processes cannot be compared. `is_taken`: they are; else the first
    is so far ahead that it is to be asked for again when it is due.
    """

    start_ms: float
    blocks: dict[Endpoint, int]
    is_taken: bool = True


def reserve(arrival_ms: float, now_ms: float, limit: RateLimit, count: int) -> tuple[float, float]:
    """Return when the first of `count` requests is due, and the theoretical arrival time after the last.

    An arrival further ahead than any lease at this rate reaches is the work of a clock that has jumped or of a rate
    that was lower, and is forgotten.
    """
    last_lease_ms = max(1_000.0, 2_000 * limit.interval_s)
    furthest_ms = MAX_LEASED_AHEAD_MS + LEASE_SLACK_MS + limit.tolerance_s * 1000 + last_lease_ms
    return _reserve(arrival_ms, now_ms, limit, count, furthest_ms)


def charge(arrival_ms: float, now_ms: float, limit: RateLimit, count: int) -> tuple[float, float]:
    """Return the same of requests that have gone out already, and that several processes have not heard of yet."""
    furthest_ms = MAX_CHARGED_AHEAD_MS + MAX_CHARGED * limit.interval_s * 1000
    return _reserve(arrival_ms, now_ms, limit, count, furthest_ms)


def _reserve(arrival_ms: float, now_ms: float, limit: RateLimit, count: int, furthest_ms: float) -> tuple[float, float]:
    start_ms = arrival_ms if now_ms < arrival_ms <= now_ms + furthest_ms else now_ms
    return start_ms, start_ms + count * limit.interval_s * 1000


def is_to_be_leased(start_ms: float, now_ms: float, limit: RateLimit) -> bool:
    """Return whether a request with that arrival time may go out so soon that it is taken out of the budget now."""
    return start_ms - limit.tolerance_s * 1000 - now_ms <= MAX_LEASED_AHEAD_MS
