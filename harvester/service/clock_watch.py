"""Makes tasks due that would wait too long because the wall clock was wrong."""

from harvester.ports.log import get_logger
from harvester.service.harvest_parts import HarvestParts

SET_BACK_MS = 60_000
"""Milliseconds: a wall clock that loses more than this against the monotonic clock was set back, not slewed."""

log = get_logger()


class ClockWatch:
    """Makes tasks due that wait until a time which a wrong clock has set."""

    def __init__(self, parts: HarvestParts) -> None:
        self._source = parts.source
        self._retry = parts.retry
        self._clock = parts.clock
        self._ahead_ms = self._wall_ahead_ms()

    async def make_misdated_due(self, now_ms: int) -> None:
        """Make tasks due that wait too long because the clock of an earlier process was ahead."""
        if count := await self._retry.run(lambda: self._source.make_misdated_due(now_ms)):
            log.warning("the clock was ahead before this start, waiting tasks are asked about now", tasks=count)

    async def notice_set_back(self, now_ms: int) -> None:
        """If the clock was set back, make every waiting task due, because it would wait longer by that amount."""
        before_ms, self._ahead_ms = self._ahead_ms, self._wall_ahead_ms()
        if before_ms - self._ahead_ms > SET_BACK_MS:
            log.warning(
                "the clock was set back, waiting tasks are asked about now", by_s=(before_ms - self._ahead_ms) / 1000
            )
            await self._retry.run(lambda: self._source.make_all_due(now_ms))

    def _wall_ahead_ms(self) -> float:
        return self._clock.wall_ms() - self._clock.monotonic() * 1000
