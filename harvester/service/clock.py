"""Time as the service sees it: a wall clock for what is stored, a steady one for waiting, and the API's own time."""

import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import anyio
import structlog

from harvester.domain.tasks.task import CLOCK_SET_MS

CONDITION = "clock"

SAMPLES = 5
"""This many of the API's last dates are compared with each other."""

AGREEING = 3
"""This many of them must agree, and none with the machine's clock, before they are believed: a proxy may be wrong."""

AGREE_S = 30.0
"""Dates that differ by no more agree: they are whole seconds, and an answer may have been under way for long."""

OFF_S = 60.0
"""A clock that is off by more is corrected."""

GOOD_AGAIN_S = 30.0
"""A corrected clock that is off by less than this is right again."""

SETTLED_S = 3.0
"""The API's time is not moved by less: it must not step to and fro with each answer."""

log = structlog.stdlib.get_logger()


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


def _steady_clock() -> int:
    """Return the id of a clock that never jumps and, where the system has one, goes on while the machine sleeps."""
    # macOS counts sleep in CLOCK_MONOTONIC, Linux in CLOCK_BOOTTIME only.
    boot_time = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    try:
        time.clock_gettime(boot_time)
    except OSError:
        return time.CLOCK_MONOTONIC
    return boot_time


_STEADY = _steady_clock()


class SystemClock:
    """The machine's own."""

    def wall_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds that never jump; the time that the machine was suspended for counts."""
        return time.clock_gettime(_STEADY)

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        """Return when `event` is set or the time is over, whichever comes first."""
        with anyio.move_on_after(timeout_s):
            await event.wait()


class ApiClock:
    """A clock that goes by the API's time where the machine's wall clock is wrong by more than a minute.

    Deadlines and ages are those of the API. Its time is kept as an offset to the steady clock: once known, a wall clock
    that jumps changes nothing. All that is written to the store goes by this one clock, so that what one part writes
    the other understands. `changed` is called with what is to be said of the wall clock, None when it is right again.
    """

    def __init__(self, clock: Clock, changed: Callable[[str | None], None] = lambda _text: None) -> None:
        self._clock = clock
        self.monotonic = clock.monotonic
        """Return seconds that never jump. It is called dozens of times for each request, so nothing stands between."""
        self._changed = changed
        self._offsets: deque[float] = deque(maxlen=SAMPLES)
        self._offset_s: float | None = None
        self._noted_ms: int | None = None

    def wall_ms(self) -> int:
        """Return Unix milliseconds: the machine's own, or the API's where these are more than a minute apart."""
        own_ms = self._clock.wall_ms()
        off_ms = self._off_ms(own_ms)
        if self._noted_ms is None and abs(off_ms) <= 1000 * OFF_S:
            return own_ms
        if self._is_right(own_ms):
            self._note(None)
            return own_ms
        self._note(off_ms)
        return own_ms - off_ms

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        """Return when `event` is set or the time is over, whichever comes first."""
        await self._clock.wait(event, timeout_s)

    def learn(self, api_s: float) -> None:
        """Take note of the API's time (Unix seconds) in an answer that has come just now."""
        if api_s * 1000 < CLOCK_SET_MS:
            return
        self._offsets.append(api_s - self._clock.monotonic())
        middle = sorted(self._offsets)[len(self._offsets) // 2]
        agreeing = [offset for offset in self._offsets if abs(offset - middle) <= AGREE_S]
        if len(agreeing) < AGREEING:
            return
        if self._offset_s is None or abs(middle - self._offset_s) > SETTLED_S:
            self._offset_s = middle
        self.wall_ms()

    def suspected_ahead_s(self) -> float:
        """Return by how much this clock is ahead of what the API has said, confirmed or not; 0 without a word."""
        if not self._offsets:
            return 0.0
        return self.wall_ms() / 1000 - self._clock.monotonic() - statistics.median(self._offsets)

    def _is_right(self, own_ms: int) -> bool:
        """Return whether any of the last answers says so: others may have come through a proxy whose clock is wrong."""
        bound_s = OFF_S if self._noted_ms is None else GOOD_AGAIN_S
        own_offset = own_ms / 1000 - self._clock.monotonic()
        return any(abs(own_offset - offset) <= bound_s for offset in self._offsets)

    def _off_ms(self, own_ms: int) -> int:
        """Return by how much the wall clock is ahead of the API's; 0 while that is unknown."""
        return 0 if self._offset_s is None else own_ms - round((self.monotonic() + self._offset_s) * 1000)

    def _note(self, off_ms: int | None) -> None:
        """Tell of a clock that has become wrong, is wrong by another amount, or is right again."""
        before_ms, text = self._noted_ms, None
        if off_ms is None and before_ms is None:
            return
        if off_ms is not None:
            if before_ms is not None and abs(off_ms - before_ms) <= 1000 * OFF_S:
                return
            text = skew_warning(off_ms / 1000)
            log.warning("the clock is wrong", why=text, ahead_s=round(off_ms / 1000))
        else:
            log.info("the clock is right again")
        self._noted_ms = off_ms
        self._changed(text)


def skew_warning(ahead_s: float) -> str:
    """Return what is said of a machine's clock that is ahead of the API's by so much, or behind where negative."""
    seconds = abs(ahead_s)
    unit, length_s = next(unit for unit in _UNITS if round(seconds) >= unit[1] or unit[1] == 1)
    number = round(seconds / length_s)
    side = "ahead of" if ahead_s > 0 else "behind"
    plural = "" if number == 1 else "s"
    return f"this machine's clock is {number:,} {unit}{plural} {side} the API's; deadlines go by the API's time"


_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
