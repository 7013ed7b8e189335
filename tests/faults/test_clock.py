"""Row 29: the wall clock jumps. Timers are monotonic, and nothing expires by mistake."""

import pytest

from harvester.simulator import Fault
from tests.faults.invariants import assert_kept, said_about
from tests.integration.shell import Gate, Shell, stand_in, until

DAY_S = 24 * 3600

JUMP = """
import os, time, harvester.service.clock as clock
def wall_ms(self):
    ahead = int(open({flag!r}).read()) if os.path.exists({flag!r}) else 0
    return time.time_ns() // 1_000_000 + ahead
clock.SystemClock.wall_ms = wall_ms
"""
"""From the moment the flag is there the wall clock is ahead by as many milliseconds as it holds."""

NO_DATE = """
import harvester.api.limits as limits
limits._http_date = lambda _value: None
"""
"""No answer tells the API's time."""


@pytest.mark.parametrize(("hours", "is_dated"), [(24, True), (-24, True), (-3, True), (-3, False)])
async def test_row_29_when_the_wall_clock_jumps_a_day_nothing_expires_and_nobody_waits_for_it(
    shell: Shell, hours: int, *, is_dated: bool
) -> None:
    flag, gate = shell.folder / "flag", Gate(let_through=4)
    shell.sabotage(JUMP.format(flag=str(flag)) + ("" if is_dated else NO_DATE))
    shell.environ["HARVESTER_HARVEST__CONCURRENCY"] = "4"
    shell.environ["HARVESTER_HARVEST__LEASE_S"] = "3"  # housekeeping is done three times in it
    # Of the seven days half a one is left: after the jump the deadline seems to be over.
    async with stand_in(gate, tasks=14, duration_s=12, age_s=6.5 * DAY_S) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        # What fails before the jump is backed off until a time that the clock may not show for hours.
        api.faults.add(Fault(kind="reset", tasks=tuple(api.catalogue.ids()[:8]), times_per_task=1))
        harvest = await shell.start("backfill")
        await until(lambda: len(gate.arrived) >= 4 and said_about(shell, api.catalogue.ids()[0]) != [])

        flag.write_text(str(hours * 3600 * 1000))
        gate.open()
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert api.faults.served["reset"] == 8
    if not is_dated:
        # Of a day's sleep the next look sees that nobody sleeps so long; of hours it cannot.
        assert "the clock was set back, waiting tasks are asked about now" in ended.stderr
    else:
        unit = "1 day" if hours % 24 == 0 else "3 hours"
        assert f"clock is {unit} {'ahead of' if hours > 0 else 'behind'} the API's" in ended.stderr
