"""The installed command, attacked many times over: each time in a folder of its own."""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from harvester.simulator import Simulator
from tests.faults.kept import all_sent_rows, ended_tasks, findings, stored_rows
from tests.faults.tracing import traced
from tests.support.shell import PATIENCE_S, Ended, Shell, retrieved, stand_in

T = TypeVar("T")

AT_ONCE = 2
CONCURRENCY = 2


class TracedShell(Shell):
    """A shell in a new folder that can run commands under strace."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder)
        self.environ["HARVESTER_HARVEST__CONCURRENCY"] = str(CONCURRENCY)

    async def run_traced(self, *arguments: str, options: Iterable[str], log: Path | None = None) -> Ended:
        """Run a command under strace to its end; what it wrote to stdout is left out."""
        process = await asyncio.create_subprocess_exec(
            *traced([sys.executable, "-m", "harvester", *arguments], options, log=log),
            cwd=self.folder,
            env=self.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                _, stderr = await process.communicate()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, "", stderr.decode())


@asynccontextmanager
async def rehearsal(
    folder: Path, *, tasks: int = 5, duration_s: float = 12, lease_s: int = 60
) -> AsyncIterator[tuple[TracedShell, Simulator]]:
    """A shell in a new folder, and a stand-in that it talks to; nothing is left running."""
    shell = TracedShell(folder)
    shell.environ["HARVESTER_HARVEST__LEASE_S"] = str(lease_s)
    async with stand_in(tasks=tasks, duration_s=duration_s) as api:
        shell.talks_to(api.base_url)
        try:
            yield shell, api
        finally:
            await shell.close()


async def completed_by_the_next_run(shell: Shell, api: Simulator, what: object) -> int:
    """Assert that nothing is stored in part, and that the next run adds what is missing and asks for nothing else.

    Returns how many tasks were downloaded again.
    """
    ended = ended_tasks(shell.database)
    assert findings(shell.database) == [], what
    leased = _leased_tasks(shell)

    again = await shell.run("backfill", *api.catalogue.ids())

    assert again.code == 0, (what, again.stderr)
    assert stored_rows(shell.database) == all_sent_rows(api), what
    assert findings(shell.database) == [], what
    # Stored results are not requested again; only tasks that the killed process had claimed are.
    times = Counter(retrieved(api))
    twice = {task_id for task_id, count in times.items() if count > 1}
    assert set(times.values()) <= {1, 2}, what
    assert (twice & ended, twice - leased) == (set(), set()), what
    return len(twice)


def _leased_tasks(shell: Shell) -> set[str]:
    try:
        return {task_id for (task_id,) in shell.rows("SELECT task_id FROM tasks WHERE lease_owner IS NOT NULL")}
    except sqlite3.OperationalError:
        # Killed before there was a table.
        return set()


async def at_once(actions: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Run all, two at a time; return the results in order."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def in_a_slot(action: Callable[[], Awaitable[T]]) -> T:
        async with slots:
            return await action()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_a_slot(action)) for action in actions]
    return [task.result() for task in tasks]


def sample(calls: Sequence[T], count: int) -> list[T]:
    """Return about that many, spread over all of them."""
    step = max(1, len(calls) // count)
    return list(calls[random.randrange(step) :: step])
