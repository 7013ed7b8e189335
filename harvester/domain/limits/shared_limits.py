"""What the processes on one database tell each other about the limits.

Times are Unix milliseconds, for the monotonic clocks of two processes cannot be compared.
"""

from dataclasses import dataclass, field

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.limits.quotas import Quota

QUOTA_KEPT_MS = 8 * 24 * 60 * 60 * 1000
"""A cut rate needs no such time: it has climbed back within half an hour."""


@dataclass(frozen=True, slots=True)
class SharedRate:
    """A rate that a class was cut to, and since when it climbs."""

    per_minute: float
    at_ms: int


@dataclass(frozen=True, slots=True)
class TaughtWindow:
    """How many requests the open window of a quota had left at a time, and when it ends."""

    remaining: int
    ends_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """What the API has taught about a class: its quota with its open window, and a cut rate, each None if unknown.

    `arrival_ms` is the theoretical arrival time of the next request at the cut rate.
    """

    rate: SharedRate | None = None
    quota: Quota | None = None
    arrival_ms: float = 0.0
    window: TaughtWindow | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """Requests of a class with a cut rate that have gone out since the last payment: how many, and from when on."""

    count: int
    first_ms: int
    per_minute: float


@dataclass(frozen=True, slots=True)
class LimitUpdate:
    """What a process has found out (until when a class is blocked, its cut rate, its quota), and what it has sent.

    `windows` are those of an hour or a day: one of a minute is over before anybody reads of it.
    """

    blocks: dict[Endpoint, int] = field(default_factory=dict)
    rates: dict[Endpoint, SharedRate] = field(default_factory=dict)
    quotas: dict[Endpoint, Quota] = field(default_factory=dict)
    windows: dict[Endpoint, TaughtWindow] = field(default_factory=dict)
    payments: dict[Endpoint, Charge] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.blocks or self.rates or self.quotas or self.windows or self.payments)


@dataclass(frozen=True, slots=True)
class LimitSnapshot:
    """What all processes together know."""

    blocks: dict[Endpoint, int] = field(default_factory=dict)
    lessons: dict[Endpoint, EndpointLimits] = field(default_factory=dict)
