"""Signals and exit codes: the first signal drains, the second stops at once."""

import asyncio
import math
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType

import anyio

from harvester.service import signals

HARD_STOP_S = 3.0
"""Seconds after the second signal in which the process ends, even if it waits for a locked database."""


class Stop:
    """The signal that asked for the end, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.is_hard = False

    @property
    def exit_code(self) -> int | None:
        """Return 130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP (as shells do); None without a signal."""
        return None if self.signal is None else 128 + int(self.signal)

    @property
    def description(self) -> str | None:
        """Return a sentence about the stop, None without a signal."""
        if self.signal is None:
            return None
        return f"Stopped {'at once ' if self.is_hard else ''}by {self.signal.name}."


@asynccontextmanager
async def stopping_on_signals(
    drain: Callable[[], None], reload: Callable[[], None] | None = None
) -> AsyncIterator[Stop]:
    """Call `drain` on the first SIGINT, SIGTERM or SIGHUP, cancel the block on the second; the handlers are restored.

    With `reload`, SIGHUP calls it instead; without, a process that was started to outlive its terminal ignores SIGHUP.
    """
    stop, loop = Stop(), asyncio.get_running_loop()
    watched = [signal.SIGINT, signal.SIGTERM]
    if reload is not None or not signals.is_ignored_hangup():
        watched.append(signal.SIGHUP)
    send, receive = anyio.create_memory_object_stream[int](math.inf)
    async with anyio.create_task_group() as group, send, receive:

        async def watch() -> None:
            async for number in receive:
                if number == signal.SIGHUP and reload is not None:
                    reload()
                elif stop.signal is None:
                    stop.signal = signal.Signals(number)
                    drain()
                elif not stop.is_hard:
                    stop.is_hard = True
                    group.cancel_scope.cancel()
                    # A thread that waits for a lock cannot be cancelled. Nothing is lost: SQLite rolls back.
                    signal.signal(signal.SIGALRM, lambda *_: signals.leave(number))  # noqa: B023
                    signal.setitimer(signal.ITIMER_REAL, HARD_STOP_S)

        def note(number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(send.send_nowait, number)

        with signals.handled(watched, note):
            group.start_soon(watch, name="signals")
            if reload is not None and signals.take_hangup():
                # SIGHUP came while the program started, perhaps after it had read the settings.
                reload()
            try:
                yield stop
            finally:
                group.cancel_scope.cancel()
