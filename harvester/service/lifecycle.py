"""Signals and exit codes: the first signal drains, the second stops at once."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

HARD_STOP_S = 3.0
"""Somebody who asks twice does not wait for a locked database."""


class Stop:
    """Which signal asked for the end, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.is_hard = False

    @property
    def exit_code(self) -> int | None:
        """Return 130 after SIGINT, 143 after SIGTERM (the shells' convention), None without a signal."""
        return None if self.signal is None else 128 + int(self.signal)

    @property
    def description(self) -> str | None:
        """Return what happened in words, None without a signal."""
        if self.signal is None:
            return None
        return f"Stopped {'at once ' if self.is_hard else ''}by {self.signal.name}."


@asynccontextmanager
async def stopping_on_signals(
    drain: Callable[[], None], reload: Callable[[], None] | None = None
) -> AsyncIterator[Stop]:
    """Call `drain` on the first SIGINT or SIGTERM and cancel the block on the second; the handlers are restored.

    With `reload`, SIGHUP calls it; without, SIGHUP does what it always does.
    """
    stop = Stop()
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            watched = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if reload else [])]
            with anyio.open_signal_receiver(*watched) as signals:
                group_started.set()
                async for number in signals:
                    if number == signal.SIGHUP and reload is not None:
                        reload()
                    elif stop.signal is None:
                        stop.signal = number
                        drain()
                    elif not stop.is_hard:
                        stop.is_hard = True
                        group.cancel_scope.cancel()
                        # A thread that waits for a lock cannot be cancelled. Nothing is lost: SQLite rolls back.
                        signal.signal(signal.SIGALRM, lambda *_: os._exit(128 + int(number)))  # noqa: B023
                        signal.setitimer(signal.ITIMER_REAL, HARD_STOP_S)

        group_started = anyio.Event()
        group.start_soon(watch, name="signals")
        await group_started.wait()
        try:
            yield stop
        finally:
            group.cancel_scope.cancel()
