"""Whether a person has paused the requests of all processes on the store."""

import math
from collections.abc import Callable

from harvester.domain.errors import PausedError
from harvester.domain.limits.pause import Pause
from harvester.ports.store import PauseSource
from harvester.reports.pause_text import RESUME, pause_times
from harvester.service.clock import Clock

CONDITION = "paused"
"""The condition during a pause."""

READ_EVERY_S = 1.0
"""Seconds for which a reading holds: a process may send requests for so long after a pause has begun."""


class PauseWatch:
    """Reads the pause from the store. `note` gets a sentence when one begins or changes, and None when it has ended."""

    def __init__(self, source: PauseSource, clock: Clock, note: Callable[[str | None], None]) -> None:
        self._source = source
        self._clock = clock
        self._note = note
        self._pause: Pause | None = None
        self._read_at = -math.inf

    async def is_paused(self) -> bool:
        """Return whether no request may be sent now. Raises StoreError."""
        now = self._clock.monotonic()
        if now >= self._read_at + READ_EVERY_S:
            pause = await self._source.pause(self._clock.wall_ms())
            self._read_at = now
            if pause != self._pause:
                self._pause = pause
                self._note(None if pause is None else f"{pause_times(pause)}, no requests are sent; {RESUME}")
        return self._pause is not None


async def refuse_if_paused(source: PauseSource, now_ms: int) -> None:
    """Raise PausedError during a pause: a command that ends by itself begins nothing then. Raises StoreError."""
    pause = await source.pause(now_ms)
    if pause is not None:
        raise PausedError(
            f"Paused {pause_times(pause)}: no request was sent.",
            remedy="`harvester resume` ends the pause; then run it again.",
        )
