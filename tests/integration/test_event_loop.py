"""Nothing keeps the event loop for longer than 50 ms, be videos long or tasks many: signals, leases, pages are on time.

Counted is the processor time that a callback takes in the loop's own thread: what other programs take of the machine
meanwhile is not in it.
"""

import asyncio
import gc
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from harvester.api import body_buffer
from harvester.app.wiring import open_harvest
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.tasks.task import TaskState
from harvester.service import decode_pool
from harvester.service.progress import Progress
from harvester.service.run_options import StopWhen
from harvester.settings.model import load_settings
from tests.support.shell import KEY, Shell, until
from tests.support.thorough import thorough

MAX_BLOCKED_S = 0.05
TASKS = 3
TWO_HOURS_S = "7200"
"""15 MB of JSON, which take 100 ms to parse."""


class Watch:
    """How long each callback of the loop has taken at most, in seconds of processor time."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.culprit = ""
        self.is_over = False

    def run(self, handle: asyncio.Handle, run: Callable[[asyncio.Handle], None]) -> None:
        started = time.thread_time()
        run(handle)
        taken_s = time.thread_time() - started
        # The callback in which the watch ends goes on after it.
        if taken_s > self.longest_s and not self.is_over:
            self.longest_s, self.culprit = taken_s, repr(handle)


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch every callback of every loop in this process."""
    watch, run = Watch(), asyncio.Handle._run
    # The collector's work grows with what other tests have left behind.
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", lambda handle: watch.run(handle, run))
        yield watch
        watch.is_over = True
    gc.unfreeze()


LONG_VIDEOS = ("--tasks", str(TASKS), "--duration-s", TWO_HOURS_S, "--age-s", "7200", "--processing-s", "0.01,0")
CROWD, MINE = ("--tasks", "4000", "--age-s", "60", "--spread-s", "1800", "--processing-s", "1e6,0"), 4
"""Only every MINE-th task is queued, so that one page of the list answers for a few only."""


@asynccontextmanager
async def serving(folder: Path, *shape: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Run a stand-in in a process of its own; yields its address and the ids of its tasks."""
    log = folder / "stand-in.log"
    with log.open("w") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "harvester", "simulate", "--port", "0", "--print-ids", *shape),
            stdout=file,
            stderr=file,
        )
    try:
        await until(lambda: "/v1.3" in log.read_text())
        (address, *_) = re.findall(r"http://[^\s/]+/v1\.3", log.read_text())
        yield address, re.findall(r"^[0-9a-f]{24}$", log.read_text(), re.MULTILINE)
    finally:
        process.terminate()
        await process.wait()


async def harvest(
    folder: Path, address: str, only: list[str] | None, *, until: StopWhen = StopWhen.ALL_DONE, strategy: str = "auto"
) -> Progress:
    """Harvest in this process, all that is queued or `only` these ids; return what came of it."""
    overrides: dict[str, dict[str, Any]] = {
        "store": {"path": folder / "harvester.db"},
        "api": {"base_url": address},
        "rate": {"requests_per_minute": 0},
        "harvest": {"strategy": strategy},
    }
    settings = load_settings(None, overrides, environ={}).settings
    async with open_harvest(settings, lambda: KEY, until=until, only=only) as opened:
        await opened.scheduler.run()
        return opened.progress


@pytest.mark.parametrize("compression", ["--gzip", pytest.param("--no-gzip", marks=thorough)])
async def test_nothing_blocks_the_event_loop_while_long_videos_arrive(tmp_path: Path, compression: str) -> None:
    async with serving(tmp_path, *LONG_VIDEOS, compression) as (address, task_ids):
        with watching() as watch:
            progress = await harvest(tmp_path, address, task_ids)
    assert progress.segments > TASKS * 1000
    assert watch.longest_s < MAX_BLOCKED_S, watch.culprit


async def test_nothing_blocks_the_event_loop_while_many_tasks_are_asked_about(tmp_path: Path) -> None:
    async with serving(tmp_path, *CROWD) as (address, task_ids):
        await Shell(tmp_path).add(task_ids[::MINE])
        with watching() as watch:
            progress = await harvest(tmp_path, address, None, until=StopWhen.ALL_ASKED, strategy="list")
    assert progress.counts[TaskState.PENDING] == 1000
    assert progress.requests[Endpoint.LIST] > 100
    assert watch.longest_s < MAX_BLOCKED_S, watch.culprit


async def test_the_watch_notices_bodies_that_are_decoded_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_buffer, "IN_MEMORY_BYTES", 1 << 30)
    monkeypatch.setattr(decode_pool, "IN_MEMORY_BYTES", 1 << 30)
    monkeypatch.setattr(decode_pool, "IN_PLACE_BYTES", 1 << 30)
    async with serving(tmp_path, *LONG_VIDEOS, "--no-gzip") as (address, task_ids):
        with watching() as watch:
            await harvest(tmp_path, address, task_ids)
    assert watch.longest_s > MAX_BLOCKED_S


async def test_the_watch_notices_a_callback_that_computes_and_not_one_that_waits() -> None:
    def compute() -> None:
        give_up = time.thread_time() + 2 * MAX_BLOCKED_S
        while time.thread_time() < give_up:
            pass

    with watching() as waiting:
        asyncio.get_running_loop().call_soon(time.sleep, 2 * MAX_BLOCKED_S)
        await asyncio.sleep(0)
    with watching() as computing:
        asyncio.get_running_loop().call_soon(compute)
        await asyncio.sleep(0)
    assert waiting.longest_s < MAX_BLOCKED_S < computing.longest_s, waiting.culprit
