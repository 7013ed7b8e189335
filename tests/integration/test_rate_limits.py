"""After 429, or headers that announce it: the stated wait is kept, nothing is lost, no attempt is charged to a task."""

from itertools import pairwise

import aiohttp
import pytest

from harvester.simulator.settings import HeaderScheme
from tests.support.scripted_api import ScriptedApi, as_json, problem, ready, task_id
from tests.support.shell import KEY, Shell, retrieved, stand_in, until
from tests.support.thorough import thorough

OLD = [task_id(number) for number in range(4)]


async def test_after_a_429_its_endpoint_gets_no_request_for_the_stated_wait(shell: Shell, api: ScriptedApi) -> None:
    for one in OLD:
        api.holds(one)
    refusal = problem(429, "too_many_requests", "You have exceeded the rate limit.", retry_after="4")
    api.holds(OLD[1], refusal, as_json(ready(OLD[1])))

    harvest = await shell.run("backfill", *OLD, HARVESTER_HARVEST__CONCURRENCY="1")

    assert (harvest.code, len(api.asked)) == (0, 5), harvest.stderr
    gaps = [later.at - earlier.at for earlier, later in pairwise(api.asked)]
    assert [gap for gap in gaps if gap >= 4] == [max(gaps)]
    assert api.asked[gaps.index(max(gaps))].path == f"/v1.3/embed/tasks/{OLD[1]}"
    charged = dict(shell.rows("SELECT task_id, attempts FROM tasks"))
    assert dict.fromkeys(OLD, 1) == charged


async def test_a_process_that_is_killed_right_after_a_stated_wait_has_stored_it(shell: Shell, api: ScriptedApi) -> None:
    refusal = problem(429, "too_many_requests", "You have exceeded the rate limit.", retry_after="11382")
    for one in OLD:
        api.holds(one, refusal)

    harvest = await shell.start("backfill", *OLD, HARVESTER_HARVEST__CONCURRENCY="1")
    await harvest.says("rate limited")
    harvest.kill()
    await harvest.ended()
    # The dead process may have had no time to give its claims back, so one task more is due for certain.
    again = await shell.run("backfill", "--no-wait", *OLD, task_id(60, age_s=7200))

    assert (again.code, len(api.asked)) == (1, 1), again.stderr
    assert "the API accepts no requests for results before." in again.stderr


async def test_a_429_for_statuses_does_not_hold_up_retrievals(shell: Shell, api: ScriptedApi) -> None:
    fast, slow = task_id(50, age_s=7200), task_id(51, age_s=3600)
    refusal = problem(429, "too_many_requests", "You have exceeded the rate limit.", retry_after="4")
    api.will_say(f"embed/tasks/{fast}/status", as_json({"_id": fast, "status": "ready"}))
    api.will_say(f"embed/tasks/{slow}/status", refusal, as_json({"_id": slow, "status": "ready"}))
    api.holds(fast)
    api.holds(slow)

    harvest = await shell.run("backfill", fast, slow, HARVESTER_HARVEST__STRATEGY="status")

    assert harvest.code == 0, harvest.stderr
    paths = [asked.path.removeprefix("/v1.3/embed/tasks/") for asked in api.asked]
    assert sorted([f"{fast}/status", f"{slow}/status"]) == sorted(paths[:2])
    assert [fast, f"{slow}/status", slow] == paths[2:]
    assert api.asked[3].at - api.asked[1].at >= 3.9


async def test_where_one_call_gives_status_and_result_a_long_block_of_it_ends_a_harvest_that_asks_once(
    shell: Shell, api: ScriptedApi
) -> None:
    refusal = problem(429, "too_many_requests", "You have exceeded the rate limit.", retry_after="600")
    for one in OLD:
        api.will_say(f"embed-v2/tasks/{one}", refusal)
    settings = {"HARVESTER_API__VERSION": "v2", "HARVESTER_HARVEST__CONCURRENCY": "1"}

    first = await shell.run("backfill", "--no-wait", *OLD, **settings)
    again = await shell.run("backfill", "--no-wait", *OLD, **settings)

    # The second one reads the block from the database.
    assert (first.code, again.code, len(api.asked)) == (1, 1, 1)
    for ended in (first, again):
        assert "Run `harvester backfill` again after 20" in ended.stderr
        assert "Z: the API accepts no requests for results before." in ended.stderr


@pytest.mark.parametrize("scheme", ["newer", pytest.param("older", marks=thorough)])
async def test_an_exhausted_window_is_waited_for_without_running_into_429s(shell: Shell, scheme: HeaderScheme) -> None:
    # 58.5 of the 60 seconds are over. The clock stands still until the window is exhausted, however long that takes.
    api = stand_in(tasks=8, requests_per_minute=5, header_scheme=scheme)
    async with api, aiohttp.ClientSession() as other:
        shell.talks_to(api.base_url)
        opened = int(api.clock.now())
        api.clock.speed = 0
        api.clock.set(opened)
        await other.get(f"{api.base_url}/embed/tasks", headers={"x-api-key": KEY})
        api.clock.advance(58.5)

        harvest = await shell.start("backfill", *api.catalogue.ids(), HARVESTER_HARVEST__CONCURRENCY="2")
        await until(lambda: len(api.requests) >= 5)
        api.clock.speed = 1
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert api.catalogue.ids() == retrieved(api)
        assert api.requests.count(status=429) <= 2  # under way when the window closed
        assert [one for one in api.requests if one.status == 429 and one.at >= opened + 60] == []
        assert set(shell.rows("SELECT attempts FROM tasks")) == {(1,)}


async def test_a_long_wait_is_logged_and_can_be_ended(shell: Shell) -> None:
    # The last request of a window is kept for its second half.
    async with stand_in(tasks=4, requests_per_minute=3) as api:
        shell.talks_to(api.base_url)

        harvest = await shell.run(
            "backfill", *api.catalogue.ids(), "--deadline", "6s", HARVESTER_HARVEST__CONCURRENCY="1"
        )

        assert harvest.code == 1
        assert "2 still to do: 2 pending." in harvest.stderr
        assert (len(api.requests), shell.count("harvested")) == (2, 2)
