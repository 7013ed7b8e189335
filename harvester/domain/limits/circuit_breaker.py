"""A circuit breaker: while most requests fail, all requests wait. Times are monotonic seconds."""

from collections import deque
from dataclasses import dataclass, field

WINDOW = 20
"""Requests: the breaker judges the last of them."""

MIN_SAMPLE = 8
"""Requests: with fewer, the breaker stays closed."""

MIN_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0


@dataclass(slots=True)
class Breaker:
    """Opens when more than half of the last requests failed; then lets single probes through at growing intervals.

    Its states: closed (all pass), open (none pass until `until`), half-open (one at a time passes; its success closes
    the breaker, its failure opens it for twice as long).
    """

    outcomes: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    until: float = 0.0
    pause_s: float = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether all requests pass."""
        return self.pause_s == 0.0

    def wait_s(self, now: float) -> float:
        """Return for how many seconds every request must wait."""
        return max(0.0, self.until - now)

    def allows(self, in_flight: int, now: float) -> bool:
        """Return whether one more request may go out while `in_flight` are under way."""
        return self.is_closed or (now >= self.until and in_flight == 0)

    def succeeded(self) -> None:
        """Record that the API answered, whatever the answer."""
        self.outcomes.append(True)
        if not self.is_closed:
            self.outcomes.clear()
            self.pause_s = 0.0
            self.until = 0.0

    def failed(self, now: float) -> None:
        """Record a request that got no usable answer."""
        self.outcomes.append(False)
        if not self.is_closed:
            if now >= self.until:
                self._open(min(MAX_PAUSE_S, self.pause_s * 2), now)
        elif len(self.outcomes) >= MIN_SAMPLE and self.outcomes.count(False) * 2 > len(self.outcomes):
            self._open(MIN_PAUSE_S, now)

    def _open(self, pause_s: float, now: float) -> None:
        self.pause_s = pause_s
        self.until = now + pause_s
