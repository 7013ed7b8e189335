"""Runs the stand-in in the foreground until a signal stops it."""

import asyncio
import signal
from collections.abc import Callable

from harvester.simulator.server import Simulator


def serve_until_stopped(simulator: Simulator, announce: Callable[[Simulator], None]) -> None:
    """Serve until SIGINT or SIGTERM; call `announce` when it listens. OSError if it cannot listen."""
    asyncio.run(_serve(simulator, announce))


async def _serve(simulator: Simulator, announce: Callable[[Simulator], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before it listens, so that a signal during the start stops it as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with simulator:
        announce(simulator)
        await stopped.wait()
