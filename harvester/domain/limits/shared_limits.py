"""The limits that the processes on one database share.

Times are Unix milliseconds, because monotonic clocks of two processes cannot be compared.
"""

from dataclasses import dataclass, field

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.limits.endpoint_state import OpenWindow
from harvester.domain.limits.quotas import Quota

QUOTA_KEPT_MS = 8 * 24 * 60 * 60 * 1000
"""Milliseconds for which a quota is believed. A cut rate needs no such limit: it climbs back within half an hour."""


@dataclass(frozen=True, slots=True)
class SharedRate:
    """The rate to which an endpoint was cut, and since when it climbs."""

    per_minute: float
    at_ms: int


@dataclass(frozen=True, slots=True)
class SharedWindow:
    """The requests that the open window of a quota had left at `at_ms`, and when it ends."""

    remaining: int
    ends_ms: int
    at_ms: int

    def on_clock(self, now: float, now_ms: int) -> OpenWindow:
        """Return the window on the clock of a pacer that shows `now`; a time ahead of this process's clock is now."""
        as_of = now - max(0.0, (now_ms - self.at_ms) / 1000)
        return OpenWindow(self.remaining, now + (self.ends_ms - now_ms) / 1000, as_of)


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """The learned limits of an endpoint: its quota with its open window, and a cut rate, each None if unknown.

    `arrival_ms` is the theoretical arrival time of the next request at the cut rate.
    """

    rate: SharedRate | None = None
    quota: Quota | None = None
    arrival_ms: float = 0.0
    window: SharedWindow | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """The requests to an endpoint with a cut rate since the last charge: their number, and when the first was sent."""

    count: int
    first_ms: int
    per_minute: float


@dataclass(frozen=True, slots=True)
class LimitUpdate:
    """The limits that a process has learned (blocks, cut rates, quotas) and the requests that it has sent.

    `windows` are those of an hour or a day: a window of a minute ends before another process reads it.
    """

    blocks: dict[Endpoint, int] = field(default_factory=dict)
    rates: dict[Endpoint, SharedRate] = field(default_factory=dict)
    quotas: dict[Endpoint, Quota] = field(default_factory=dict)
    windows: dict[Endpoint, SharedWindow] = field(default_factory=dict)
    charges: dict[Endpoint, Charge] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.blocks or self.rates or self.quotas or self.windows or self.charges)


@dataclass(frozen=True, slots=True)
class LimitSnapshot:
    """The limits that all processes together have learned."""

    blocks: dict[Endpoint, int] = field(default_factory=dict)
    limits_by_endpoint: dict[Endpoint, EndpointLimits] = field(default_factory=dict)
