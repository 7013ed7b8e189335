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


@dataclass(frozen=True, slots=True)
class EndpointBudget:
    """The limits of an endpoint for reports; None means unknown or not in force.

    `configured_per_minute` (0: unlimited) applies to all endpoints together. `remaining` and `reset_s` describe the
    open window, from the latest answer.
    """

    configured_per_minute: float
    learned_per_minute: float | None
    quota: Quota | None
    remaining: int | None
    reset_s: float | None
    blocked_s: float
