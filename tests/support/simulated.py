"""The stand-in in the process of a test, on a clock that stands still, and a client of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from harvester.simulator import Fault, Simulator, SimulatorClock, SimulatorSettings

NOON = 1_700_000_000
"""2023-11-14T22:13:20Z"""


@asynccontextmanager
async def simulated(
    *, faults: Sequence[Fault] = (), **settings: Any
) -> AsyncIterator[tuple[Simulator, aiohttp.ClientSession]]:
    """Yield a stand-in with these settings, and a client of it; its tasks are ready at once by default."""
    ready: dict[str, Any] = {"processing_median_s": 0, "duration_s": (20.0, 60.0)}
    chosen = SimulatorSettings(**(ready | settings))
    async with (
        Simulator(chosen, clock=SimulatorClock(NOON, speed=0), faults=faults) as simulator,
        aiohttp.ClientSession(simulator.base_url + "/", headers={"x-api-key": "any"}) as http,
    ):
        yield simulator, http


async def get(http: aiohttp.ClientSession, path: str, **query: Any) -> tuple[int, Any]:
    """Return status and JSON of an answer."""
    async with http.get(path, params=query) as answer:
        return answer.status, orjson.loads(await answer.read())


async def post(http: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
    """Post a JSON body; return status and JSON of the answer."""
    async with http.post(path, json=body) as answer:
        return answer.status, orjson.loads(await answer.read())
