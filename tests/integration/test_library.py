"""The harvest in a program of somebody else: complete, quiet, and it leaves the process as it was."""

import asyncio
import gc
import logging
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

import harvester
from harvester.app.stores import open_queue_editor
from tests.support.shell import KEY, Gate, retrieved, stand_in, until

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "library.md"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings of a program in an empty folder; its environment has the key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWELVELABS_API_KEY", KEY)
    return {"store.path": tmp_path / "harvester.db", "rate.requests_per_minute": 0, "api.version": "v1"}


def traces() -> list[object]:
    """What a guest in a process must not change."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    return [handlers, list(logging.root.handlers), logging.root.level, structlog.get_config(), gc.get_freeze_count()]


async def test_a_program_harvests_and_reads_in_its_own_loop(
    settings: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    before = traces()
    async with stand_in(tasks=3) as api:
        ids = api.catalogue.ids()
        async with harvester.Harvester(settings | {"api.base_url": api.base_url}) as h:
            summary = await h.harvest(ids)
            again = await h.harvest()

        assert summary == harvester.HarvestSummary(dict.fromkeys(ids, "harvested"), None)
        assert (summary.is_complete, dict(summary.counts)) == (True, {"harvested": 3})
        assert again == harvester.HarvestSummary({}, None)
        async with await harvester.aopen(settings["store.path"]) as data:
            assert {video.task_id for video in await data.videos()} == set(retrieved(api))
    assert traces() == before
    assert capfd.readouterr() == ("", "")


async def test_the_page_runs_as_a_program_without_a_guard(settings: dict[str, Any]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    async with stand_in(tasks=2) as api:
        environ = {"HARVESTER_API__BASE_URL": api.base_url, "HARVESTER_RATE__REQUESTS_PER_MINUTE": "0"}
        script = "\n".join([*blocks, f"asyncio.run(main({api.catalogue.ids()!r}))"])
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | environ | {"PYTHONPATH": str(PAGE.parents[2])},
            cwd=settings["store.path"].parent,
        )
        stdout, stderr = await program.communicate()

    assert program.returncode == 0, stderr.decode()
    printed = re.fullmatch(r"{'harvested': 2} True\n\[\]\n\(\d+, 512\)\n", stdout.decode())
    assert printed, stdout.decode()
    assert stderr.decode().count("INFO:harvester:harvested task_id=") == 2


async def test_long_answers_are_decoded_without_other_processes(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new process would run the main module of the program again, which may have no guard."""

    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("anyio.to_process.run_sync", refuse)
    async with (
        stand_in(tasks=1, duration_s=900.5) as api,
        harvester.Harvester(settings | {"api.base_url": api.base_url}) as h,
    ):
        (one,) = api.catalogue.ids()
        assert (await h.harvest(one)).is_complete


@pytest.mark.parametrize("way", ["asyncio", "anyio", "leaving"])
async def test_a_cancelled_harvest_stores_what_is_under_way_and_leaves_the_rest_open(
    settings: dict[str, Any], way: str
) -> None:
    gate, scope = Gate(), anyio.CancelScope()
    async with stand_in(gate, tasks=6) as api:
        settings |= {"api.base_url": api.base_url, "harvest.concurrency": 2}
        ids, h = api.catalogue.ids(), harvester.Harvester(settings)
        await h.__aenter__()

        async def harvest() -> harvester.HarvestSummary | None:
            with scope:
                return await h.harvest(ids)
            return None

        running = asyncio.create_task(harvest())
        await until(lambda: len(gate.arrived) == 2)
        if way == "asyncio":
            running.cancel()
        elif way == "anyio":
            scope.cancel()
        leaving = asyncio.create_task(h.__aexit__(None, None, None))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not running.done(), "it waits for what is under way"
        gate.open()
        (ended,) = await asyncio.gather(running, return_exceptions=True)
        await leaving

        if way == "asyncio":
            assert isinstance(ended, asyncio.CancelledError)
        elif way == "anyio":
            assert ended is None
        else:
            assert isinstance(ended, harvester.HarvestSummary)
            assert (ended.stopped, dict(ended.counts)) == ("It was cancelled.", {"harvested": 2, "pending": 4})
        assert len(retrieved(api)) == 2

        async with harvester.Harvester(settings) as h:
            assert (await h.harvest()).is_complete
        assert retrieved(api) == sorted(ids)


async def test_after_the_deadline_no_request_begins_and_the_rest_stays_open(settings: dict[str, Any]) -> None:
    async with (
        stand_in(tasks=2, processing_median_s=1e6) as api,
        harvester.Harvester(settings | {"api.base_url": api.base_url}) as h,
    ):
        ids = api.catalogue.ids()
        expected = harvester.HarvestSummary(dict.fromkeys(ids, "pending"), "The time is up.")
        assert await h.harvest(ids, deadline_s=0.1) == expected
        assert not expected.is_complete


async def test_a_second_cancellation_ends_at_once(settings: dict[str, Any]) -> None:
    gate = Gate(let_through=0)
    async with stand_in(gate, tasks=1) as api, harvester.Harvester(settings | {"api.base_url": api.base_url}) as h:
        running = asyncio.create_task(h.harvest(api.catalogue.ids()))
        await until(lambda: len(gate.arrived) == 1)
        running.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        gate.open()
        assert (await h.harvest()).is_complete


async def test_the_log_goes_to_logging_for_a_program_that_wants_it(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with stand_in(tasks=1) as api, harvester.Harvester(settings | {"api.base_url": api.base_url}) as h:
        (one,) = api.catalogue.ids()
        with caplog.at_level(logging.INFO, "harvester"):
            await h.harvest(one)

    (record,) = [record for record in caplog.records if record.message.startswith("harvested ")]
    assert (record.name, record.levelname) == ("harvester", "INFO")
    assert f"task_id='{one}'" in record.message
    assert vars(record)["harvester"]["task_id"] == one


async def test_without_waiting_each_task_is_asked_about_once(settings: dict[str, Any]) -> None:
    async with (
        stand_in(tasks=2, processing_median_s=1e6) as api,
        harvester.Harvester(settings | {"api.base_url": api.base_url}) as h,
    ):
        ids = api.catalogue.ids()
        assert (await h.harvest(ids, wait=False)).states == dict.fromkeys(ids, "pending")


async def test_bad_input_is_refused_in_one_sentence_before_anything_is_done(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    database: Path = settings["store.path"]
    with pytest.raises(harvester.UsageError, match=r"The program gives stor\.path, .* Did you mean store\.path\?"):
        async with harvester.Harvester({"stor.path": "x.db"}):
            pass
    with pytest.raises(harvester.UsageError, match=r"harvest\.concurrency = 'many'"):
        async with harvester.Harvester({"harvest.concurrency": "many"}):
            pass
    h = harvester.Harvester(settings)
    with pytest.raises(harvester.UsageError, match=r"not open.*async with"):
        await h.harvest()
    async with h:
        with pytest.raises(harvester.InvalidTaskId):
            await h.harvest(["68e778000000000000000001", "../x"])
        with pytest.raises(harvester.StoreError, match="no database"):
            await h.harvest()
        assert await h.harvest([]) == harvester.HarvestSummary({}, None)
    assert not os.listdir(database.parent)  # noqa: PTH208
    monkeypatch.delenv("TWELVELABS_API_KEY")
    with pytest.raises(harvester.UsageError, match="no API key"):
        async with h:
            pass


async def test_a_refused_key_is_an_error_and_changes_no_task(settings: dict[str, Any]) -> None:
    async with (
        stand_in(tasks=1, key="another") as api,
        harvester.Harvester(settings | {"api.base_url": api.base_url}) as h,
    ):
        with pytest.raises(harvester.KeyRefusedError):
            await h.harvest(api.catalogue.ids())


async def test_a_pause_is_an_error_before_any_request(settings: dict[str, Any]) -> None:
    async with stand_in(tasks=1) as api, harvester.Harvester(settings | {"api.base_url": api.base_url}) as h:
        await h.harvest(api.catalogue.ids())
        with open_queue_editor(settings["store.path"]) as queue:
            queue.pause(time.time_ns() // 1_000_000, None)
        asked = len(api.requests)
        with pytest.raises(harvester.PausedError):
            await h.harvest()
        assert len(api.requests) == asked
