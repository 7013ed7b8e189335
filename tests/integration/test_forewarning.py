"""Status, plan, log and pages report a request budget that cannot save every task."""

import asyncio
import json
import signal
import time
from contextlib import closing

import pytest

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.limits.quotas import Quota
from harvester.domain.limits.shared_limits import LimitUpdate
from harvester.domain.tasks.task import DAY_MS
from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.limits import note_limits
from harvester.store.sqlite.transaction import in_transaction
from tests.support.shell import PATIENCE_S, Shell, stand_in

FIFTY_A_DAY = {"HARVESTER_RATE__REQUESTS_PER_MINUTE": "0.0347"}
LOST = "At 50 requests a day about 1,650 of these 2,000 tasks will expire; 12 requests an hour are needed."


async def queue_fresh_tasks(shell: Shell, count: int) -> None:
    # Ids that tell no time of creation: they count from now.
    await shell.add(f"fresh-{number}" for number in range(count))


async def test_status_tells_it_with_figures_and_the_remedy(shell: Shell) -> None:
    await queue_fresh_tasks(shell, 2000)

    ended = await shell.run("status", **FIFTY_A_DAY)

    assert f"\n{LOST} Raise rate.requests_per_minute to 0.2 if your plan allows it;" in ended.stdout


async def test_status_as_json_has_the_figures(shell: Shell) -> None:
    await queue_fresh_tasks(shell, 2000)

    budget = json.loads((await shell.run("status", "--json", **FIFTY_A_DAY)).stdout)["budget"]

    assert budget["at_risk"] == pytest.approx(1649, abs=2)
    assert budget["needed_requests_per_s"] == pytest.approx(2000 / (7 * DAY_MS / 1000), rel=0.01)
    assert budget["warning"].startswith(LOST)


async def test_a_rate_that_suffices_gives_no_warning(shell: Shell) -> None:
    await queue_fresh_tasks(shell, 2000)

    ended = await shell.run("status", HARVESTER_RATE__REQUESTS_PER_MINUTE="60")
    budget = json.loads((await shell.run("status", "--json")).stdout)["budget"]

    assert "will expire" not in ended.stdout
    assert "budget         60 requests a minute: done by " in ended.stdout
    assert (budget["requests_per_s"], budget["at_risk"], budget["warning"]) == (None, 0, None)


async def test_status_uses_the_limits_that_the_api_has_stated(shell: Shell) -> None:
    await queue_fresh_tasks(shell, 2000)
    update = LimitUpdate(quotas={Endpoint.RETRIEVE: Quota(50, 86_400)})
    with closing(open_for_writing(shell.database)) as connection:
        in_transaction(connection, lambda connection: note_limits(connection, update, time.time_ns() // 1_000_000))

    ended = await shell.run("status", HARVESTER_RATE__REQUESTS_PER_MINUTE="60")

    assert f"\n{LOST} The API allows no more: ask TwelveLabs for a larger plan." in ended.stdout


async def test_a_backfill_that_leaves_them_open_tells_it_at_the_end(shell: Shell) -> None:
    async with stand_in(tasks=600) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())

        ended = await shell.run("backfill", "--deadline", "0.5s", **FIFTY_A_DAY)

    assert ended.code == 1
    assert "At 50 requests a day about 2" in ended.last_line
    assert "will expire" in ended.last_line


async def test_the_daemon_warns_once_in_its_log(shell: Shell) -> None:
    async with stand_in(tasks=600) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        # Housekeeping comes round three times in a lease.
        often = {"HARVESTER_HARVEST__LEASE_S": "0.3", "HARVESTER_SERVER__LISTEN": "", "HARVESTER_LOG__FORMAT": "json"}
        daemon = await shell.start("run", **FIFTY_A_DAY, **often)
        stderr = daemon._process.stderr
        assert stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while "tasks will expire" not in (line := (await stderr.readline()).decode()):
                assert line, "it ended without a warning"
        daemon.signal(signal.SIGTERM)
        rest = await daemon.ended()

    entry = json.loads(line)
    assert (entry["level"], entry["why"][:20]) == ("warning", "At 50 requests a day")
    assert "tasks will expire" not in rest.stderr
