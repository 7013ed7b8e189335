"""Results of version 2, which do not name their model, get it from the list, however the harvest ends."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from harvester.simulator import Simulator, SimulatorSettings
from tests.support.shell import Shell, until
from tests.support.thorough import thorough

TASKS = 60

Change = Callable[[dict[str, Any]], object]


def leave_no_sign(result: dict[str, Any]) -> None:
    """Remove what only one model makes."""
    result.pop("usage", None)
    if result["status"] == "ready":
        result["metadata"].pop("embedding_dimension", None)
        result["metadata"]["embedding_options"] = ["visual", "audio"]
        result["data"] = [entry for entry in result["data"] if entry["embedding_option"] in {"visual", "audio"}]


class List:
    """A middleware that changes the pages of the list, and holds them back until it is open.

    No result has a sign of its model.
    """

    def __init__(self, change: Change = lambda _page: None) -> None:
        self.change = change
        self.arrived = 0
        self.is_open = asyncio.Event()
        self.is_open.set()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
            return answer
        document = orjson.loads(answer.body)
        if "task_id" in request.match_info:
            leave_no_sign(document)
        else:
            self.arrived += 1
            await self.is_open.wait()
            self.change(document)
        return web.Response(body=orjson.dumps(document), content_type="application/json")


@pytest.fixture
def pages() -> List:
    return List()


@pytest.fixture
async def api(shell: Shell, pages: List) -> AsyncIterator[Simulator]:
    """An account of version 2: videos of both models, of which all are ready."""
    finished: dict[str, Any] = {"age_s": 3600, "processing_median_s": 0.01, "processing_sigma": 0}
    settings = SimulatorSettings(**finished, api="v2", tasks=TASKS, spread_s=3600, duration_s=(20.0, 20.0), gzip=False)
    async with Simulator(settings, middlewares=[pages.middleware]) as api:
        shell.talks_to(api.base_url)
        shell.environ["HARVESTER_API__VERSION"] = "v2"
        await shell.add(api.catalogue.ids())
        yield api


def expected(api: Simulator) -> dict[str, str]:
    return {task_id: api.catalogue.task(task_id).request.model.name for task_id in api.catalogue.ids()}


def models(shell: Shell) -> dict[str, str | None]:
    return dict(shell.rows("SELECT DISTINCT task_id, model_name FROM segment_vectors"))


async def test_no_model_is_unknown_after_a_backfill(shell: Shell, api: Simulator) -> None:
    harvest = await shell.run("backfill")
    status = await shell.run("status", "--json")
    verified = await shell.run("verify", "--deep")

    assert harvest.code == 0, harvest.stderr
    assert models(shell) == expected(api)
    assert set(Counter(models(shell).values())) == {"marengo3.0", "marengo3.5"}
    assert shell.rows("SELECT DISTINCT model_source FROM videos") == [("list",)]
    assert orjson.loads(status.stdout)["without_model"] == {"results": 0, "not_listed": 0}
    assert (verified.code, verified.stdout) == (0, "")
    assert api.requests.count("list") <= 4


@pytest.mark.parametrize("end", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=thorough)], ids=["ctrl-c", "kill"])
async def test_the_next_harvest_goes_on_where_a_lookup_was_broken_off(
    shell: Shell, api: Simulator, pages: List, end: signal.Signals
) -> None:
    harvest = await shell.start("backfill", HARVESTER_HARVEST__STRATEGY="status", HARVESTER_HARVEST__GRACE_S="1")
    pages.is_open.clear()
    await until(lambda: shell.count("harvested") == TASKS and pages.arrived > 0)
    if end is signal.SIGINT:
        harvest.signal(end)
    else:
        harvest.kill()
    ended = await harvest.ended()
    pages.is_open.set()
    again = await shell.run("backfill")
    verified = await shell.run("verify", "--deep")

    assert ended.code == (130 if end is signal.SIGINT else -signal.SIGKILL)
    assert again.code == 0, again.stderr
    assert models(shell) == expected(api)
    assert (verified.code, verified.stdout) == (0, "")


async def test_a_task_that_the_list_never_shows_keeps_an_unknown_model_and_is_counted(
    shell: Shell, api: Simulator, pages: List
) -> None:
    hidden = api.catalogue.ids()[:2]

    def hide(page: dict[str, Any]) -> None:
        kept = [entry for entry in page["data"] if entry["_id"] not in hidden]
        page["page_info"]["total_results"] -= len(page["data"]) - len(kept)
        page["data"] = kept

    pages.change = hide
    harvest = await shell.run("backfill")
    requests = api.requests.count("list")
    again = await shell.run("backfill")
    status = await shell.run("status")
    verified = await shell.run("verify")

    assert (harvest.code, again.code, verified.code) == (0, 0, 0)
    assert models(shell) == expected(api) | dict.fromkeys(hidden)
    assert "2 results without a known model: 2 not named by the account's list" in harvest.stderr
    assert "2 results without a known model: 2 not named by the account's list" in status.stdout
    assert "warning: 2 results without a known model" in verified.stdout
    # The list is not asked again before an hour has passed.
    assert (requests, api.requests.count("list")) == (requests, requests)


async def test_a_list_that_is_refused_ends_nothing(shell: Shell, api: Simulator, pages: List) -> None:
    def refuse(_page: dict[str, Any]) -> None:
        raise web.HTTPForbidden(
            body=b'{"error": {"code": "api_not_allowed", "message": "Not for your plan."}}',
            content_type="application/json",
        )

    pages.change = refuse
    harvest = await shell.run("backfill")

    assert harvest.code == 0, harvest.stderr
    assert f"{TASKS} results without a known model: {TASKS} not looked up yet" in harvest.stderr
    assert shell.count("harvested") == TASKS
    assert api.requests.count("list") <= 3
