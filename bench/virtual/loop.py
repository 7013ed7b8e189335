"""An event loop whose time passes only while nothing can run: then it jumps to the next timer.

As in looptime and aiotools, this replaces the selector, because asyncio sleeps only there.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

START_MS = 1_750_000_000_000
"""The wall clock at the loop's beginning, in Unix milliseconds."""

_US = 1_000_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s. There are no sockets and no threads; a loop in which no task can ever run raises RuntimeError."""

    def __init__(self) -> None:
        self._now_us = 0
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        return self._now_us / _US

    def _jump(self, seconds: float | None) -> None:
        if seconds is None:
            raise RuntimeError("Every task waits for another one, and no timer is set.")
        if seconds > 0:
            # Jump to a microsecond behind the timer, because rounding might leave the timer due just after the jump.
            self._now_us += int(seconds * _US) + 1


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, jump: Callable[[float | None], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._jump(timeout)
        return []


class VirtualClock:
    """The service's clock on the running loop's time. Its wall clock may be wrong by `ahead_s`."""

    def __init__(self, *, ahead_s: float = 0.0) -> None:
        self.ahead_ms = round(ahead_s * 1000)

    def wall_ms(self) -> int:
        return START_MS + self.ahead_ms + int(self.monotonic() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        with anyio.move_on_after(timeout_s):
            await event.wait()


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a loop of its own, and return what it returns."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
