"""Learn a rate from 429 answers that state no limit: additive increase, multiplicative decrease (AIMD).

Each cut multiplies the rate by 0.7. The rate then climbs by 5 % of the refused rate a minute, so it is back after six
minutes; from then on by 5 % of the ceiling a minute, because the reason for the refusal may be gone.
"""

import math
from dataclasses import dataclass

CUT = 0.7
"""Factor on the rate at each cut."""

CLIMB_PER_MINUTE = 0.05
"""Share of the refused rate, later of the ceiling, by which the rate climbs each minute."""

UNLIMITED = 10
"""Multiple of the refused rate: without another ceiling, a rate that has climbed this far is no longer limited."""

MIN_PER_MINUTE = 1.0
"""Requests per minute: no cut goes below this, because a block is what keeps requests away for longer."""

MIN_MEASURED = 10
"""Requests in a minute: with fewer, the measured rate is no evidence of what the API accepts."""

REPEATED_WITHIN_S = 600.0
"""Seconds after the end of the last block during which a refusal counts as repeated."""

SETTLE_S = 60.0
"""Seconds after a cut without a success before the next cut, because APIs count limits over a minute or longer."""


@dataclass(frozen=True, slots=True)
class LearnedRate:
    """A rate that was cut to `per_minute` at `since` (seconds on the caller's clock), and climbs since then."""

    per_minute: float
    since: float

    def at(self, now: float, ceiling: float) -> float | None:
        """Return the rate per minute at `now`; None if it has reached the ceiling (0: no ceiling, see UNLIMITED)."""
        refused = self.per_minute / CUT
        ceiling = ceiling or UNLIMITED * refused
        minutes = max(0.0, now - self.since) / 60
        until_refused = (refused - self.per_minute) / (CLIMB_PER_MINUTE * refused)
        if minutes <= until_refused:
            rate = self.per_minute + CLIMB_PER_MINUTE * refused * minutes
        else:
            rate = refused + CLIMB_PER_MINUTE * ceiling * (minutes - until_refused)
        return rate if rate < ceiling else None


@dataclass(slots=True)
class AimdController:
    """Has the learned rate of one endpoint and decides whether a refusal cuts it. Times are monotonic seconds."""

    learned: LearnedRate | None = None
    block_ended: float = -math.inf
    """When the block of the last refusal ends."""

    _cut_at: float = -math.inf
    _has_success: bool = False

    def succeeded(self) -> None:
        """Record an answer to a request that was sent after the last refusal."""
        self._has_success = True

    def throttled(self, *, has_stated_wait: bool, present: float, until: float, now: float) -> bool:
        """Learn from a refusal that blocks until `until`; return whether it cut the `present` rate per minute.

        Do not cut the rate for a first refusal that states a wait, nor within SETTLE_S of the last cut if no request
        has succeeded since.
        """
        is_repeated = not has_stated_wait or now - self.block_ended < REPEATED_WITHIN_S
        is_judged = self._has_success or now - self._cut_at >= SETTLE_S
        self.block_ended = until
        if not (is_repeated and is_judged):
            return False
        self.set_rate(LearnedRate(max(MIN_PER_MINUTE, CUT * present), until), now)
        return True

    def set_rate(self, learned: LearnedRate, now: float) -> None:
        """Use that rate from now on."""
        self.learned, self._cut_at, self._has_success = learned, now, False
