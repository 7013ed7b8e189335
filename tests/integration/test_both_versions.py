"""An account with tasks of both API versions, of which each answers 404 for those of the other."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from harvester.simulator import Simulator
from tests.support.scripted_api import ScriptedApi, as_json, problem, ready, task_id
from tests.support.shell import Shell, stand_in
from tests.support.thorough import thorough

RETENTION_S = 7 * 86_400


@pytest.fixture(autouse=True)
def _default_version(shell: Shell) -> None:
    del shell.environ["HARVESTER_API__VERSION"]


def two_accounts(tasks: int = 60, **settings: Any) -> Simulator:
    """Return a stand-in with as many tasks of either version, made in turn over ten minutes."""
    apart: dict[str, Any] = {
        "cross_version": "none",
        "api": "both",
        "media": ("video",),
        "dimension": 128,
        "spread_s": 600,
    }
    return stand_in(tasks=tasks, duration_s=12, **(apart | settings))


def requests(api: Simulator, ids: Iterable[str] = ()) -> Counter[str]:
    """Count the requests about these tasks, or about all, by API version."""
    wanted = set(ids)
    asked = [one.path for one in api.requests if one.task_id and (not wanted or one.task_id in wanted)]
    return Counter("v2" if "embed-v2" in path else "v1" for path in asked)


@pytest.mark.parametrize("version", ["auto", "v1", pytest.param("v2", marks=thorough)])
async def test_every_task_is_harvested_whichever_version_is_asked_first(shell: Shell, version: str) -> None:
    async with two_accounts() as api:
        await shell.add(api.catalogue.ids())
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", HARVESTER_API__VERSION=version)

        assert (ended.code, shell.count("harvested")) == (0, 60), ended.stderr
        assert shell.rows("SELECT api_version, count(*) FROM tasks GROUP BY 1") == [("v1", 30), ("v2", 30)]
        assert shell.rows("SELECT * FROM tasks WHERE denied_by IS NOT NULL OR gone <> 0") == []
        # At most one request more for each task that was asked in the wrong version.
        assert sum(requests(api).values()) <= 2 * 60
        assert "most answers bring no result" not in ended.stderr


@pytest.mark.parametrize(("made_in", "first"), [("v1", "v2"), ("v2", "v1")])
async def test_an_account_of_one_version_soon_costs_what_it_costs_with_the_right_setting(
    shell: Shell, made_in: str, first: str
) -> None:
    async with two_accounts(80, api=made_in) as api:
        early, late = api.catalogue.ids()[:40], api.catalogue.ids()[40:]
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *early, HARVESTER_API__VERSION=first)
        again = await shell.run("backfill", *late, HARVESTER_API__VERSION=first)

        assert (ended.code, again.code, shell.count("harvested")) == (0, 0, 80), ended.stderr + again.stderr
        assert requests(api, early)[first] <= 8
        # What the first process has learned, the second one knows from the database.
        assert requests(api, late)[first] == 0


async def test_past_its_deadline_a_task_ends_only_after_both_versions_have_denied_it(
    shell: Shell, api: ScriptedApi
) -> None:
    lost, kept, beside = (task_id(number, age_s=RETENTION_S + 3600) for number in (1, 2, 3))
    api.holds(kept)
    api.holds(beside)

    ended = await shell.run("backfill", lost, kept, beside)

    assert ended.code == 1, ended.stderr
    assert shell.states() == {lost: "expired", kept: "harvested", beside: "harvested"}
    asked = [one.path for one in api.asked if lost in one.path]
    assert Counter("v2" if "embed-v2" in path else "v1" for path in asked) == {"v1": 2, "v2": 2}


async def test_a_key_without_version_2_harvests_its_tasks_of_version_1(shell: Shell, api: ScriptedApi) -> None:
    ids = [task_id(number) for number in range(6)]
    refusal = problem(403, "api_not_allowed", "This key may not use version 2.")
    api.will_say("embed-v2/tasks", refusal)
    listed = {"_id": ids[0], "status": "ready"}
    api.will_say("embed/tasks", as_json({"data": [listed], "page_info": {"page": 1, "total_results": 1}}))
    for one in ids:
        api.holds(one)
        api.will_say(f"embed-v2/tasks/{one}", refusal)

    ended = await shell.run("backfill", *ids)
    found = await shell.run("discover", "--json")
    checked = await shell.run("doctor", "--json")

    assert (ended.code, shell.count("harvested")) == (0, 6), ended.stderr
    assert (found.code, json.loads(found.stdout)["known"]) == (0, 1), found.stderr
    assert checked.code == 0, checked.stdout


async def test_a_key_that_neither_version_serves_stops_the_harvest(shell: Shell, api: ScriptedApi) -> None:
    one = task_id(1)
    for path in (f"embed/tasks/{one}", f"embed-v2/tasks/{one}"):
        api.will_say(path, problem(403, "api_not_allowed", "Not for you."))

    ended = await shell.run("backfill", one)

    assert (ended.code, shell.states()) == (3, {one: "pending"}), ended.stderr


async def test_a_wrong_version_is_named_in_one_sentence(shell: Shell) -> None:
    ended = await shell.run("backfill", task_id(1), HARVESTER_API__VERSION="v3")

    assert ended.code == 2
    assert (
        'api.version = \'v3\', from HARVESTER_API__VERSION, cannot be used: it takes "auto" or "v1" or "v2".'
        in ended.stderr
    )


@pytest.mark.parametrize(("cross_version", "pages"), [("none", 2), ("lists", 2)])
async def test_discovery_reads_the_lists_of_both_versions_and_each_task_once(
    shell: Shell, cross_version: str, pages: int
) -> None:
    async with two_accounts(40, cross_version=cross_version) as api:
        shell.talks_to(api.base_url)

        found = await shell.run("discover", "--json")

        told = json.loads(found.stdout)
        assert (found.code, told["new"], told["known"], told["requests"]) == (0, 40, 0, pages), found.stderr
        made_in_v2 = 20 if cross_version == "none" else 0
        assert shell.rows("SELECT count(*) FROM tasks WHERE api_version = 'v1'") == [(made_in_v2,)]


async def test_a_second_list_with_the_same_tasks_is_read_no_further_than_its_first_page(shell: Shell) -> None:
    async with two_accounts(120, cross_version="lists") as api:
        shell.talks_to(api.base_url)

        found = await shell.run("discover", "--json")

        assert (json.loads(found.stdout)["new"], json.loads(found.stdout)["requests"]) == (120, 4)


async def test_a_list_entry_that_only_version_2_can_have_says_in_which_version_to_ask(shell: Shell) -> None:
    async with two_accounts(20, api="v2", media=("audio", "image"), models=("marengo3.5",)) as api:
        shell.talks_to(api.base_url)

        await shell.run("discover")
        ended = await shell.run("backfill", HARVESTER_API__VERSION="v1")

        assert (ended.code, requests(api)) == (0, {"v2": 20}), ended.stderr


async def test_a_task_that_an_answer_has_identified_is_asked_in_that_version_from_then_on(
    shell: Shell, api: ScriptedApi
) -> None:
    one = task_id(1)
    api.holds(one, as_json({"_id": one, "status": "processing"}))
    await shell.run("backfill", one, "--no-wait")
    known = shell.rows("SELECT api_version FROM tasks")

    api.will_say(f"embed/tasks/{one}/status", as_json({"_id": one, "status": "ready"}))
    api.holds(one, as_json(ready(one)))
    ended = await shell.run("backfill", one, "--no-wait")

    assert (known, ended.code) == ([("v1",)], 0), ended.stderr
    assert ["embed-v2" in asked.path for asked in api.asked if one in asked.path] == [True, False, False, False]
