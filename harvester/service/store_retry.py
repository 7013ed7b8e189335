"""Repeats operations that a busy database refuses, and sets the condition `database` meanwhile."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from harvester.domain.errors import MovedFileError, StoreBusyError
from harvester.service.clock import Clock
from harvester.service.conditions import set_condition
from harvester.service.progress import Progress

T = TypeVar("T")

CONDITION = "database"

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 30.0
"""Seconds: each pause is twice as long as the one before, up to this."""


class StoreRetry:
    """Runs store operations until the database accepts them."""

    def __init__(self, progress: Progress, clock: Clock) -> None:
        self._progress = progress
        self._clock = clock

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `operation`; repeat it, with pauses, as long as it raises StoreBusyError.

        Raises every other error of `operation` at once. After MovedFileError the condition remains.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            self._progress.beats.beat(self._clock.monotonic())
            try:
                result = await operation()
            except MovedFileError as error:
                set_condition(self._progress, CONDITION, error.sentence)
                raise
            except StoreBusyError as error:
                set_condition(self._progress, CONDITION, f"cannot be written: {error.reason}; trying again")
                await self._clock.wait(anyio.Event(), pause_s)
                pause_s = min(MAX_PAUSE_S, pause_s * 2)
            else:
                set_condition(self._progress, CONDITION, None)
                return result
