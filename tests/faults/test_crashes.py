"""Row 24: killed at any write, any fsync, any moment, the next start completes the identical set.

A killed process loses no page that it has written: what a power cut does to unsynced pages is not shown here. Where it
would take minutes a random sample of the points is tried; `make test-all` tries every one of a small harvest,
`make crash` every point of all.
"""

import asyncio
import functools
import itertools
import os
import random
import signal
from collections import Counter
from pathlib import Path
from shutil import copy

import pytest

from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.maintenance.backup import back_up
from tests.faults.commands import at_once, completed_by_the_next_run, rehearsal, sample
from tests.faults.kept import ended_tasks, findings, stored
from tests.faults.small_harvest import IDS, acknowledged, harvest, harvest_for
from tests.faults.tracing import (
    CHANGES,
    KILL,
    WRITES,
    Call,
    calls_in,
    for_each_call,
    injecting,
    only_on,
    run_traced,
    skip_without_strace,
    watching,
)
from tests.support.shell import until
from tests.support.store_builders import LEASE_MS, NOW
from tests.support.thorough import thorough

POINTS = int(os.environ.get("CRASH_POINTS", "3"))
MOMENTS = int(os.environ.get("CRASH_MOMENTS", "1"))

LEASE_S = 3
"""Seconds for which the next run waits for the leases of a killed one."""

LARGE = 40

EVERY = 1000

of_a_small_harvest = pytest.mark.parametrize(
    "points", [pytest.param(12, id="a sample"), pytest.param(EVERY, id="every one", marks=thorough)]
)
"""The number of calls that are tried."""

LONG_VIDEO_S = 90
"""Its body is large enough to be decoded in a worker process."""


@of_a_small_harvest
def test_row_24_killed_at_every_write_and_every_fsync_the_next_start_completes_the_identical_set(
    tmp_path: Path, points: int
) -> None:
    skip_without_strace()
    # Kills while the schema is made are tried at every statement in test_migrations_in_processes.py.
    is_new = points < EVERY or POINTS >= EVERY
    schema, undisturbed, log = tmp_path / "schema.db", tmp_path / "undisturbed.db", tmp_path / "log"
    open_for_writing(schema).close()

    def begun(database: Path) -> Path:
        return database if is_new else Path(copy(schema, database))

    run = (harvest_for, begun(undisturbed), tmp_path / "said")
    assert run_traced(*run, options=watching(CHANGES), log=log) == 0
    expected = stored(undisturbed)

    def kill_and_go_on(call: Call, folder: Path) -> None:
        database, said = begun(folder / "harvester.db"), folder / "said"
        assert run_traced(harvest_for, database, said, options=injecting(KILL, call)) == -signal.SIGKILL, call
        ended = ended_tasks(database)
        assert acknowledged(said) <= ended, call
        assert findings(database) == [], call

        downloaded = harvest(database, lambda _task_id: None, now_ms=NOW + LEASE_MS)

        assert sorted(downloaded) == sorted(set(IDS) - ended), call
        assert stored(database) == expected, call

    calls = calls_in(log, within=tmp_path)
    assert {"pwrite64", "fdatasync", "ftruncate"} < {call.name for call in calls}
    for_each_call(sample(calls, points), tmp_path, kill_and_go_on)


def test_row_24_what_is_acknowledged_is_synced_before(tmp_path: Path) -> None:
    # A kill cannot tell: what was written outlives it. A power cut could.
    skip_without_strace()
    seldom, log = functools.partial(harvest_for, checkpoint_pages=1000), tmp_path / "log"
    assert run_traced(seldom, tmp_path / "harvester.db", tmp_path / "said", options=watching(WRITES), log=log) == 0

    names = [call.name for call in calls_in(log)]

    before = [earlier for earlier, name in itertools.pairwise(names) if name == "write" != earlier]
    assert before == ["fdatasync"] * 3


@of_a_small_harvest
def test_a_backup_killed_at_every_write_and_every_fsync_is_whole_or_not_there(tmp_path: Path, points: int) -> None:
    skip_without_strace()
    original, log = tmp_path / "original.db", tmp_path / "log"
    harvest(original, lambda _task_id: None)
    expected = stored(original)

    def folders(folder: Path) -> tuple[Path, Path]:
        """Return a database, and the place for its copy."""
        (folder / "copies").mkdir()
        return Path(copy(original, folder / "harvester.db")), folder / "copies" / "copy.db"

    def kill_and_back_up_again(call: Call, folder: Path) -> None:
        database, target = folders(folder)
        assert run_traced(back_up, database, target, options=injecting(KILL, call)) == -signal.SIGKILL, call
        assert not target.exists() or stored(target) == expected, call
        assert stored(database) == expected, call

        back_up(database, target, replace=True)

        assert (stored(target), [path.name for path in target.parent.iterdir()]) == (expected, ["copy.db"]), call

    (tmp_path / "undisturbed").mkdir()
    assert run_traced(back_up, *folders(tmp_path / "undisturbed"), options=watching(CHANGES), log=log) == 0
    for_each_call(sample(calls_in(log, within=tmp_path), points), tmp_path, kill_and_back_up_again)


async def killed_at(call: Call, folder: Path, *, is_new: bool) -> tuple[int, int]:
    async with rehearsal(folder, lease_s=LEASE_S) as (shell, api):
        if not is_new:
            await shell.add(api.catalogue.ids())
        options = [*only_on(shell.database), *injecting(KILL, call)]
        ended = await shell.run_traced("backfill", *api.catalogue.ids(), options=options)
        assert ended.code in (-signal.SIGKILL, 0), call
        return ended.code, await completed_by_the_next_run(shell, api, call)


@pytest.mark.parametrize(
    "is_new", [pytest.param(True, id="new file"), pytest.param(False, id="queued tasks", marks=thorough)]
)
async def test_row_24_the_command_is_killed_at_its_writes_and_fsyncs(tmp_path: Path, *, is_new: bool) -> None:
    skip_without_strace()
    calls = sample(await calls_of_the_command(tmp_path, is_new=is_new), POINTS)

    results = await at_once([functools.partial(killed_at, call, tmp_path / str(call), is_new=is_new) for call in calls])

    # How results are grouped, and so the number of calls, is not the same in each run; its first quarter comes in all.
    again = [again for code, again in results if code == -signal.SIGKILL]
    print(f"killed at {len(again)} of {len(calls)} calls; downloaded again:", sorted(Counter(again).items()))  # noqa: T201
    assert len(again) >= len(calls) / 4


async def calls_of_the_command(folder: Path, *, is_new: bool) -> list[Call]:
    async with rehearsal(folder / "undisturbed") as (shell, api):
        if not is_new:
            await shell.add(api.catalogue.ids())
        options, log = [*only_on(shell.database), *watching(CHANGES)], folder / "log"
        ended = await shell.run_traced("backfill", *api.catalogue.ids(), options=options, log=log)
        assert ended.code == 0, ended.stderr
        return calls_in(log)


async def killed_after(requests: int, more_s: float, folder: Path) -> int:
    async with rehearsal(folder, tasks=LARGE, duration_s=LONG_VIDEO_S, lease_s=LEASE_S) as (shell, api):
        await shell.add(api.catalogue.ids())
        harvest = await shell.start("backfill", HARVESTER_HARVEST__CONCURRENCY="8")
        await until(lambda: len(api.requests) >= requests)
        await asyncio.sleep(more_s)
        harvest.kill()
        await harvest.ended()
        return await completed_by_the_next_run(shell, api, f"{requests} requests and {more_s} s")


async def test_row_24_a_larger_harvest_is_killed_at_random_moments(tmp_path: Path) -> None:
    moments = [(random.randrange(LARGE + 1), random.uniform(0, 0.1)) for _ in range(MOMENTS)]

    again = await at_once(
        [functools.partial(killed_after, *moment, tmp_path / str(number)) for number, moment in enumerate(moments)]
    )

    print(f"killed {len(moments)} times; downloaded again:", sorted(Counter(again).items()))  # noqa: T201
