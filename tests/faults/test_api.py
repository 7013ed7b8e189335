"""Rows 7 to 14: the API misbehaves. Its limits are kept, its lies are not believed, its tasks are not lost."""

import json
import re
from dataclasses import replace

import pytest
from multidict import CIMultiDict

from harvester.api.rate_limit_headers import read_limits
from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.simulator import Fault
from harvester.simulator.listing import ListQuery, Page
from harvester.throttle.throttle import Throttle
from tests.faults.harvests import harvest_after
from tests.faults.invariants import assert_kept, said_about
from tests.support.scripted_api import task_id
from tests.support.shell import KEY, Gate, Shell, retrieved, stand_in, until

CONCURRENCY = 4

WEEK_S = 7 * 24 * 3600
A_DAY_AND_AN_HOUR_S = 25 * 3600.0


@pytest.mark.parametrize("stated_wait", ["0", "date+2"])
async def test_row_07_a_retry_after_is_honoured_and_zero_is_not_at_once_for_ever(
    shell: Shell, stated_wait: str
) -> None:
    # One refusal in a harvest: after a second one the rate is cut, and a few requests take half a minute.
    shell.environ["HARVESTER_HARVEST__CONCURRENCY"] = "1"
    async with stand_in(tasks=3, duration_s=12, faults=[Fault(kind="throttled", value=stated_wait, times=1)]) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        refused, again, *_ = api.requests
        assert (api.faults.served, refused.status, len(api.requests)) == ({"throttled": 1}, 429, 4)
        # A date has whole seconds: the second one from now is more than one away.
        assert again.at - refused.at >= 1
    # A refusal says nothing about the task.
    assert set(shell.rows("SELECT attempts, failures, error_code FROM tasks")) == {(1, 0, None)}


@pytest.mark.parametrize(
    ("stated_wait", "waits_s"),
    [
        ("7", [7.0, 7.0, 7.0]),
        ("Tue, 14 Nov 2023 22:13:50 GMT", [30.0, 30.0, 30.0]),
        ("0", [1.0, 2.0, 4.0]),
        ("-5", [1.0, 2.0, 4.0]),
        ("soon", [1.0, 2.0, 4.0]),
        (None, [1.0, 2.0, 4.0]),
        ("Thu, 01 Jan 1970 00:00:00 GMT", [1.0, 2.0, 4.0]),
        ("3600", [3600.0, 3600.0, 3600.0]),
        ("99999999999", [A_DAY_AND_AN_HOUR_S] * 3),
    ],
)
def test_row_07_the_wait_after_each_of_three_refusals_in_a_row(stated_wait: str | None, waits_s: list[float]) -> None:
    now, headers = [1_000.0], CIMultiDict({} if stated_wait is None else {"retry-after": stated_wait})
    throttle = Throttle(RateLimit(0), lambda: now[0])
    waited = []
    for _ in waits_s:
        throttle.learn(Endpoint.RETRIEVE, 429, read_limits(headers, 1_700_000_000))
        waited.append(throttle.wait_s(Endpoint.RETRIEVE))
        now[0] += waited[-1]
    assert waits_s == waited
    assert throttle.wait_s(Endpoint.STATUS) == 0


async def test_row_07_an_absurd_retry_after_is_logged_stored_and_waited_for_a_day_and_an_hour_at_most(
    shell: Shell,
) -> None:
    async with stand_in(tasks=2, duration_s=12, faults=[Fault(kind="throttled", value="99999999999")]) as api:
        shell.talks_to(api.base_url)

        runs = [await shell.run("backfill", *api.catalogue.ids(), "--no-wait") for _ in range(2)]

        # The second run knows from the database the wait that the API stated to the first, and sends no request.
        assert ([run.code for run in runs], len(api.requests)) == ([1, 1], api.requests.count(status=429))
        assert len(api.requests) <= 2
        assert_kept(shell, api, dict.fromkeys(api.catalogue.ids(), "pending"))
    waits = [int(wait) for run in runs for wait in re.findall(r'"wait_s": (\d+), "event": "rate limited"', run.stderr)]
    assert len(waits) == 2
    assert all(A_DAY_AND_AN_HOUR_S - 60 < wait <= A_DAY_AND_AN_HOUR_S for wait in waits)


async def test_row_08_a_storm_of_429s_is_waited_out_and_requests_do_not_multiply(shell: Shell) -> None:
    # From what went well before, the rate is learned that the storm cuts: after few requests it would take minutes.
    storm_s, concurrency, before = 10, 8, 40
    tasks, gate = before + concurrency, Gate(let_through=before)
    shell.environ["HARVESTER_HARVEST__CONCURRENCY"] = str(concurrency)
    async with stand_in(gate, tasks=tasks, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        harvest = await shell.start("backfill")
        # The storm begins when the last wave is there, however long a command takes to start.
        await until(lambda: len(gate.arrived) == tasks)
        begins = api.clock.now() - api.faults.started
        api.faults.add(Fault(kind="throttled", value="", until_s=begins + storm_s))
        gate.open()
        # It ends after it was tried again, however long that takes.
        api.clock.speed = 0
        await until(lambda: api.requests.count(status=429) > concurrency)
        api.clock.speed = 1
        api.clock.advance(storm_s)
        ended = await harvest.ended()

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert api.catalogue.ids() == retrieved(api)
        # After 1 s it is tried again: at the rate that was cut, not in a wave like the one before.
        assert concurrency < api.requests.count(status=429) < 1.5 * concurrency
    assert "rate limited" in ended.stderr


@pytest.mark.parametrize("status", [401, 403])
async def test_row_09_a_key_that_is_refused_in_the_middle_stops_everything_and_touches_no_task(
    shell: Shell, status: int
) -> None:
    async with stand_in(tasks=25, duration_s=12, spread_s=1000) as api:
        # The nearest deadline comes first: the oldest are harvested by then.
        good, refused = api.catalogue.ids()[:5], api.catalogue.ids()[5:]
        message = "This key may not use the Embed API any more."
        api.faults.add(Fault(kind="problem", status=status, value=message, tasks=tuple(refused)))
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())

        ended = await shell.run("backfill", HARVESTER_HARVEST__CONCURRENCY="2")

        assert ended.code == 3
        assert f"The API refuses the key: {message[:-1]} (" in ended.last_line
        assert "Check TWELVELABS_API_KEY or api.key_file." in ended.last_line
        assert KEY not in ended.stderr
        assert_kept(shell, api, dict.fromkeys(refused, "pending"))
        assert len(api.requests) <= len(good) + 2
    untouched = shell.rows("SELECT attempts, failures, next_attempt_at, error_code FROM tasks WHERE state = 'pending'")
    assert set(untouched) == {(0, 0, 0, None)}


@pytest.mark.parametrize("status", [401, 403])
async def test_row_09_a_key_that_is_refused_during_discovery_stops_everything_at_once(
    shell: Shell, status: int
) -> None:
    # A page of the list is what is asked for first; a 403 may be about the list alone, so one task is asked about.
    async with stand_in(tasks=25, duration_s=12, processing_median_s=300, age_s=300) as api:
        api.faults.add(Fault(kind="problem", status=status))
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids(), HARVESTER_HARVEST__CONCURRENCY=str(CONCURRENCY))

        assert ended.code == 3
        assert [one.endpoint for one in api.requests][:1] == ["list"]
        # A 403 may also be about one API version alone: both lists and, from each slot, both calls may be asked.
        assert len(api.requests) <= (1 if status == 401 else 2 + 2 * CONCURRENCY)
    assert set(shell.rows("SELECT state, attempts, error_code FROM tasks")) == {("pending", 0, None)}


async def test_row_10_a_404_is_missing_after_confirmation_and_expired_when_old(shell: Shell) -> None:
    async with stand_in(tasks=2, duration_s=12) as api:
        young, old, back = task_id(1), task_id(2, age_s=WEEK_S + 60), api.catalogue.ids()[0]
        # Not visible everywhere yet: the confirmation, which is a status, finds it.
        api.faults.add(Fault(kind="problem", status=404, tasks=(back,), times=2))
        shell.talks_to(api.base_url)

        runs = [await shell.run("backfill", young, old, *api.catalogue.ids(), "--no-wait") for _ in range(4)]

        assert [run.code for run in runs] == [1, 1, 1, 1]
        assert_kept(shell, api, {young: "missing", old: "expired"})
        asked = [sum(task in one.path for one in api.requests) for task in (young, old, back)]
        assert asked == [4, 4, 4]
    assert (
        "1 missing: unknown to the API for this key; check the id and which account the key belongs to"
        in runs[3].stderr
    )
    assert "1 expired: dropped by the platform after seven days; they must be embedded again" in runs[3].stderr
    assert f"Resource with id {young} does not exist" in runs[3].stderr


@pytest.mark.parametrize(("age_s", "endpoint"), [(3600, "retrieve"), (60, "status")])
async def test_row_11_a_200_that_is_no_task_is_not_stored_as_a_result(
    shell: Shell, age_s: float, endpoint: str
) -> None:
    kinds = {
        "page": ("not_json", "The answer is a page, not JSON: "),
        "error_body": ("internal_server_error", "Something went wrong"),
        "null": ("not_an_object", "The answer is null, not an object."),
        "list": ("not_an_object", "The answer is a JSON list, not an object."),
    }
    async with stand_in(tasks=7, duration_s=12, age_s=age_s) as api:
        hit = dict(zip(api.catalogue.ids()[2:], kinds, strict=False))
        for one, kind in hit.items():
            api.faults.add(Fault(kind=kind, tasks=(one,), times=1))

        if endpoint == "status":
            # A run that asks once asks for the status only.
            shell.talks_to(api.base_url)
            shell.environ["HARVESTER_HARVEST__STRATEGY"] = "status"
            first = await shell.run("backfill", *api.catalogue.ids(), "--no-wait")
            assert first.code == 1
            again = await shell.run("backfill", "--no-wait")
            assert again.code == 0, again.stderr
            assert_kept(shell, api)
        else:
            await harvest_after(shell, api, {one: kinds[kind][0] for one, kind in hit.items()})

        assert api.faults.served == dict.fromkeys(kinds, 1)
        assert {one.endpoint for one in api.requests if one.fault} == {endpoint}
    for one, kind in hit.items():
        code, message = said_about(shell, one)[0]
        assert (code, kinds[kind][1] in message) == (kinds[kind][0], True)


async def test_row_12_a_status_that_is_unknown_or_goes_back_is_no_error_and_harvested_is_not_undone(
    shell: Shell,
) -> None:
    async with stand_in(tasks=6, duration_s=12) as api:
        unknown, back = api.catalogue.ids()[:2]
        api.faults.add(
            Fault(kind="unknown_status", tasks=(unknown,), times=1),
            Fault(kind="status_goes_back", tasks=(back,), times=1),
        )
        shell.talks_to(api.base_url)

        first = await shell.run("backfill", *api.catalogue.ids(), "--no-wait")

        assert (first.code, "2 still to do: 2 pending." in first.stderr) == (1, True), first.stderr
        assert_kept(shell, api, dict.fromkeys((unknown, back), "pending"))
        assert shell.rows("SELECT DISTINCT failures, error_code FROM tasks") == [(0, None)]
        assert "unknown status, taken for not finished" in first.stderr

        second = await shell.run("backfill", "--no-wait")
        api.faults.add(Fault(kind="status_goes_back"), Fault(kind="problem", status=404))
        asked = len(api.requests)
        third = await shell.run("backfill", *api.catalogue.ids())

        assert (second.code, third.code, len(api.requests)) == (0, 0, asked)
        assert_kept(shell, api)


async def test_row_12_a_list_that_takes_back_what_is_harvested_undoes_nothing(shell: Shell) -> None:
    async with stand_in(tasks=7, duration_s=12) as api:
        open_one, *harvested = api.catalogue.ids()
        shell.talks_to(api.base_url)
        first = await shell.run("backfill", *harvested)
        assert first.code == 0, first.stderr
        for number, task in enumerate(map(api.catalogue.task, api.catalogue.ids())):
            later = task.finished_at_ms + 2 * 3_600_000
            changed = replace(task, fails=True) if number % 2 else replace(task, finished_at_ms=later)
            api.catalogue._tasks[task.task_id] = changed

        found = await shell.run("discover", "--json")
        second = await shell.run("backfill", "--no-wait", HARVESTER_HARVEST__STRATEGY="list")

        known = {"new": 1, "known": len(harvested)}
        assert (found.code, json.loads(found.stdout) | known) == (0, json.loads(found.stdout)), found.stderr
        assert (second.code, "1 still to do: 1 pending." in second.stderr) == (1, True), second.stderr
        assert [one.endpoint for one in api.requests][len(harvested) :] == ["list", "list", "list"]
        assert_kept(shell, api, {open_one: "pending"})


async def test_row_13_a_result_that_names_another_id_is_stored_under_the_one_asked_for_and_warned_of(
    shell: Shell,
) -> None:
    async with stand_in(tasks=3, duration_s=12) as api:
        hit = api.catalogue.ids()[1]
        api.faults.add(Fault(kind="another_id", tasks=(hit,)))
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
    assert "the answer names another id" in ended.stderr
    assert hit in ended.stderr


@pytest.mark.parametrize("kind", ["list_shifts", "total_page_too_small", "total_page_too_large"])
async def test_row_14_a_list_that_shifts_or_lies_about_its_length_hides_no_task(shell: Shell, kind: str) -> None:
    async with stand_in(tasks=130, duration_s=12, spread_s=2000, faults=[Fault(kind=kind)]) as api:
        made = api.catalogue.ids()
        shell.talks_to(api.base_url)

        found = await shell.run("discover", "--json")

        assert found.code == 0, found.stderr
        assert set(made) - shell.states().keys() == set()
        assert len(shell.states()) == len(set(shell.states()))
        assert len(api.requests) <= 12
        assert json.loads(found.stdout)["new"] == len(shell.states())


async def test_row_14_a_list_that_loses_tasks_while_it_is_read_hides_no_other(shell: Shell) -> None:
    async with stand_in(tasks=130, duration_s=12, spread_s=2000) as api:
        made, whole = api.catalogue.ids(), api.catalogue.page

        def losing(query: ListQuery) -> Page:
            """Give the page; before the next one the newest ten are deleted, and every other one moves up."""
            page = whole(query)
            del api.catalogue._by_creation[-10:]
            return page

        api.catalogue.page = losing  # type: ignore[method-assign]
        shell.talks_to(api.base_url)

        found = await shell.run("discover", "--json")

        assert found.code == 0, found.stderr
        assert 2 <= len(api.requests) <= 12
        assert set(api.catalogue.ids()) < set(made)
        assert set(api.catalogue.ids()) <= shell.states().keys() <= set(made)
        assert json.loads(found.stdout)["new"] == len(shell.states())


async def test_row_14_an_endless_list_is_left_with_a_warning(shell: Shell) -> None:
    async with stand_in(tasks=60, duration_s=12, spread_s=2000, faults=[Fault(kind="endless_list")]) as api:
        shell.talks_to(api.base_url)

        found = await shell.run("discover")

        assert (found.code, len(api.requests) <= 30) == (1, True)
        assert re.search(
            r"The list of tasks (repeats itself|does not end); it was left after \d+ requests", found.stderr
        )
        # The tasks that it showed are queued all the same.
        assert shell.states().keys() == set(api.catalogue.ids()[-50:])
