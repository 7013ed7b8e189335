"""A day of the daemon in minutes, against a sped-up stand-in: bursts, an outage, a long 429, a restart.

    python bench/day_of_life.py --tasks 2000 --minutes 6

Half of the tasks are queued by plain SQL inserts, the other half is left to discovery. Fails unless all are harvested.
"""

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from processes import memory_bytes

from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings
from harvester.simulator.models import MODELS
from harvester.simulator.requests import VideoRequest

DAY_S = 86_400
BURSTS = 20
OUTAGE = (0.25, 0.31)
LIMITED_AT = 0.45
RESTART_AT = 0.6
RETRY_AFTER_S = 15

REQUEST = VideoRequest(model=MODELS["marengo3.0"], options=("visual", "audio"), clip_length_s=6.0)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Weather:
    """The behaviour of the API at the moment."""

    outage: bool = False
    limited_until: float = 0.0

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.outage:
            return web.Response(status=503, text="<html>Service Unavailable</html>", content_type="text/html")
        left = self.limited_until - time.monotonic()
        if left > 0:
            headers = {"retry-after": str(round(left) + 1)}
            return web.json_response({"code": "too_many_requests", "message": "slow down"}, status=429, headers=headers)
        return await handler(request)


class Day:
    def __init__(self, folder: Path, tasks: int, minutes: float) -> None:
        self.database = folder / "harvester.db"
        self.log = (folder / "daemon.log").open("w")
        self.tasks = tasks
        self.seconds = minutes * 60
        self.weather = Weather()
        self.ids: list[str] = []
        self.memory_mb: list[float] = []
        self.daemon: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        settings = SimulatorSettings(
            duration_s=(30, 600), processing_median_s=300, processing_sigma=0.8, header_scheme="newer"
        )
        clock = SimulatorClock(time.time() - DAY_S, speed=DAY_S / self.seconds)
        async with Simulator(settings, clock=clock, middlewares=[self.weather.middleware]) as simulator:
            await self.start(simulator.base_url)
            started = time.monotonic()
            await asyncio.gather(self.submit(simulator), self.change_weather(), self.report(started))
            await self.restarted
            await self.finish(simulator)

    async def start(self, base_url: str) -> None:
        self.base_url = base_url
        environ = {
            **os.environ,
            "TWELVELABS_API_KEY": "rehearsal",
            "HARVESTER_API__BASE_URL": base_url,
            "HARVESTER_STORE__PATH": str(self.database),
            "HARVESTER_RATE__REQUESTS_PER_MINUTE": "1200",
            "HARVESTER_DISCOVERY__ENABLED": "true",
            "HARVESTER_DISCOVERY__EVERY_S": "10",
            "HARVESTER_SERVER__LISTEN": "",
        }
        command = [sys.executable, "-m", "harvester", "run"]
        self.daemon = await asyncio.create_subprocess_exec(*command, env=environ, stderr=self.log)
        while not self.database.exists():  # noqa: ASYNC110  # another process makes it
            await asyncio.sleep(0.1)

    async def submit(self, simulator: Simulator) -> None:
        for burst in range(BURSTS):
            made = [simulator.catalogue.create(REQUEST) for _ in range(self.tasks // BURSTS)]
            ids = [task.task_id for task in made]
            self.ids += ids
            if burst % 2:
                self.insert(ids)
            await asyncio.sleep(self.seconds * 0.85 / BURSTS)

    def insert(self, ids: list[str]) -> None:
        connection = sqlite3.connect(self.database, timeout=30)
        with connection:
            connection.executemany("INSERT OR IGNORE INTO tasks(task_id) VALUES (?)", [(task_id,) for task_id in ids])
        connection.close()

    async def change_weather(self) -> None:
        begin, end = OUTAGE
        await asyncio.sleep(self.seconds * begin)
        self.weather.outage = True
        await asyncio.sleep(self.seconds * (end - begin))
        self.weather.outage = False
        await asyncio.sleep(self.seconds * (LIMITED_AT - end))
        self.weather.limited_until = time.monotonic() + RETRY_AFTER_S
        await asyncio.sleep(self.seconds * (RESTART_AT - LIMITED_AT))
        self.restarted = asyncio.create_task(self.restart())

    async def restart(self) -> None:
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGTERM)
        print(f"restart: SIGTERM answered with exit code {await self.daemon.wait()}")
        await self.start(self.base_url)

    async def report(self, started: float) -> None:
        while time.monotonic() - started < self.seconds:
            await asyncio.sleep(self.seconds / 12)
            memory, counts = self.memory(), self.counts()
            self.memory_mb.append(memory)
            hour = (time.monotonic() - started) / self.seconds * 24
            weather = (
                "outage" if self.weather.outage else "429" if self.weather.limited_until > time.monotonic() else ""
            )
            print(f"{hour:5.1f} h  {len(self.ids):5} made  {dict(counts)}  {memory:4.0f} MB  {weather}", flush=True)

    def memory(self) -> float:
        assert self.daemon is not None
        return memory_bytes(self.daemon.pid) / 1e6

    def counts(self) -> Counter[str]:
        connection = sqlite3.connect(self.database, timeout=30)
        counted = Counter(dict(connection.execute("SELECT state, count(*) FROM tasks GROUP BY state")))
        connection.close()
        return counted

    async def finish(self, simulator: Simulator) -> None:
        deadline = time.monotonic() + 120
        while self.counts()["harvested"] < self.tasks and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(1)
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGTERM)
        await self.daemon.wait()
        counts, retrieved = (
            self.counts(),
            Counter(
                entry.task_id for entry in simulator.requests if entry.endpoint == "retrieve" and entry.bytes > 5000
            ),
        )
        print(f"end: {dict(counts)} of {self.tasks}")
        print(
            f"memory: first {self.memory_mb[0]:.0f} MB, middle {self.memory_mb[len(self.memory_mb) // 2]:.0f} MB, ",
            end="",
        )
        print(f"last {self.memory_mb[-1]:.0f} MB")
        print(
            f"requests: {len(list(simulator.requests))}, {sum(retrieved.values())} downloads of {len(retrieved)} tasks"
        )
        if counts != {"harvested": self.tasks}:
            raise SystemExit("not everything was harvested")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=6)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(Day(Path(folder), arguments.tasks, arguments.minutes).run())


if __name__ == "__main__":
    main()
