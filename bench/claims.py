"""The time and memory of a claim at 1,000, 100,000 and a million pending tasks, and of tasks that were all named.

A claim is all that the scheduler requests from the store for it: whether any task is due; a narrow read, and a wide one
if no results fill the plan; then the claim of 32 results, of one task to ask about, or of as many as one page of the
list answers for. It does not include planning, whose time does not depend on the queue.
"""

import argparse
import asyncio
import gc
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

from processes import memory_bytes
from tables import percentile, spread, table

from harvester.domain.planning.list_windows import MAX_TASKS
from harvester.domain.tasks.records import Lease
from harvester.domain.tasks.task import Task
from harvester.service.due_requests import NARROW_VIEW, WIDE_VIEW
from harvester.store.sqlite.store import Store

DEPTHS = (1_000, 100_000, 1_000_000)
NAMED = 100_000
KINDS = ((NARROW_VIEW, 32), (WIDE_VIEW, 1), (WIDE_VIEW, MAX_TASKS))
"""The number of tasks that the last read returns from each end, and the number that is then claimed."""

RUNS, CLAIMS = 5, 200
GOAL_MS = 10
CREATED_S = 1_700_000_000
NOW_MS = (CREATED_S + 600_000) * 1000
OWNER = "bench"


class Claims:
    """The milliseconds that each claim took with the reads before it, and alone; and the bytes of memory afterwards."""

    def __init__(self) -> None:
        self.runs_ms: dict[tuple[int, int], list[list[float]]] = {kind: [] for kind in KINDS}
        self.alone_ms: dict[tuple[int, int], list[list[float]]] = {kind: [] for kind in KINDS}
        self.memory = 0

    async def measure(self, store: Store) -> None:
        """Measure the sizes in turn, run by run; every claim is of tasks that were not claimed before in its run."""
        # A harvest does the same at its start.
        gc.collect()
        gc.freeze()
        for _ in range(RUNS):
            for view, at_once in KINDS:
                taken_ms, alone_ms = await one_run(store, view, at_once)
                self.runs_ms[view, at_once].append(taken_ms)
                self.alone_ms[view, at_once].append(alone_ms)
        self.memory = memory_bytes(os.getpid())


async def one_run(store: Store, view: int, at_once: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each claim, with the reads before it and alone."""
    taken_ms: list[float] = []
    alone_ms: list[float] = []
    while len(taken_ms) < CLAIMS:
        started = time.perf_counter()
        tasks = await read_due(store, view)
        seen = time.perf_counter()
        claimed = await store.claim(Lease(OWNER, NOW_MS + 60_000, NOW_MS), tasks[:at_once])
        ended = time.perf_counter()
        if len(claimed) == at_once:
            taken_ms.append((ended - started) * 1000)
            alone_ms.append((ended - seen) * 1000)
        else:
            # All tasks have been claimed: begin with the first ones again.
            await store.release(OWNER)
    await store.release(OWNER)
    return taken_ms, alone_ms


async def read_due(store: Store, view: int) -> list[Task]:
    """Read due tasks, the most urgent ones first, as the scheduler does."""
    assert await store.next_due_ms() is not None
    due = await store.due(NOW_MS, limit=NARROW_VIEW, newest=False)
    if view > NARROW_VIEW and not due.is_whole:
        due = await store.due(NOW_MS, limit=view)
    return [*due.ready, *due.pending]


async def of_a_queue(path: Path, depth: int) -> Claims:
    """Measure among rows that another program has inserted."""
    claims = Claims()
    async with Store(path) as store:
        await asyncio.to_thread(insert, path, depth)
        # The first read gives each new row its deadline; that is part of queueing.
        await store.due(NOW_MS, limit=1)
        await claims.measure(store)
    return claims


async def of_named_ids(path: Path, depth: int) -> Claims:
    """Measure with every task named."""
    claims = Claims()
    async with Store(path) as store:
        await store.select(list(task_ids(depth)), NOW_MS)
        await claims.measure(store)
    return claims


def task_ids(depth: int) -> Iterator[str]:
    return (f"{CREATED_S + number % 600_000:08x}{number:016x}" for number in range(depth))


def insert(path: Path, depth: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO tasks(task_id) VALUES (?)", ((task_id,) for task_id in task_ids(depth)))


def run(measured: Callable[[Path, int], Coroutine[None, None, Claims]], depth: int) -> Claims:
    """Measure with a new database."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measured(Path(folder) / "harvester.db", depth))


def report() -> str:
    """Return the result as Markdown."""
    rows = []
    contenders = [(f"{depth:,}", of_a_queue, depth) for depth in DEPTHS]
    for name, measured, depth in [*contenders, (f"{NAMED:,}, all named", of_named_ids, NAMED)]:
        # Each in a process of its own: else the memory of the one before would count, too.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            claims = pool.submit(run, measured, depth).result()
        for (view, at_once), runs_ms in claims.runs_ms.items():
            figures = [spread([percentile(run_ms, part) for run_ms in runs_ms]) for part in (0.5, 0.99)]
            figures.append(spread([percentile(run_ms, 0.99) for run_ms in claims.alone_ms[view, at_once]]))
            rows.append((name, str(view), str(at_once), *figures, f"{claims.memory / 1e6:.0f}"))
    heads = [
        "pending",
        "read, from each end",
        "claimed",
        "median ms",
        "p99 ms",
        "claim alone: p99 ms",
        "memory MB",
    ]
    runs = f"- {RUNS} runs of {CLAIMS} claims each; before a wide read comes a narrow one, at {NARROW_VIEW} tasks"
    return (
        f"## Queue: claims\n\n{table(heads, rows)}\n\n{runs}\n- goal: p99 of a claim at most {GOAL_MS} ms, flat memory"
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(report())


if __name__ == "__main__":
    main()
