"""Time as the service sees it: a wall clock for what is stored, a monotonic one for waiting."""

import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """What the service needs of time."""

    def wall_ms(self) -> int:
        """Return Unix milliseconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        ...

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        """Return when `event` is set or the time is over, whichever comes first."""
        ...


class SystemClock:
    """The real one."""

    def wall_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        """Return when `event` is set or the time is over, whichever comes first."""
        with anyio.move_on_after(timeout_s):
            await event.wait()
