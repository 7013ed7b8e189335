"""What is known of the limits of one endpoint, as values that a pacer returns and adopts.

Times are seconds on the pacer's clock: `shared_limits` has what crosses to other processes, in Unix milliseconds.
"""

import math
from dataclasses import dataclass

from harvester.domain.limits.aimd import LearnedRate
from harvester.domain.limits.quotas import Quota


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """How many requests a quota's window has left, when it ends, and when the request was sent whose answer said so."""

    remaining: int
    ends_at: float
    as_of: float


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What is known of the limits of one endpoint; None where nothing is.

    `learned` is a cut rate, and `arrival` the theoretical arrival time of the next request at it.
    """

    quota: Quota | None = None
    window: OpenWindow | None = None
    learned: LearnedRate | None = None
    arrival: float = -math.inf


@dataclass(frozen=True, slots=True)
class SentSince:
    """The requests of a class after a given one and of the last minute: how many, and when the first of them was sent.

    `last_number` is the number of the latest request.
    """

    count: int
    first_at: float
    last_number: int
