"""`harvester backfill` against the stand-in: complete, lossless, and never a request too many."""

import asyncio
import re
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from harvester.simulator import Simulator
from tests.support.shell import Gate, Shell, retrieved, stand_in, until


def stored_vectors(shell: Shell, task_id: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    rows = shell.rows("SELECT dtype, vector FROM segment_vectors WHERE task_id = ? ORDER BY position", task_id)
    assert {dtype for dtype, _ in rows} == {"f4"}
    return np.stack([np.frombuffer(vector, "<f4") for _, vector in rows])


def stored_segments(shell: Shell, task_id: str) -> list[tuple[object, ...]]:
    return shell.rows(
        "SELECT embedding_option, embedding_scope, start_offset_sec, end_offset_sec FROM segment_vectors"
        " WHERE task_id = ? ORDER BY position",
        task_id,
    )


def assert_stored_as_computed(shell: Shell, api: Simulator, task_ids: list[str]) -> None:
    for task_id in task_ids:
        computed = api.catalogue.embeddings(task_id)
        columns = (computed.options, computed.scopes, computed.start_offsets_s, computed.end_offsets_s)
        assert list(zip(*columns, strict=True)) == stored_segments(shell, task_id)
        np.testing.assert_array_equal(computed.vectors, stored_vectors(shell, task_id))


async def test_every_result_is_stored_bit_for_bit_and_every_failure_is_reported(shell: Shell) -> None:
    async with stand_in(tasks=200, failed_ratio=0.1, seed=3) as api:
        shell.talks_to(api.base_url)
        ids = api.catalogue.ids()
        good = [one for one in ids if api.catalogue.status(one) == "ready"]
        await shell.add(ids)

        harvest = await shell.run("backfill")
        verified = await shell.run("verify", "--deep")

        # A failure is confirmed by a second answer.
        assert (1, len(ids) + len(ids) - len(good)) == (harvest.code, len(api.requests) - api.requests.count("list"))
        assert f"Harvested {len(good)} tasks (" in harvest.stderr
        assert f"  {len(ids) - len(good)} failed: the platform could not embed these" in harvest.stderr
        assert "The platform gives no reason." in harvest.stderr
        assert dict.fromkeys(ids, "failed") | dict.fromkeys(good, "harvested") == shell.states()
        assert_stored_as_computed(shell, api, good)
        assert verified.code == 0, verified.stdout + verified.stderr
        assert verified.stdout == ""


@pytest.mark.parametrize(("mebibytes", "at_once"), [(1, 1), (6, 3), (64, 4)])
async def test_requests_under_way_are_limited_by_the_bytes_of_their_answers(
    shell: Shell, mebibytes: int, at_once: int
) -> None:
    """An answer takes 1.7 MB with its vectors. How long answers are is known from the first four."""
    gate = Gate(let_through=4)
    shell.environ["HARVESTER_HARVEST__MEMORY_BUDGET_BYTES"] = str(mebibytes * 1024 * 1024)
    async with stand_in(gate, tasks=12, duration_s=480, gzip=False) as api:
        shell.talks_to(api.base_url)
        harvest = await shell.start("backfill", *api.catalogue.ids(), HARVESTER_HARVEST__CONCURRENCY="4")
        await until(lambda: len(gate.arrived) >= 4 + at_once)
        await harvest.says_nothing_for(0.5)
        under_way = len(gate.arrived) - 4
        gate.open()
        ended = await harvest.ended()

        assert (under_way, ended.code) == (at_once, 0), ended.stderr
        assert shell.count("harvested") == 12


@pytest.mark.parametrize(("strategy", "asked"), [("auto", 0), ("status", 3), ("list", 0)])
async def test_a_flag_chooses_how_to_find_out_what_is_ready(shell: Shell, strategy: str, asked: int) -> None:
    async with stand_in(tasks=3) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())

        harvest = await shell.run("backfill", "--strategy", strategy, HARVESTER_HARVEST__STRATEGY="status")

        assert harvest.code == 0
        assert api.requests.count("status") == asked
        assert (api.requests.count("list") > 0) is (strategy == "list")


@pytest.mark.parametrize("command", ["backfill", "run"])
async def test_a_strategy_that_there_is_not_is_refused(shell: Shell, command: str) -> None:
    ended = await shell.run(command, "--strategy", "guess")

    assert (ended.code, ended.stdout) == (2, "")
    assert "harvest.strategy = 'guess', from --strategy, cannot be used: it takes \"auto\" or" in ended.stderr


async def test_long_videos_are_stored_bit_for_bit_too(shell: Shell) -> None:
    # Their bodies are decoded in worker processes.
    async with stand_in(tasks=3, duration_s=900.5, model_name="Marengo-retrieval-2.7") as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())

        harvest = await shell.run("backfill")

        assert harvest.code == 0, harvest.stderr
        assert_stored_as_computed(shell, api, api.catalogue.ids())


async def test_a_second_run_has_nothing_to_do_and_asks_nothing(shell: Shell) -> None:
    async with stand_in(tasks=5) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        await shell.run("backfill")
        api.requests.clear()

        again = await shell.run("backfill")
        named = await shell.run("backfill", *api.catalogue.ids())

        assert (again.code, again.stderr) == (0, "Nothing to do: 5 harvested.\n")
        assert (named.code, named.stderr) == (0, "Nothing to do: 5 harvested.\n")
        assert len(api.requests) == 0


async def test_the_ids_of_the_command_line_are_harvested_and_no_others(shell: Shell) -> None:
    async with stand_in(tasks=6) as api:
        shell.talks_to(api.base_url)
        queued, named, unknown = api.catalogue.ids()[:3], api.catalogue.ids()[2:4], api.catalogue.ids()[4:]
        await shell.add(queued)

        harvest = await shell.run("backfill", *named, *unknown)

        assert harvest.code == 0, harvest.stderr
        assert sorted([*named, *unknown]) == retrieved(api)
        assert shell.states() == dict.fromkeys(queued, "pending") | dict.fromkeys([*named, *unknown], "harvested")


async def test_without_waiting_each_task_is_asked_about_once(shell: Shell) -> None:
    # Created over the last 20 minutes, each takes 10: the older half is ready.
    async with stand_in(tasks=20, processing_median_s=600, spread_s=1200, age_s=1) as api:
        shell.talks_to(api.base_url)
        ids = api.catalogue.ids()
        is_ready = [one for one in ids if api.catalogue.status(one) == "ready"]
        processing = [one for one in ids if one not in is_ready]
        await shell.add(ids)

        harvest = await shell.run("backfill", "--no-wait")

        assert harvest.code == 1
        assert dict.fromkeys(is_ready, "harvested") | dict.fromkeys(processing, "pending") == shell.states()
        assert f"{len(processing)} still to do: {len(processing)} pending." in harvest.stderr
        assert set(shell.rows("SELECT attempts FROM tasks WHERE state = 'pending'")) == {(1,)}


async def test_the_summary_tells_why_tasks_are_still_to_do(shell: Shell) -> None:
    async with stand_in(tasks=1) as api:
        gone = api.base_url
    shell.talks_to(gone)

    harvest = await shell.run("backfill", "one", "two", "--no-wait")

    assert harvest.code == 1
    assert "  2 still to do: 2 pending. Run `harvester backfill` again.\n" in harvest.stderr
    summary = r"  2 of these met an error: see `harvester show ID` \(as (one|two): No connection: Cannot connect .*\)\n"
    assert re.search(summary, harvest.stderr), harvest.stderr


async def test_the_time_is_up_when_it_was_said_to_be(shell: Shell) -> None:
    async with stand_in(tasks=2, age_s=0, processing_median_s=3600) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())

        harvest = await shell.run("backfill", "--deadline", "1s")

        assert harvest.code == 1
        assert harvest.stderr.startswith("The time is up.\n")
        assert "2 still to do: 2 pending." in harvest.stderr
        assert shell.count("pending") == 2


async def test_two_backfills_on_one_database_share_the_work(shell: Shell) -> None:
    gate = Gate()
    async with stand_in(gate, tasks=40) as api:
        shell.talks_to(api.base_url)
        (shell.folder / "ids.txt").write_text("\n".join(api.catalogue.ids()))

        # Both create the database, if they can.
        both = [await shell.start("backfill", "--file", "ids.txt") for _ in range(2)]
        await until(lambda: len(gate.arrived) == 16)
        gate.open()
        ended = await asyncio.gather(*(one.ended() for one in both))

        assert [one.code for one in ended] == [0, 0], ended
        assert api.catalogue.ids() == sorted(gate.arrived)
        shares = [int(found[1]) for one in ended if (found := re.search(r"Harvested (\d+) tasks", one.stderr))]
        assert sum(shares) == 40
        assert min(shares) >= 8
    verified = await shell.run("verify", "--deep")
    assert verified.code == 0, verified.stdout


async def test_a_plain_insert_by_another_program_queues_a_task_before_and_during_a_run(shell: Shell) -> None:
    gate = Gate()
    async with stand_in(gate, tasks=3) as api:
        shell.talks_to(api.base_url)
        before, *during = api.catalogue.ids()
        await shell.run("migrate")

        with closing(sqlite3.connect(shell.database, isolation_level=None)) as other:
            other.execute("INSERT INTO tasks(task_id) VALUES (?)", (before,))
            harvest = await shell.start("backfill")
            await until(lambda: gate.arrived == [before])
            other.executemany("INSERT INTO tasks(task_id) VALUES (?)", [(one,) for one in during])
            await until(lambda: len(gate.arrived) == 3)
        gate.open()
        ended = await harvest.ended()

        assert (ended.code, shell.count("harvested")) == (0, 3), ended.stderr
        assert api.catalogue.ids() == retrieved(api)


async def test_an_inserted_id_that_cannot_be_asked_about_is_rejected_without_a_request(shell: Shell) -> None:
    async with stand_in(tasks=1) as api:
        shell.talks_to(api.base_url)
        await shell.run("migrate")
        with closing(sqlite3.connect(shell.database)) as other:
            rows = [("../admin",), ("a?b\x1b[31m",), (api.catalogue.ids()[0],)]
            other.executemany("INSERT INTO tasks(task_id) VALUES (?)", rows)
            other.commit()

        harvest = await shell.run("backfill")

        assert harvest.code == 1
        assert (shell.count("rejected"), shell.count("harvested"), len(api.requests)) == (2, 1, 1)
        assert "2 rejected: " in harvest.stderr
        assert "\x1b" not in harvest.stderr
