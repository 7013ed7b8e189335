"""Running the stand-in in the foreground, until somebody stops it."""

import asyncio
import signal
from collections.abc import Callable

from harvester.simulator.server import Simulator


def serve_until_stopped(simulator: Simulator, announce: Callable[[Simulator], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called once it listens. OSError when it cannot."""
    asyncio.run(_serve(simulator, announce))


async def _serve(simulator: Simulator, announce: Callable[[Simulator], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before it listens: a stop during the start is a stop, too.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with simulator:
        announce(simulator)
        await stopped.wait()
