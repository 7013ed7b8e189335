"""Rows 29 and 43: the wall clock jumps, or is wrong. Timers are monotonic, and deadlines go by the API's time."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from harvester.simulator import Fault
from tests.faults.invariants import assert_kept, said_about
from tests.support.shell import Gate, Shell, retrieved, stand_in, until
from tests.support.thorough import thorough

DAY_S = 24 * 3600

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

needs_faketime = pytest.mark.skipif(FAKETIME is None, reason="needs Debian's libfaketime")

JUMP = """
import os, time, harvester.service.clock as clock
def wall_ms(self):
    ahead = int(open({flag!r}).read()) if os.path.exists({flag!r}) else 0
    return time.time_ns() // 1_000_000 + ahead
clock.SystemClock.wall_ms = wall_ms
"""
"""Once the flag exists, the wall clock is ahead by the milliseconds that it holds."""

NO_DATE = """
import harvester.api.rate_limit_headers as limits
limits.http_date = lambda _value: None
"""
"""No answer has the API's time."""


def set_ahead(flag: Path, by_s: float) -> None:
    """Let the clock be that much ahead; the program never reads a file that is half written."""
    written = flag.with_suffix(".new")
    written.write_text(str(round(by_s * 1000)))
    written.replace(flag)


@pytest.mark.parametrize(
    ("hours", "is_dated"),
    [(24, True), (-3, False), *(pytest.param(hours, True, marks=thorough) for hours in (-24, -3))],
)
async def test_row_29_when_the_wall_clock_jumps_a_day_nothing_expires_and_no_task_waits_for_it(
    shell: Shell, hours: int, *, is_dated: bool
) -> None:
    flag, gate = shell.folder / "flag", Gate(let_through=4)
    shell.sabotage(JUMP.format(flag=str(flag)) + ("" if is_dated else NO_DATE))
    shell.environ["HARVESTER_HARVEST__CONCURRENCY"] = "4"
    shell.environ["HARVESTER_HARVEST__LEASE_S"] = "3"  # housekeeping is done three times in it
    # Half a day of the seven is left: after the jump the deadline seems to be over.
    async with stand_in(gate, tasks=14, duration_s=12, age_s=6.5 * DAY_S) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        # A task that fails before the jump waits until a time that the clock may not show for hours.
        api.faults.add(Fault(kind="reset", tasks=tuple(api.catalogue.ids()[:8]), times_per_task=1))
        harvest = await shell.start("backfill")
        await until(lambda: len(gate.arrived) >= 4 and said_about(shell, api.catalogue.ids()[0]) != [])

        set_ahead(flag, hours * 3600)
        gate.open()
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert api.faults.served["reset"] == 8
    if not is_dated:
        # The next check sees that no task ever waits a day; a wait of hours it cannot distinguish.
        assert "the clock was set back, waiting tasks are asked about now" in ended.stderr
    else:
        side = "ahead of" if hours > 0 else "behind"
        # A second is lost where the date of an answer is rounded down.
        units = ("1 day", "24 hours") if hours % 24 == 0 else ("3 hours",)
        assert any(f"clock is {unit} {side} the API's" in ended.stderr for unit in units), ended.stderr


def shift_clock(shell: Shell, by_s: float, *, is_dated: bool = True) -> None:
    """Let the wall clock of every harvest from now on be wrong."""
    flag = shell.folder / "flag"
    set_ahead(flag, by_s)
    no_wait = "import harvester.domain.planning.decisions as retrying\nretrying.GONE_SPACING_MS = 50\n"
    shell.sabotage(JUMP.format(flag=str(flag)) + no_wait + ("" if is_dated else NO_DATE))


def faked(shell: Shell, shift: str) -> dict[str, str]:
    """Return the environment in which the wall clock of a command, and only that, is set as the file says."""
    file = shell.folder / "faketime"
    file.write_text(shift)
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }


@pytest.mark.parametrize(
    ("by_s", "said"),
    [(9 * DAY_S, "9 days ahead of"), pytest.param(-9 * DAY_S, "9 days behind", marks=thorough)],
)
async def test_row_43_with_a_clock_that_is_days_off_deadlines_go_by_the_apis_time(
    shell: Shell, by_s: float, said: str
) -> None:
    shell.environ["HARVESTER_HARVEST__CONCURRENCY"] = "1"
    async with stand_in(tasks=8, duration_s=12) as api:
        shell.talks_to(api.base_url)
        # The API does not know this id; by the API's time its deadline is days away: it comes last and does not expire.
        stray = f"{int(time.time()) - 3000:08x}{'5' * 16}"
        await shell.add([*api.catalogue.ids(), stray])
        shift_clock(shell, by_s)
        ended = await shell.run("backfill")
        assert ended.code == 1, ended.stderr
        assert f"this machine's clock is {said} the API's; deadlines go by the API's time" in ended.stderr
        assert_kept(shell, api, {stray: "missing"})
        times = shell.rows("SELECT max(abs(ended_at - ?)) FROM tasks WHERE task_id = ?", time.time() * 1000, stray)
        assert times[0][0] < 60_000


@pytest.mark.parametrize(
    ("by_s", "is_dated"),
    [
        (-10 * DAY_S, True),
        *(pytest.param(by_s, by_s > 0, marks=thorough) for by_s in (-10 * DAY_S, 10 * DAY_S)),
    ],
)
async def test_row_43_when_the_clock_is_set_by_days_while_running_all_tasks_are_still_asked_about(
    shell: Shell, by_s: float, *, is_dated: bool
) -> None:
    gate = Gate(let_through=4)
    shell.environ |= {"HARVESTER_HARVEST__CONCURRENCY": "2", "HARVESTER_HARVEST__LEASE_S": "3"}
    shift_clock(shell, 0, is_dated=is_dated)
    async with stand_in(gate, tasks=12, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        harvest = await shell.start("backfill", "--deadline", "100s")
        await until(lambda: len(gate.arrived) == 6)
        (shell.folder / "flag").write_text(str(round(by_s * 1000)))
        gate.open()
        ended = await harvest.ended()
        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        # The tasks that it had claimed were not requested again.
        assert api.catalogue.ids() == retrieved(api)


@needs_faketime
async def test_row_43_what_was_claimed_by_a_clock_that_was_ahead_comes_back_when_the_lease_is_over(
    shell: Shell,
) -> None:
    gate = Gate()
    shell.environ |= {"HARVESTER_HARVEST__CONCURRENCY": "2", "HARVESTER_HARVEST__LEASE_S": "2"}
    async with stand_in(gate, tasks=5, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        killed = await shell.start("backfill", **faked(shell, "+3h"))
        await until(lambda: len(gate.arrived) == 2)
        killed.kill()
        await killed.ended()
        assert shell.rows("SELECT max(lease_until) > ? FROM tasks", (time.time() + 10_000) * 1000) == [(1,)]
        gate.open()
        ended = await shell.run("backfill", "--deadline", "100s")
        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)


@needs_faketime
@thorough
async def test_row_43_two_processes_whose_clocks_differ_by_less_than_a_lease_do_no_work_twice(shell: Shell) -> None:
    gate = Gate()
    shell.environ |= {"HARVESTER_HARVEST__CONCURRENCY": "2", "HARVESTER_HARVEST__LEASE_S": "8"}
    # More than one process claims ahead.
    async with stand_in(gate, tasks=20, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        right = await shell.start("backfill")
        await until(lambda: len(gate.arrived) == 2)
        ahead = await shell.start("backfill", **faked(shell, "+7.5s"))
        await until(lambda: len(gate.arrived) == 4)
        # The first one's leases have been over for a while by the other's clock, several times.
        await ahead.says_nothing_for(4)
        gate.open()
        ended = [await one.ended() for one in (right, ahead)]
        assert [one.code for one in ended] == [0, 0], ended
        assert_kept(shell, api)
        assert api.catalogue.ids() == retrieved(api)


async def test_row_43_ids_that_were_queued_before_the_clock_was_ever_set_are_asked_about(shell: Shell) -> None:
    async with stand_in(tasks=4, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        with closing(sqlite3.connect(shell.database)) as connection, connection:
            connection.execute("UPDATE tasks SET added_at = 86400000, expires_at = NULL")
        shift_clock(shell, -time.time() + DAY_S + 5)
        ended = await shell.run("backfill", "--deadline", "100s")
        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert shell.rows("SELECT min(expires_at) > ? FROM tasks", (time.time() + DAY_S) * 1000) == [(1,)]


async def test_row_43_a_clock_that_is_ahead_hides_no_task_from_discover(shell: Shell) -> None:
    async with stand_in(tasks=8, duration_s=12, age_s=5 * DAY_S) as api:
        shell.talks_to(api.base_url)
        shift_clock(shell, 9 * DAY_S)
        ended = await shell.run("discover", "--json")
        assert (ended.code, json.loads(ended.stdout)["new"]) == (0, 8), ended.stderr
        assert len(shell.states()) == 8
