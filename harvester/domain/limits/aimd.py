"""What to make of refusals that tell nothing: additive increase, multiplicative decrease (AIMD).

Each cut takes the rate to 0.7 of what it was. It climbs back by 5 % of the refused rate a minute, so it is there again
after six minutes; from then on by 5 % of the ceiling, for the refusal was of its time.
"""

import math
from dataclasses import dataclass

CUT = 0.7
CLIMB_PER_MINUTE = 0.05

UNLIMITED = 10
"""Where nothing else is a ceiling, a rate that has climbed to so many times the refused one is none any more."""

MIN_PER_MINUTE = 1.0
"""Rates are not cut below this; blocks keep requests away for longer."""

MIN_MEASURED = 10
"""So many requests in a minute, at least, are evidence of what the API took before it refused."""

REPEATED_WITHIN_S = 600.0
"""A refusal so soon after the last block was over is a repeated one."""

SETTLE_S = 60.0
"""A cut that has had no success since is judged after this time: limits are counted for a minute or longer."""


@dataclass(frozen=True, slots=True)
class LearnedRate:
    """A rate that was cut to `per_minute` at `since` (seconds on the caller's clock), and climbs from then on."""

    per_minute: float
    since: float

    def at(self, now: float, ceiling: float) -> float | None:
        """Return the rate per minute at `now`, None once it has reached the ceiling (0: see UNLIMITED)."""
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
    """The learned rate of one class, and what decides whether a refusal cuts it."""

    learned: LearnedRate | None = None
    block_ended: float = -math.inf
    """When the block of the last refusal is over."""

    _cut_at: float = -math.inf
    _has_success: bool = False

    def succeeded(self) -> None:
        """Take note of an answer to a request that was sent after the last refusal."""
        self._has_success = True

    def refused(self, *, is_told: bool, present: float, until: float, now: float) -> bool:
        """Learn from a refusal that blocks until `until`; return whether it cut the `present` rate per minute.

        It does not if it is the first for a while and told for how long to wait, nor if the last cut had no chance yet.
        """
        is_repeated = not is_told or now - self.block_ended < REPEATED_WITHIN_S
        is_judged = self._has_success or now - self._cut_at >= SETTLE_S
        self.block_ended = until
        if not (is_repeated and is_judged):
            return False
        self.adopt(LearnedRate(max(MIN_PER_MINUTE, CUT * present), until), now)
        return True

    def adopt(self, learned: LearnedRate, now: float) -> None:
        """Go by that rate from now on."""
        self.learned, self._cut_at, self._has_success = learned, now, False
