"""`harvester plan` says what would happen next, and makes nothing happen."""

import hashlib
import json
import time
from contextlib import closing

import pytest

from harvester.domain.limits.endpoint import POLL_ENDPOINTS
from harvester.domain.limits.shared_limits import LimitUpdate
from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.limits import note_limits
from harvester.store.sqlite.transaction import in_transaction
from tests.support.shell import Shell, stand_in

FIFTY_A_DAY = {"HARVESTER_RATE__REQUESTS_PER_MINUTE": "0.0347"}
DAY_S = 86_400


def aged(count: int, age_s: float) -> list[str]:
    return [f"{int(time.time() - age_s) - number:08x}{number:016x}" for number in range(count)]


async def test_plan_reports_what_the_free_plan_saves_and_what_it_will_cost(shell: Shell) -> None:
    await shell.add(aged(2000, 0))

    ended = await shell.run("plan", **FIFTY_A_DAY)

    assert (ended.code, ended.stderr) == (0, "database harvester.db\n")
    assert len(ended.stdout.splitlines()) <= 25
    assert "budget      50 requests a day, as configured; " in ended.stdout
    assert "queue       2,000 open: 0 ready, 2,000 pending and due now, none later\n" in ended.stdout
    assert "next calls  one every 28 min 49 s\n" in ended.stdout
    assert " likely to have finished, so asking first would cost more\n" in ended.stdout
    assert "requests    about 2,00" in ended.stdout
    assert "at risk     At 50 requests a day about 1,650 of these 2,000 tasks will expire; 12 " in ended.stdout


async def test_a_strategy_shows_its_difference(shell: Shell) -> None:
    await shell.add(aged(100, DAY_S))

    plans = {
        name: json.loads((await shell.run("plan", "--strategy", name, "--json")).stdout)
        for name in ("auto", "status", "list")
    }

    assert {name: plan["expected"]["requests"] for name, plan in plans.items()} == {
        "auto": 100,
        "status": 200,
        "list": 102,
    }
    assert {name: plan["calls"][0]["endpoint"] for name, plan in plans.items()} == {
        "auto": "retrieve",
        "status": "status",
        "list": "list",
    }


async def test_plan_reports_that_a_strategy_is_not_followed_for_which_the_budget_is_too_tight(shell: Shell) -> None:
    await shell.add(aged(250, DAY_S))

    planned = await shell.run("plan", "--strategy", "status", **FIFTY_A_DAY)

    assert "strategy    auto: the budget is too small for status, which asks first\n" in planned.stdout
    assert "requests    about 250 in all, 1.00 a task: 250 for results, 0 to ask\n" in planned.stdout
    assert "at risk     no task\n" in planned.stdout


async def test_what_it_foretells_is_what_a_backfill_does(shell: Shell) -> None:
    async with stand_in(tasks=5) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        before = hashlib.sha256(shell.database.read_bytes()).digest()

        plan = json.loads((await shell.run("plan", "--json", "--calls", "5")).stdout)
        after = hashlib.sha256(shell.database.read_bytes()).digest()

        assert (len(api.requests), before) == (0, after)
        await shell.run("backfill")
        made = [(one.endpoint, str(one.task_id)) for one in api.requests]
        assert sorted(made) == sorted((call["endpoint"], call["task_id"]) for call in plan["calls"])
        assert len(api.requests) == plan["expected"]["requests"]
        assert "queue       no open tasks\n" in (await shell.run("plan")).stdout


async def test_rows_of_other_programs_are_counted_before_a_harvest_has_imported_them(shell: Shell) -> None:
    await shell.run("migrate")
    with closing(open_for_writing(shell.database)) as connection:
        connection.executemany("INSERT INTO tasks (task_id) VALUES (?)", [(one,) for one in aged(30, DAY_S)])

    plan = json.loads((await shell.run("plan", "--json", **FIFTY_A_DAY)).stdout)

    assert (plan["queue"]["pending_due"], plan["todo"]["straight_away"], len(plan["calls"])) == (30, 30, 10)
    assert plan["expected"]["finish_ms"] > plan["at_ms"] + 0.5 * DAY_S * 1000
    assert shell.rows("SELECT count(*) FROM tasks WHERE expires_at IS NULL") == [(30,)]


async def test_while_the_api_wants_no_requests_the_calls_come_after_that(shell: Shell) -> None:
    await shell.add(aged(3, DAY_S))
    until_ms = time.time_ns() // 1_000_000 + 3_600_000
    update = LimitUpdate(blocks=dict.fromkeys(POLL_ENDPOINTS, until_ms))
    with closing(open_for_writing(shell.database)) as connection:
        in_transaction(connection, lambda connection: note_limits(connection, update, until_ms - 3_600_000))

    text = (await shell.run("plan")).stdout
    plan = json.loads((await shell.run("plan", "--json")).stdout)

    assert "API limits  retrieve: no requests until " in text
    assert [call["at_ms"] for call in plan["calls"]] == pytest.approx([until_ms] * 3, abs=5)
    assert plan["expected"]["finish_ms"] >= until_ms - 5


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("plan",), 4, "There is no database at 'harvester.db'."),
        (("plan", "--strategy", "guess"), 2, "harvest.strategy = 'guess', from --strategy, cannot be used"),
        (("plan", "--calls", "-1"), 2, "--calls"),
    ],
)
async def test_what_cannot_be_planned_is_an_error(
    shell: Shell, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = await shell.run(*arguments)

    assert (ended.code, ended.stdout) == (code, "")
    assert says in ended.stderr
    assert not shell.database.exists()


async def test_plan_begins_with_the_look_and_status_reckons_by_the_same_forecast(shell: Shell) -> None:
    await shell.add(aged(5, 10.0))

    plan = json.loads((await shell.run("plan", "--json")).stdout)
    status = json.loads((await shell.run("status", "--json")).stdout)

    first = plan["calls"][0]
    assert (first["endpoint"], first["at_ms"] - plan["at_ms"] < 1_000) == ("list", True)
    assert status["budget"]["finish_ms"] == pytest.approx(plan["expected"]["finish_ms"], abs=10_000)
