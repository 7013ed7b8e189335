"""Time as the service sees it: a wall clock for stored times, a steady clock for waiting, and the API's own time."""

import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import anyio

from harvester.domain.tasks.task import CLOCK_SET_MS
from harvester.ports.log import get_logger

CONDITION = "clock"

SAMPLES = 5
"""Dates: this many of the last ones from the API are compared with each other."""

AGREEING = 3
"""Dates: this many must agree, and none with the machine's clock, before it is corrected: a proxy may be wrong."""

AGREE_S = 30.0
"""Seconds: dates that differ by no more agree. They are whole seconds, and an answer may be under way for long."""

OFF_S = 60.0
"""Seconds: a clock that is off by more is corrected."""

GOOD_AGAIN_S = 30.0
"""Seconds: a corrected clock that is off by no more is right again."""

SETTLED_S = 3.0
"""Seconds: a smaller difference does not change the API's time, which must not jump with each answer."""

log = get_logger()


class Clock(Protocol):
    """The functions of time that the service needs."""

    def wall_ms(self) -> int:
        """Return Unix milliseconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        ...

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        """Wait until `event` is set, for `timeout_s` seconds at most."""
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
    """The clocks of the machine."""

    def wall_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds that never jump; time during which the machine is suspended counts."""
        return time.clock_gettime(_STEADY)

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        """Wait until `event` is set, for `timeout_s` seconds at most."""
        with anyio.move_on_after(timeout_s):
            await event.wait()


class ApiClock:
    """A clock that shows the API's time where the machine's wall clock is wrong by more than a minute.

    The API's time decides deadlines and ages. It is kept as an offset from the steady clock: once that is known, jumps
    of the wall clock have no effect. All times in the store come from this clock, so that all parts agree on them. It
    calls `changed` with a warning about the wall clock, and with None when that is right again.
    """

    def __init__(self, clock: Clock, changed: Callable[[str | None], None] = lambda _text: None) -> None:
        self._clock = clock
        self.monotonic = clock.monotonic
        """Return seconds that never jump: the inner clock's method, because each request calls it dozens of times."""
        self._changed = changed
        self._offsets: deque[float] = deque(maxlen=SAMPLES)
        self._offset_s: float | None = None
        self._noted_ms: int | None = None

    def wall_ms(self) -> int:
        """Return Unix milliseconds of the machine, or of the API where the two are more than a minute apart."""
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
        """Wait until `event` is set, for `timeout_s` seconds at most."""
        await self._clock.wait(event, timeout_s)

    def learn(self, api_s: float) -> None:
        """Record the API's time (Unix seconds) from an answer that has just come."""
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
        """Return by how many seconds this clock is ahead of the API's dates, confirmed or not; 0 without a date."""
        if not self._offsets:
            return 0.0
        return self.wall_ms() / 1000 - self._clock.monotonic() - statistics.median(self._offsets)

    def _is_right(self, own_ms: int) -> bool:
        """Return whether one of the last dates agrees with the machine: a proxy with a wrong clock may send others."""
        bound_s = OFF_S if self._noted_ms is None else GOOD_AGAIN_S
        own_offset = own_ms / 1000 - self._clock.monotonic()
        return any(abs(own_offset - offset) <= bound_s for offset in self._offsets)

    def _off_ms(self, own_ms: int) -> int:
        """Return by how many milliseconds the wall clock is ahead of the API's; 0 while that is unknown."""
        return 0 if self._offset_s is None else own_ms - round((self.monotonic() + self._offset_s) * 1000)

    def _note(self, off_ms: int | None) -> None:
        """Report that the clock has become wrong, is wrong by another amount, or is right again."""
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
    """Return the warning about a machine's clock that is `ahead_s` ahead of the API's, or behind if negative."""
    seconds = abs(ahead_s)
    unit, length_s = next(unit for unit in _UNITS if round(seconds) >= unit[1] or unit[1] == 1)
    number = round(seconds / length_s)
    side = "ahead of" if ahead_s > 0 else "behind"
    plural = "" if number == 1 else "s"
    return f"this machine's clock is {number:,} {unit}{plural} {side} the API's; deadlines go by the API's time"


_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
