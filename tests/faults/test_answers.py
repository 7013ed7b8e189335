"""Rows 35 to 38 and 41: an answer of another request, of something between, or in an unusual form."""

import pytest

from harvester.simulator import Fault
from tests.faults.harvests import harvest_after
from tests.faults.invariants import assert_kept
from tests.support.shell import Shell, retrieved, stand_in
from tests.support.thorough import thorough


@pytest.mark.parametrize("kind", ["late_copy", "doubled"])
async def test_row_35_a_copy_of_an_answer_is_not_taken_for_the_next_one(shell: Shell, kind: str) -> None:
    # One at a time and half a second apart: a copy that comes 20 ms late finds its connection idle.
    shell.environ |= {"HARVESTER_HARVEST__CONCURRENCY": "1", "HARVESTER_RATE__REQUESTS_PER_MINUTE": "120"}
    async with stand_in(tasks=6, duration_s=12, faults=[Fault(kind=kind)]) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        # Each result is requested once: no copy was even read.
        assert (api.catalogue.ids(), len(api.requests)) == (retrieved(api), 6)
    assert shell.rows("SELECT count(*) FROM attempts WHERE code IS NOT NULL") == [(0,)]


async def test_row_35_copies_among_many_requests_put_no_vectors_under_another_id(shell: Shell) -> None:
    """Without pauses a copy may come while the next request is under way; its id shows whose it is."""
    shell.environ["HARVESTER_HARVEST__CONCURRENCY"] = "3"
    faults = [Fault(kind="late_copy", rate=0.3, value="0.002"), Fault(kind="doubled", rate=0.3)]
    async with stand_in(tasks=40, duration_s=12, faults=faults) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert api.faults.served.keys() == {"late_copy", "doubled"}


@pytest.mark.parametrize(
    "kind", ["stray_404", *(pytest.param(kind, marks=thorough) for kind in ("stray_408", "stray_100"))]
)
async def test_row_36_what_comes_between_answers_ends_no_task(shell: Shell, kind: str) -> None:
    shell.environ |= {"HARVESTER_HARVEST__CONCURRENCY": "1", "HARVESTER_RATE__REQUESTS_PER_MINUTE": "120"}
    async with stand_in(tasks=5, duration_s=12, faults=[Fault(kind=kind)]) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert (retrieved(api), len(api.requests)) == (api.catalogue.ids(), 5)
    assert shell.rows("SELECT outcome, code, count(*) FROM attempts GROUP BY 1, 2") == [("retrieved", None, 5)]


async def test_row_37_a_page_of_a_firewall_does_not_refuse_the_key(shell: Shell) -> None:
    async with stand_in(tasks=6, duration_s=12) as api:
        hit = api.catalogue.ids()[1:5]
        for task_id, (status, page) in zip(hit, ((401, None), (403, None), (401, ""), (403, "{}")), strict=True):
            api.faults.add(Fault(kind="blocked", tasks=(task_id,), times=1, status=status, value=page))

        ended = await harvest_after(shell, api, dict.fromkeys(hit, "blocked_by_proxy"))

    assert "refuses the key" not in ended.stderr


async def test_row_37_doctor_tells_a_page_of_a_firewall_as_what_it_is(shell: Shell) -> None:
    async with stand_in(tasks=1, faults=[Fault(kind="blocked")]) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("doctor")

    (line,) = (line for line in ended.stdout.splitlines() if " key: " in line)
    assert (ended.code, "a firewall or proxy before it blocks the request" in line) == (1, True), line
    assert "ask the owner of the firewall or proxy to allow api.base_url" in line


@pytest.mark.parametrize(
    ("status", "stated_wait"),
    [
        pytest.param(503, "retry-after-ms: 1500", marks=thorough),
        (200, '{"error": {"code": "too_many_requests", "message": "Please try again in 1.5 seconds."}}'),
    ],
)
async def test_row_38_a_wish_to_wait_is_heard_in_any_failure(shell: Shell, status: int, stated_wait: str) -> None:
    shell.environ["HARVESTER_HARVEST__CONCURRENCY"] = "1"
    fault = Fault(kind="busy", value=stated_wait, status=status, times=1)
    async with stand_in(tasks=3, duration_s=12, faults=[fault]) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        refused, again, *_ = api.requests
        assert (refused.status, len(api.requests), again.at - refused.at >= 1.5) == (status, 4, True)
    # It says nothing about the task.
    assert set(shell.rows("SELECT attempts, failures, error_code FROM tasks")) == {(1, 0, None)}


async def test_row_38_an_absurd_wait_of_a_proxy_does_not_stop_the_harvest_for_ever(shell: Shell) -> None:
    async with stand_in(tasks=1, faults=[Fault(kind="busy", value="retry-after: 99999999999")]) as api:
        shell.talks_to(api.base_url)

        await shell.run("backfill", *api.catalogue.ids(), "--no-wait")

        assert_kept(shell, api, dict.fromkeys(api.catalogue.ids(), "pending"))
    (blocked_s,) = shell.rows("SELECT (max(blocked_until) - unixepoch() * 1000) / 1000 FROM blocks")[0]
    assert 200 < blocked_s <= 300


async def test_row_41_unusual_but_legal_answers_are_accepted(shell: Shell) -> None:
    rules = [
        Fault(kind="long_headers"),
        Fault(kind="odd_encoding"),
        Fault(kind="odd_encoding", value="gzip, identity"),
        Fault(kind="odd_encoding", value=""),
        Fault(kind="unpacked"),
        Fault(kind="raw_deflate"),
        Fault(kind="byte_order_mark"),
        Fault(kind="early_hints"),
        Fault(kind="doubled_length"),
    ]
    async with stand_in(tasks=len(rules), duration_s=12) as api:
        for task_id, rule in zip(api.catalogue.ids(), rules, strict=True):
            api.faults.add(Fault(kind=rule.kind, value=rule.value, tasks=(task_id,)))
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids(), "--no-wait")

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        assert (sum(api.faults.served.values()), len(api.requests)) == (len(rules), len(rules))


async def test_row_41_a_not_modified_is_no_redirect(shell: Shell) -> None:
    async with stand_in(tasks=2, duration_s=12) as api:
        hit = api.catalogue.ids()[0]
        api.faults.add(Fault(kind="redirect", status=304, tasks=(hit,), times=1))

        await harvest_after(shell, api, {hit: "not_modified"})
