"""The known limits of one endpoint, as values that a pacer returns and adopts.

Times are seconds on the pacer's clock; `shared_limits` has the values for other processes, in Unix milliseconds.
"""

import math
from dataclasses import dataclass

from harvester.domain.limits.aimd import LearnedRate
from harvester.domain.limits.quotas import Quota


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """The requests that a quota's window has left, when it ends, and when the request was sent that returned both."""

    remaining: int
    ends_at: float
    as_of: float


@dataclass(frozen=True, slots=True)
class EndpointState:
    """The known limits of one endpoint, each None if unknown.

    `learned` is a cut rate, and `arrival` the theoretical arrival time of the next request at that rate.
    """

    quota: Quota | None = None
    window: OpenWindow | None = None
    learned: LearnedRate | None = None
    arrival: float = -math.inf


@dataclass(frozen=True, slots=True)
class SentSince:
    """The requests to an endpoint after a given one, in the last minute: their number, and when the first was sent.

    `last_number` is the number of the latest request.
    """

    count: int
    first_at: float
    last_number: int
