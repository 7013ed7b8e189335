"""Pauses of the list after failures: single calls may still work."""

from dataclasses import dataclass

LIST_PAUSE_S = 30.0
MAX_LIST_PAUSE_S = 600.0
LIST_PAUSE_REQUESTS = 20
"""The time of this many requests is the shortest pause after a failure of the list, if the rate limit is low."""


@dataclass(slots=True)
class ListPause:
    """The pause of requests for the list until `until` (monotonic seconds); it doubles with each failure in a row."""

    until: float = 0.0
    _failures: int = 0

    def failed(self, now: float, rate_per_s: float | None) -> None:
        """Pause from now on; `rate_per_s` is the sustained rate limit in force, None without one."""
        pause_s = min(MAX_LIST_PAUSE_S, LIST_PAUSE_S * 2 ** min(self._failures, 10))
        if rate_per_s:
            pause_s = max(pause_s, LIST_PAUSE_REQUESTS / rate_per_s)
        self._failures += 1
        self.until = now + pause_s

    def succeeded(self) -> None:
        """Make the next pause short again."""
        self._failures = 0
