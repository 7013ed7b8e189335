"""`harvester discover`: everything that the account makes, without a list of ids."""

import json
import signal

import pytest

from tests.support.scripted_api import ScriptedApi, as_json, problem, ready, task_id
from tests.support.shell import Shell, retrieved, stand_in, until

IDS = [task_id(number) for number in range(50)]
FIRST, SECOND, *_ = IDS


def entry(number: int, **fields: object) -> dict[str, object]:
    return {"_id": IDS[number], "status": "ready", **fields}


async def test_all_that_the_account_has_made_is_queued_and_harvested(shell: Shell) -> None:
    async with stand_in(tasks=60, duration_s=20) as api:
        shell.talks_to(api.base_url)
        ended = await shell.run("discover")
        assert (ended.code, ended.stdout) == (0, "")
        assert ended.stderr == "60 new (60 ready), 0 known; 3 requests: harvester.db\n"
        assert (await shell.run("backfill")).code == 0
        assert retrieved(api) == sorted(api.catalogue.ids())
        assert (api.requests.count("status"), shell.count("harvested")) == (0, 60)


async def test_a_second_discovery_reports_the_changes(shell: Shell) -> None:
    async with stand_in(tasks=10, age_s=0, processing_median_s=3600) as api:
        shell.talks_to(api.base_url)
        await shell.run("discover")
        api.clock.advance(3700)
        again = await shell.run("discover")
    assert again.stderr == "0 new, 10 known (10 now ready); 2 requests: harvester.db\n"


async def test_json_holds_the_numbers(shell: Shell) -> None:
    async with stand_in(tasks=10, failed_ratio=1.0) as api:
        shell.talks_to(api.base_url)
        ended = await shell.run("discover", "--json")
    expected = {"new": 10, "new_ready": 0, "new_failed": 10, "known": 0, "known_now_ready": 0, "known_now_failed": 0}
    assert json.loads(ended.stdout) == expected | {"invalid": 0, "requests": 2, "problem": None}
    # Each is asked itself before it ends.
    assert shell.count("ready") == 10


async def test_a_dry_run_prints_the_new_ids_and_creates_nothing(shell: Shell) -> None:
    async with stand_in(tasks=60) as api:
        shell.talks_to(api.base_url)
        ended = await shell.run("discover", "--dry-run")
        assert (ended.code, sorted(ended.stdout.split())) == (0, sorted(api.catalogue.ids()))
    assert ended.stderr == "60 new (60 ready), 0 known; 3 requests: nothing written\n"
    assert list(shell.folder.iterdir()) == []


async def test_a_dry_run_compares_with_the_queue_and_leaves_it(shell: Shell) -> None:
    async with stand_in(tasks=10) as api:
        shell.talks_to(api.base_url)
        first, *others = api.catalogue.ids()
        await shell.add(others)
        before = shell.database.read_bytes()
        ended = await shell.run("discover", "--dry-run", "--json")
    document = json.loads(ended.stdout)
    assert (document["new_task_ids"], document["new"], document["known"]) == ([first], 1, 9)
    assert shell.database.read_bytes() == before


@pytest.mark.parametrize(("since", "found"), [(["--since", "36h"], 2), ([], 6)])
async def test_a_discovery_goes_back_as_far_as_asked(shell: Shell, since: list[str], found: int) -> None:
    async with stand_in(tasks=6, age_s=3600, spread_s=5 * 86_400) as api:
        shell.talks_to(api.base_url)
        await shell.run("discover", *since)
    assert len(shell.states()) == found


async def test_the_settings_say_how_far_back(shell: Shell) -> None:
    async with stand_in(tasks=6, age_s=3600, spread_s=5 * 86_400) as api:
        shell.talks_to(api.base_url)
        await shell.run("discover", HARVESTER_DISCOVERY__SINCE_DAYS="1.5")
    assert len(shell.states()) == 2


@pytest.mark.parametrize("since", ["8d", "0", "soon", "-1d"])
async def test_an_impossible_since_is_a_usage_error(shell: Shell, since: str) -> None:
    ended = await shell.run("discover", f"--since={since}")
    assert ended.code == 2
    assert "--since" in ended.last_line
    assert not shell.database.exists()


async def test_what_the_list_tells_is_shown_before_the_harvest(shell: Shell, api: ScriptedApi) -> None:
    metadata = {"duration": 12.5, "input_filename": "holi\x1b[2Jday.mp4"}
    listed = entry(0, model_name="marengo3.0", video_embedding={"metadata": metadata})
    api.will_say("embed/tasks", as_json({"data": [listed]}))
    await shell.run("discover")

    shown = (await shell.run("show", FIRST)).stdout
    assert "model         marengo3.0\n" in shown
    assert "file          holi\\x1b[2Jday.mp4\n" in shown
    assert "duration      12.5 s\n" in shown
    assert "listed" in shown


async def test_impossible_ids_are_counted_and_the_others_queued(shell: Shell, api: ScriptedApi) -> None:
    api.will_say("embed/tasks", as_json({"data": [{"_id": "../admin"}, entry(0), None]}))
    ended = await shell.run("discover")
    assert ended.stderr == "1 new (1 ready), 0 known; 2 impossible ids; 2 requests: harvester.db\n"
    assert list(shell.states()) == [FIRST]


async def test_a_refused_key_queues_nothing(shell: Shell, api: ScriptedApi) -> None:
    api.will_say("embed/tasks", problem(401, "api_key_invalid", "API Key is either invalid or expired."))
    ended = await shell.run("discover")
    assert ended.code == 3
    assert ended.stderr.startswith("harvester: The API refuses the key: API Key is either invalid or expired")
    assert len(api.asked) == 1
    assert list(shell.folder.iterdir()) == [], "no database was made"


async def test_an_account_without_tasks_makes_no_database(shell: Shell, api: ScriptedApi) -> None:
    api.will_say("embed/tasks", as_json({"data": []}))
    ended = await shell.run("discover")
    assert (ended.code, ended.stderr) == (0, "0 new, 0 known; 2 requests: nothing written\n")
    assert list(shell.folder.iterdir()) == []


async def test_a_list_that_repeats_itself_is_left_with_a_warning(shell: Shell, api: ScriptedApi) -> None:
    page = [entry(number, created_at="2999-01-01T00:00:00Z") for number in range(50)]
    api.will_say("embed/tasks", as_json({"data": page, "page_info": {"total_page": 99, "total_results": 9999}}))
    ended = await shell.run("discover")
    assert ended.code == 1
    assert "The list of tasks repeats itself" in ended.last_line
    assert (len(shell.states()), len(api.asked) < 15) == (50, True)


async def test_a_passing_failure_is_waited_out(shell: Shell, api: ScriptedApi) -> None:
    api.will_say("embed/tasks", problem(503, "busy", "Later."), as_json({"data": [entry(0)]}))
    ended = await shell.run("discover")
    assert (ended.code, ended.stderr) == (0, "1 new (1 ready), 0 known; 3 requests: harvester.db\n")


async def test_discovered_and_harvested_by_other_means_is_the_same_task(shell: Shell, api: ScriptedApi) -> None:
    api.will_say("embed/tasks", as_json({"data": [entry(0), entry(1)]}))
    api.holds(FIRST, as_json(ready(FIRST)))
    await shell.run("backfill", FIRST)
    ended = await shell.run("discover")
    assert ended.stderr == "1 new (1 ready), 1 known; 2 requests: harvester.db\n"
    assert shell.states() == {FIRST: "harvested", SECOND: "ready"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_the_waiting_and_keeps_what_was_found(
    shell: Shell, api: ScriptedApi, number: signal.Signals, code: int
) -> None:
    page = [entry(number, created_at=f"2999-01-01T00:00:{59 - number:02}Z") for number in range(50)]
    api.will_say("embed/tasks", as_json({"data": page}), problem(429, "too_many_requests", "No.", retry_after="3600"))
    running = await shell.start("discover")
    await until(lambda: len(api.asked) == 2)
    running.signal(number)
    ended = await running.ended()
    assert (ended.code, ended.last_line) == (code, f"Stopped by {number.name}.")
    assert len(shell.states()) == 50
