"""How far back a pass over the account's list of tasks must go."""

from dataclasses import dataclass

from harvester.service.discovery_report import DiscoveryReport

FULL_PASS_EVERY_S = 24 * 3600.0

OVERLAP_MS = 3600 * 1000
"""Milliseconds by which a pass overlaps the one before, because the list may show a task a little late."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often to read the list (seconds), and how far back (milliseconds)."""

    every_s: float
    since_ms: int


@dataclass(slots=True)
class DiscoveryRange:
    """How far back the next pass must go: to a little before the newest known task, and once a day all the way.

    The API's own times decide, so a wrong clock on this side hides no tasks.
    """

    newest_ms: int | None = None
    full_at: float | None = None
    full_back_ms: int = 0
    full_since_ms: int = 0

    def since_ms(self, schedule: Schedule, now_ms: int, now: float) -> int:
        """Return the creation time (Unix ms) back to which the next pass must go; `now` is monotonic seconds."""
        whole_ms = now_ms - schedule.since_ms
        if whole_ms < self.full_since_ms - OVERLAP_MS:
            # The clock was ahead during the last full pass, as the API's time has shown since.
            self.full_at = None
        if self._is_full_due(schedule, now) or self.newest_ms is None:
            return whole_ms
        return max(whole_ms, self.newest_ms - OVERLAP_MS)

    def done(self, schedule: Schedule, report: DiscoveryReport, *, since_ms: int, now_ms: int, started: float) -> None:
        """Record a complete pass back to `since_ms` (Unix ms), which started at `started` (monotonic seconds)."""
        if self._is_full_due(schedule, started):
            self.full_at, self.full_back_ms, self.full_since_ms = started, schedule.since_ms, since_ms
        # A date in the future is a mistake of the API, and must not hide the tasks that are created from now on.
        known_ms = [min(ms, now_ms) for ms in (self.newest_ms, report.newest_ms) if ms is not None]
        self.newest_ms = max(known_ms, default=None)

    def _is_full_due(self, schedule: Schedule, now: float) -> bool:
        return self.full_at is None or now - self.full_at >= FULL_PASS_EVERY_S or schedule.since_ms > self.full_back_ms
