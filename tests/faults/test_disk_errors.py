"""Rows 20 and 21: whichever write or fsync fails, once or from then on, only what is committed is acknowledged.

Where all points would take minutes a random sample is tried; `make crash` tries every one.
"""

import functools
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.commands import at_once, completed_by_the_next_run, rehearsal, sample
from tests.faults.kept import all_sent_rows, ended_tasks, findings, stored, stored_rows
from tests.faults.small_harvest import IDS, acknowledged, harvest, harvest_for
from tests.faults.tracing import (
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
from tests.support.machine import enlarge_disk, small_disk
from tests.support.store_builders import LEASE_MS, NOW
from tests.support.thorough import thorough

POINTS = int(os.environ.get("CRASH_POINTS", "12"))
COMMANDS = int(os.environ.get("CRASH_POINTS", "2"))

OF_SQLITE = tuple(name for name in WRITES if name != "write")
"""Not the calls by which the harvest says what is acknowledged."""

GAVE_UP = 4


@pytest.mark.parametrize(
    ("error", "and_later"),
    [
        pytest.param("EIO", False, id="EIO once"),
        pytest.param("ENOSPC", True, id="ENOSPC from then on"),
        pytest.param("EIO", True, id="EIO from then on", marks=thorough),
        pytest.param("ENOSPC", False, id="ENOSPC once", marks=thorough),
    ],
)
def test_row_21_whichever_write_or_fsync_fails_nothing_is_acknowledged_that_is_not_stored(
    tmp_path: Path, error: str, *, and_later: bool
) -> None:
    skip_without_strace()
    undisturbed, log = tmp_path / "undisturbed.db", tmp_path / "log"
    assert run_traced(harvest_for, undisturbed, tmp_path / "said", options=watching(OF_SQLITE), log=log) == 0
    expected, codes = stored(undisturbed), []

    def fail_and_go_on(call: Call, folder: Path) -> None:
        database, said = folder / "harvester.db", folder / "said"
        options = injecting(f"error={error}", call, and_later=and_later)
        code = run_traced(harvest_for, database, said, options=options)
        codes.append(code)
        assert code in (0, GAVE_UP), call
        ended = ended_tasks(database)
        assert acknowledged(said) <= ended, call
        assert findings(database) == [], call
        if code == 0:
            assert (acknowledged(said), stored(database)) == (set(IDS), expected), call

        downloaded = harvest(database, lambda _task_id: None, now_ms=NOW + LEASE_MS)

        assert sorted(downloaded) == sorted(set(IDS) - ended), call
        assert stored(database) == expected, call

    calls = sample(calls_in(log), POINTS)
    for_each_call(calls, tmp_path, fail_and_go_on)
    print(f"{error} at {len(calls)} calls; exit codes:", sorted(Counter(codes).items()))  # noqa: T201


async def failing_at(call: Call, folder: Path, error: str) -> int:
    async with rehearsal(folder) as (shell, api):
        options = [*only_on(shell.database), *injecting(f"error={error}", call)]
        ended = await shell.run_traced("backfill", *api.catalogue.ids(), options=options)
        # Where it cannot open the database it says so and ends; later it waits and goes on by itself.
        assert ended.code in (0, GAVE_UP), (call, ended.stderr)
        if ended.code == 0:
            assert stored_rows(shell.database) == all_sent_rows(api), call
        else:
            assert ended.stderr.startswith("harvester: The database "), (call, ended.stderr)
            assert ended.stderr.count("\n") == 1, (call, ended.stderr)
        assert await completed_by_the_next_run(shell, api, call) == 0
        return ended.code


@pytest.mark.parametrize("error", ["EIO", pytest.param("ENOSPC", marks=thorough)])
async def test_row_21_the_command_survives_whichever_write_or_fsync_fails(tmp_path: Path, error: str) -> None:
    skip_without_strace()
    async with rehearsal(tmp_path / "undisturbed") as (shell, api):
        options, log = [*only_on(shell.database), *watching(OF_SQLITE)], tmp_path / "log"
        ended = await shell.run_traced("backfill", *api.catalogue.ids(), options=options, log=log)
        assert ended.code == 0, ended.stderr
    calls = sample(calls_in(log), COMMANDS)

    codes = await at_once([functools.partial(failing_at, call, tmp_path / str(call), error) for call in calls])

    print(f"{error} at {len(calls)} calls; exit codes:", sorted(Counter(codes).items()))  # noqa: T201


async def test_row_20_a_full_disk_is_waited_for_and_nothing_is_stored_in_part(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    # About 9 MB are kept free for the log and for what is under way.
    with small_disk(disk, 13):
        await harvested_when_there_is_space(tmp_path, disk)


async def harvested_when_there_is_space(tmp_path: Path, disk: Path) -> None:
    async with rehearsal(tmp_path / "shell", tasks=150, duration_s=60) as (shell, api):
        shell.database = disk / "harvester.db"
        shell.environ["HARVESTER_STORE__PATH"] = str(shell.database)
        harvest = await shell.start("backfill", *api.catalogue.ids())
        await harvest.says("nothing more is asked for until then")

        assert 0 < len(ended_tasks(shell.database)) < len(api.catalogue.ids())
        assert findings(shell.database) == []
        enlarge_disk(disk, 64)
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert stored_rows(shell.database) == all_sent_rows(api)
        assert findings(shell.database) == []
        assert api.catalogue.ids() == sorted(one.task_id or "" for one in api.requests)
