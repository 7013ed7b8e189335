"""What a claim takes at 1,000, 100,000 and a million pending tasks, and what memory."""

import argparse
import asyncio
import os
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from processes import memory_bytes
from tables import percentile, table

from harvester.domain.tasks import Task
from harvester.store.sqlite import Store
from harvester.store.taking import Lease

DEPTHS = (1_000, 100_000, 1_000_000)
CLAIMS, AT_ONCE = 300, 32
GOAL_MS = 10
CREATED_S = 1_700_000_000


async def measure(path: Path, depth: int) -> tuple[list[float], int]:
    """Return how many milliseconds each claim took, and the memory in bytes afterwards."""
    taken_ms: list[float] = []
    async with Store(path) as store:
        now_ms = CREATED_S * 1000
        # The first claim gives each new row its deadline; that is part of queueing.
        await claim(store, now_ms, 1)
        await asyncio.to_thread(queue, path, depth)
        await claim(store, now_ms, 1)
        for _ in range(min(CLAIMS, depth // AT_ONCE)):
            started = time.perf_counter()
            claimed = await claim(store, now_ms, AT_ONCE)
            taken_ms.append((time.perf_counter() - started) * 1000)
            assert len(claimed) == AT_ONCE
    return taken_ms, memory_bytes(os.getpid())


async def claim(store: Store, now_ms: int, limit: int) -> list[Task]:
    """Look for due tasks and claim the most urgent ones, as the scheduler does."""
    due = await store.due(now_ms, limit=limit)
    return await store.claim(Lease("bench", now_ms + 60_000), [*due.ready, *due.pending][:limit])


def queue(path: Path, depth: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = ((f"{CREATED_S + number % 600_000:08x}{number:016x}",) for number in range(depth))
        connection.executemany("INSERT INTO tasks(task_id) VALUES (?)", rows)


def report() -> str:
    """Return the result as Markdown."""
    rows = []
    for depth in DEPTHS:
        with tempfile.TemporaryDirectory() as folder:
            taken_ms, memory = asyncio.run(measure(Path(folder) / "harvester.db", depth))
        figures = [f"{percentile(taken_ms, part):.2f}" for part in (0.5, 0.99)]
        rows.append((f"{depth:,}", *figures, f"{memory / 1e6:.0f}"))
    heads = ["pending", "median ms", "p99 ms", "memory MB"]
    title = f"## Queue: claims of {AT_ONCE} tasks"
    return f"{title}\n\n{table(heads, rows)}\n\n- goal: p99 at most {GOAL_MS} ms, flat memory"


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(report())


if __name__ == "__main__":
    main()
