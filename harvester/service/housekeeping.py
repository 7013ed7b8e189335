"""Housekeeping every few seconds: share learned times, prune attempts, cut the log, refresh the displayed counts."""

from harvester.ports.maintenance import ATTEMPTS_KEPT_MS
from harvester.service.deadline_monitor import DeadlineMonitor
from harvester.service.harvest_parts import HarvestParts

PRUNE_EVERY_S = 3600.0
SHARE_TIMES_EVERY_S = 60.0


class Housekeeping:
    """Does all of this at each `run()`; rare work only when it is due."""

    def __init__(self, parts: HarvestParts) -> None:
        self._source = parts.source
        self._planner = parts.planner
        self._retry = parts.retry
        self._throttle = parts.throttle
        self._progress = parts.progress
        self._clock = parts.clock
        self._disk_space = parts.disk_space
        self._deadlines = DeadlineMonitor(parts.source, parts.throttle, parts.progress, parts.clock)
        self._prune_at = self._share_at = 0.0
        self._covered_up_to: int | None = 0

    async def prepare(self) -> None:
        """Load what other processes have learned, before the first request."""
        await self._share_times()
        await self._refresh()

    async def run(self) -> None:
        """Do the work that is due."""
        retracted = self._planner.take_retracted()
        if retracted:
            await self._retry.run(lambda: self._source.retract(retracted))
        await self._share_times()
        await self._retry.run(self._throttle.publish_limits)
        await self._prune()
        await self._retry.run(self._disk_space.tend_log)
        await self._cover()
        await self._refresh()
        await self._retry.run(self._deadlines.check)

    async def _share_times(self) -> None:
        """Store what this process has learned of processing times, and load what others have."""
        self._planner.expire_entries(self._clock.wall_ms())
        now = self._clock.monotonic()
        if now >= self._share_at:
            self._share_at = now + SHARE_TIMES_EVERY_S
            fresh = self._planner.times.take_fresh()
            self._planner.times.load(await self._retry.run(lambda: self._source.share_processing_times(fresh)))

    async def _prune(self) -> None:
        """Delete old attempts, once an hour and in small transactions."""
        now = self._clock.monotonic()
        if now < self._prune_at:
            return
        before_ms = self._clock.wall_ms() - ATTEMPTS_KEPT_MS
        if await self._retry.run(lambda: self._source.prune(before_ms)) == 0:
            self._prune_at = now + PRUNE_EVERY_S

    async def _cover(self) -> None:
        """Fill in what an older version did not store, a batch at a time, once for all stored results."""
        if self._covered_up_to is not None:
            after_task = self._covered_up_to
            covered = await self._retry.run(lambda: self._source.cover(after_task))
            self._covered_up_to = None if covered is None else covered.last_task

    async def _refresh(self) -> None:
        self._progress.counts = await self._retry.run(self._source.counts)
        nearest = await self._retry.run(self._source.nearest_deadline)
        self._progress.nearest_deadline_ms = nearest.expires_at_ms if nearest else None
