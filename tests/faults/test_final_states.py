"""Rows 35, 36, 39, 40, 42 and 61: the evidence that is needed before an answer ends a task."""

import sqlite3
import time
from contextlib import closing

import pytest

from harvester.domain.tasks.key_fingerprint import key_fingerprint
from harvester.domain.tasks.task import DAY_MS
from harvester.simulator import Fault
from tests.faults.invariants import assert_kept, assert_stored_as_sent
from tests.support.scripted_api import ScriptedApi, as_json, problem, ready, task_id
from tests.support.shell import KEY, Shell, stand_in, until
from tests.support.thorough import thorough

TROUBLE_S = 6.0
OTHER_KEY = "tlk_0ANOTHER0ACCOUNT0S0KEY"
IMPATIENT = """
import harvester.service.final_states
harvester.service.run_options.NOT_WAITED_FOR_S = 2.0
"""


def change(shell: Shell, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(shell.database, timeout=30)) as connection, connection:
        connection.execute(statement, parameters)


async def test_row_35_a_result_that_names_a_task_of_this_database_is_never_stored_as_another_ones(shell: Shell) -> None:
    async with stand_in(tasks=4, duration_s=12) as api:
        once, always = api.catalogue.ids()[:2]
        api.faults.add(
            Fault(kind="neighbours_id", tasks=(once,), times=1), Fault(kind="neighbours_id", tasks=(always,))
        )
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids(), "--deadline", "6s")

        assert (ended.code, "1 still to do" in ended.stderr) == (1, True), ended.stderr
        (state,) = {shell.states()[always]}
        assert state in ("pending", "ready")
        assert_kept(shell, api, {always: state})
        assert shell.rows("SELECT error_code FROM tasks WHERE task_id = ?", always) == [("another_id",)]


async def test_row_36_a_404_on_a_kept_connection_is_confirmed_on_others_and_in_the_other_version(shell: Shell) -> None:
    async with stand_in(tasks=4, duration_s=12) as api:
        unknown = task_id(1)
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", unknown, *api.catalogue.ids())

        assert ended.code == 1, ended.stderr
        assert_kept(shell, api, {unknown: "missing"})
        asked = [one.path.removeprefix("/v1.3/") for one in api.requests if unknown in one.path]
        assert ["v2" in path for path in asked] == [False, True, False, True]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("problem", 404),
        pytest.param("nan", None, marks=thorough),
        pytest.param("failed", None, marks=thorough),
        pytest.param("id_refused", None, marks=thorough),
        pytest.param("no_segments", None, marks=thorough),
    ],
)
async def test_row_39_an_api_that_answers_every_request_wrongly_for_a_while_ends_no_task(
    shell: Shell, kind: str, status: int | None
) -> None:
    count = 200  # more than are claimed at a time
    async with stand_in(tasks=count, duration_s=12) as api:
        await shell.add(api.catalogue.ids())
        shell.talks_to(api.base_url)
        now = api.clock.now() - api.faults.started
        api.faults.add(Fault(kind=kind, status=status, until_s=now + TROUBLE_S, endpoints=("status", "retrieve")[-1:]))
        # The trouble lasts from the first request on, however long the command takes to start.
        api.clock.speed = 0

        harvest = await shell.start("backfill")
        await until(lambda: len(api.requests) > 0)
        api.clock.speed = 1
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert "most answers bring no result, ends are held back" in ended.stderr
        # Not every task was asked meanwhile, and the first not again and again: each once in either version, and then
        # for its status and its result.
        assert len(api.requests) <= 3.5 * count


async def test_row_39_a_backfill_of_ids_that_the_api_does_not_know_ends_and_leaves_them_open(shell: Shell) -> None:
    shell.sabotage(IMPATIENT)
    unknown = [task_id(number) for number in range(8)]
    async with stand_in(tasks=1, duration_s=12) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *unknown)
        status = await shell.run("status")

        assert ended.code == 1
        assert "The API knows none of these 8 ids with this key; they stay open." in ended.stderr
        assert set(shell.states().values()) == {"pending"}
        assert_stored_as_sent(shell, api)
        assert len(api.requests) <= 3 * len(unknown)
    assert "held back      8 open tasks without a result, to be confirmed (as " in status.stdout


async def test_row_40_a_list_that_says_failed_ends_no_task_before_the_task_itself_says_so(shell: Shell) -> None:
    async with stand_in(tasks=6, duration_s=12, faults=[Fault(kind="listed_failed")]) as api:
        shell.talks_to(api.base_url)
        shell.environ["HARVESTER_HARVEST__STRATEGY"] = "list"

        found = await shell.run("discover", "--json")
        discovered = shell.states()
        ended = await shell.run("backfill")

        assert (found.code, '"new_failed": 6' in found.stdout) == (0, True), found.stdout
        assert set(discovered.values()) == {"ready"}
        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)


async def test_row_42_past_the_deadline_a_task_stays_open_until_the_api_speaks(shell: Shell, api: ScriptedApi) -> None:
    old, lost = (task_id(number, age_s=10 * 86_400) for number in (1, 2))
    api.holds(old, problem(503, "unavailable", "Try again."), as_json(ready(old)))
    reachable = shell.environ["HARVESTER_API__BASE_URL"]
    shell.talks_to("http://127.0.0.1:1/v1.3")
    unreachable = await shell.run("backfill", old, lost, "--no-wait")
    after_the_outage = shell.rows("SELECT DISTINCT state, error_code FROM tasks")
    month_ago_ms = time.time_ns() // 1_000_000 - 31 * DAY_MS
    change(shell, "UPDATE tasks SET doubted_at = ?, failures = 200 WHERE task_id = ?", month_ago_ms, lost)
    given_up = await shell.run("backfill", old, lost, "--no-wait")
    shell.talks_to(reachable)

    harvest = await shell.run("backfill")

    assert (unreachable.code, after_the_outage) == (1, [("pending", "overdue")])
    # The lost one is named by each run until it is retried or forgotten.
    assert (given_up.code, harvest.code) == (1, 1), harvest.stderr
    ended = dict(shell.rows("SELECT task_id, state || ' ' || coalesce(error_code, '') FROM tasks"))
    assert ended == {old: "harvested ", lost: "expired never_answered"}


async def test_row_61_under_another_key_than_knew_it_a_task_does_not_end(shell: Shell, api: ScriptedApi) -> None:
    one = task_id(1)
    api.holds(one, as_json({"_id": one, "status": "processing"}), as_json(ready(one)))
    ours = shell.environ["HARVESTER_API__BASE_URL"]
    await shell.run("backfill", one, "--no-wait")
    async with ScriptedApi() as theirs:
        shell.talks_to(theirs.base_url)
        runs = [await shell.run("backfill", one, "--no-wait", TWELVELABS_API_KEY=OTHER_KEY) for _ in range(6)]
        held = shell.rows("SELECT state, error_code, seen_with FROM tasks")
    shell.talks_to(ours)

    harvest = await shell.run("backfill", one)

    assert [run.code for run in runs] == [1] * 6
    assert held == [("pending", "other_key", key_fingerprint(KEY))]
    assert (harvest.code, shell.states()) == (0, {one: "harvested"}), harvest.stderr
    content = b"".join(file.read_bytes() for file in shell.folder.glob("harvester.db*"))
    assert [key for key in (KEY, OTHER_KEY) if key.encode() in content] == []


async def test_row_36_a_task_that_only_the_other_version_knows_is_harvested_there(
    shell: Shell, api: ScriptedApi
) -> None:
    one, beside = task_id(1), task_id(2)
    segment = {
        "embedding": [0.6, 0.8],
        "embedding_option": "audio",
        "embedding_scope": "clip",
        "start_sec": 0,
        "end_sec": 6,
    }
    api.will_say(f"embed-v2/tasks/{one}", as_json({"_id": one, "status": "ready", "data": [segment]}))
    api.holds(beside)

    ended = await shell.run("backfill", one, beside)
    shown = await shell.run("show", one, "--json")

    assert (ended.code, shell.states()) == (0, {one: "harvested", beside: "harvested"}), ended.stderr
    assert shell.rows("SELECT api_version FROM tasks WHERE task_id = ?", one) == [("v2",)]
    assert '"audio"' in shown.stdout
