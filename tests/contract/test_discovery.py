"""Discovery over a real socket, from the stand-in into a real database."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from harvester.api.client import Client, ClientSettings
from harvester.api.list_page import MAX_LIST_BYTES
from harvester.app.wiring import open_harvest
from harvester.domain.errors import KeyRefusedError
from harvester.domain.limits.endpoint import POLL_ENDPOINTS, Endpoint, RateLimit
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.tasks.outcomes import InvalidRequest, NotFound, Outcome, Refused, Throttled, Transient
from harvester.domain.tasks.task import RETENTION_MS, TaskState
from harvester.service.discovery import DiscoveryParts, discover
from harvester.service.discovery_report import DiscoveryReport
from harvester.service.run_options import StopWhen
from harvester.settings.model import ApiSettings, DiscoverySettings, RateSettings, Settings, StoreSettings
from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings
from harvester.simulator.requests import VideoRequest
from harvester.store.sqlite.store import Store
from harvester.throttle.throttle import Throttle
from tests.support.harvest_parts import never_paused
from tests.support.raw_server import KEY, NOON, Answering, client_of, listening, saying, silent, unlimited, whole
from tests.support.store_builders import claim_due

DAY_S = 24 * 3600
NOON_MS = NOON * 1000
QUERY = ListQuery(NOON_MS - RETENTION_MS)


class StoppedClock:
    """Shows the stand-in's time; waiting takes no time."""

    def wall_ms(self) -> int:
        return NOON_MS

    def monotonic(self) -> float:
        return 1_000.0

    async def wait(self, _event: anyio.Event, _timeout_s: float) -> None:
        await asyncio.sleep(0)


class Account:
    """The stand-in and what happens in it before each page but the first is given."""

    def __init__(self, **settings: Any) -> None:
        self.events: list[Callable[[], object]] = []
        chosen: dict[str, Any] = {"tasks": 130, "age_s": 600, "spread_s": 6 * DAY_S, "processing_sigma": 0, "key": KEY}
        self.sim = Simulator(
            SimulatorSettings(**(chosen | settings)),
            clock=SimulatorClock(NOON, speed=0),
            middlewares=[self._between_pages()],
        )

    def _between_pages(self) -> Middleware:
        pages = iter(range(10**6))

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            if next(pages):
                for event in self.events:
                    event()
            return await handler(request)

        return middleware

    def make(self, count: int = 7) -> None:
        settings = self.sim.settings
        for _ in range(count):
            self.sim.clock.advance(0.3)
            self.sim.catalogue.create(VideoRequest(model=settings.model, options=("visual",), clip_length_s=6.0))


PAUSE = never_paused(StoppedClock())


async def discover_since(sim: Simulator, store: Store, *, since_ms: int = QUERY.started_at_ms) -> DiscoveryReport:
    throttle = Throttle(RateLimit(0), lambda: 1_000.0)
    async with Client(ClientSettings(sim.base_url), lambda: KEY, throttle, lambda: NOON) as client:
        return await discover(
            DiscoveryParts(api=client, throttle=throttle, store=store, clock=StoppedClock(), pause=PAUSE), since_ms
        )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "harvester.db") as store:
        yield store


async def rows(store: Store, columns: str) -> dict[str, list[Any]]:
    found = await store.transact(lambda db: db.execute(f"SELECT task_id, {columns} FROM tasks").fetchall())
    return {task_id: values for task_id, *values in found}


# The account's tasks.


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (49, 1), (98, 2), (130, 3), (400, 9)])
async def test_every_task_is_queued_with_its_own_time(store: Store, count: int, requests: int) -> None:
    async with Account(tasks=count).sim as sim:
        report = await discover_since(sim, store)
        tasks = [sim.catalogue.task(task_id) for task_id in sim.catalogue.ids()]
        assert (report.requests, sim.requests.count("list", 200), len(sim.requests)) == (requests,) * 3
    expected = {
        task.task_id: ["ready", task.created_at_ms, task.created_at_ms + RETENTION_MS, NOON_MS] for task in tasks
    }
    assert await rows(store, "state, created_at, expires_at, added_at") == expected


async def test_states_are_those_of_the_list(store: Store) -> None:
    account = Account(tasks=60, age_s=0, spread_s=40, processing_median_s=20, failed_ratio=0.3)
    async with account.sim as sim:
        report = await discover_since(sim, store)
        names = {"processing": "pending", "ready": "ready", "failed": "ready"}
        expected = {task_id: [names[sim.catalogue.status(task_id)]] for task_id in sim.catalogue.ids()}
    assert await rows(store, "state") == expected
    assert sum(report.queued.new_states.values()) == 60
    assert len(report.queued.new_states) == 3


async def test_the_second_discovery_finds_nothing_new(store: Store) -> None:
    async with Account().sim as sim:
        await discover_since(sim, store)
        report = await discover_since(sim, store)
    assert (report.queued.new_ids, report.queued.known, report.is_complete) == ([], 130, True)


async def test_the_second_discovery_reports_what_became_ready_meanwhile(store: Store) -> None:
    async with Account(tasks=60, age_s=0, spread_s=0, processing_median_s=60).sim as sim:
        assert (await discover_since(sim, store)).queued.new_states == {TaskState.PENDING: 60}
        sim.clock.advance(120)
        assert (await discover_since(sim, store)).queued.moved == {TaskState.READY: 60}


async def test_a_discovery_goes_back_no_further_than_asked(store: Store) -> None:
    async with Account().sim as sim:
        await discover_since(sim, store, since_ms=NOON_MS - DAY_S * 1000)
        expected = [
            task_id
            for task_id in sim.catalogue.ids()
            if sim.catalogue.task(task_id).created_at_ms >= NOON_MS - DAY_S * 1000
        ]
    assert sorted(await rows(store, "state")) == sorted(expected)
    assert 0 < len(expected) < 130


async def test_an_upload_of_hundreds_at_once_is_found(store: Store) -> None:
    async with Account(tasks=300, spread_s=0).sim as sim:
        report = await discover_since(sim, store)
        assert (sorted(await rows(store, "state")), report.is_complete) == (sorted(sim.catalogue.ids()), True)


# A list that shifts while it is read.


@pytest.mark.parametrize("spread_s", [0, 20, 6 * DAY_S])
async def test_tasks_that_are_made_while_the_list_is_read_hide_nothing(store: Store, spread_s: int) -> None:
    account = Account(tasks=170, spread_s=spread_s)
    before = account.sim.catalogue.ids()
    account.events.append(account.make)
    async with account.sim as sim:
        report = await discover_since(sim, store)
        assert len(sim.catalogue.ids()) > 170
    assert set(before) <= set(await rows(store, "state"))
    assert report.is_complete


async def test_tasks_that_pass_their_retention_while_the_list_is_read_hide_nothing(store: Store) -> None:
    account = Account(tasks=300, spread_s=7 * DAY_S - 700)
    account.events.append(lambda: account.sim.clock.advance(6 * 3600))
    async with account.sim as sim:
        report = await discover_since(sim, store)
        surviving = {task_id for task_id in sim.catalogue.ids() if sim.catalogue.find(task_id)}
    assert 0 < len(surviving) < 300
    assert surviving <= set(await rows(store, "state"))
    assert report.is_complete


async def test_both_at_once_hide_nothing(store: Store) -> None:
    account = Account(tasks=300, spread_s=7 * DAY_S - 700)
    before = account.sim.catalogue.ids()
    account.events += [account.make, lambda: account.sim.clock.advance(6 * 3600), account.make]
    async with account.sim as sim:
        await discover_since(sim, store)
        surviving = {task_id for task_id in before if sim.catalogue.find(task_id)}
    assert surviving <= set(await rows(store, "state"))


async def test_the_harvest_goes_on_while_the_list_is_read(store: Store) -> None:
    """A task that a process claims between two discoveries keeps its claim."""
    from harvester.domain.tasks.records import Lease  # noqa: PLC0415

    async with Account(tasks=20).sim as sim:
        await discover_since(sim, store)
        claimed = await claim_due(store, Lease("me", NOON_MS + 60_000, NOON_MS), now_ms=NOON_MS, limit=5)
        await discover_since(sim, store)
    owners = await rows(store, "lease_owner, claim")
    assert [owners[task.task_id] for task in claimed] == [["me", 1]] * 5


# In the daemon.


def settings_for(sim: Simulator, path: Path, *, every_s: float = 900) -> Settings:
    return Settings(
        api=ApiSettings(base_url=sim.base_url, version="v1"),
        rate=RateSettings(requests_per_minute=0),
        store=StoreSettings(path=path),
        discovery=DiscoverySettings(enabled=True, every_s=every_s),
    )


async def test_a_daemon_harvests_what_the_account_makes_without_any_id(tmp_path: Path) -> None:
    sim = Simulator(SimulatorSettings(tasks=60, age_s=600, processing_median_s=1, duration_s=(12, 12)))
    async with sim, AsyncExitStack() as stack:
        settings = settings_for(sim, tmp_path / "harvester.db")
        harvest = await stack.enter_async_context(open_harvest(settings, lambda: KEY, until=StopWhen.SIGNALLED))
        group = await stack.enter_async_context(anyio.create_task_group())
        group.start_soon(harvest.scheduler.run)
        group.start_soon(harvest.keep_discovering, lambda: settings)
        with anyio.fail_after(60):
            while harvest.progress.harvested < 60:  # noqa: ASYNC110  # progress is no event
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
        assert (sim.requests.count("retrieve"), sim.requests.count("status")) == (60, 0)
        assert harvest.progress.requests[Endpoint.LIST] == sim.requests.count("list") == 3


async def test_a_list_that_refuses_the_key_stops_the_daemon(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(key="another")) as sim, AsyncExitStack() as stack:
        settings = settings_for(sim, tmp_path / "harvester.db")
        harvest = await stack.enter_async_context(open_harvest(settings, lambda: KEY, until=StopWhen.SIGNALLED))
        group = await stack.enter_async_context(anyio.create_task_group())
        group.start_soon(harvest.keep_discovering, lambda: settings)
        with anyio.fail_after(60):
            await harvest.scheduler.run()
        with pytest.raises(KeyRefusedError):
            harvest.raise_if_refused()


# Requests and answers.


async def asked(answering: Answering, query: ListQuery = QUERY, **settings: Any) -> tuple[ListPage | Outcome, str]:
    async with listening(answering) as (place, raw), client_of(f"http://{place}", **settings) as client:
        answer = await client.list_tasks(query, unlimited().take(Endpoint.LIST))
        return answer, raw.heads[0] if raw.heads else ""


@pytest.mark.parametrize(("version", "path"), [("v1", "embed"), ("v2", "embed-v2")])
async def test_the_request_is_the_documented_one(version: str, path: str) -> None:
    answer, head = await asked(saying(whole(b'{"data":[]}')), version=version)
    parameters = "started_at=2023-11-07T22:13:20Z&page=1&page_limit=50"
    assert head.partition("\r\n")[0] == f"GET /v1.3/{path}/tasks?{parameters} HTTP/1.1"
    assert [line for line in head.splitlines() if KEY in line] == [f"x-api-key: {KEY}"]
    assert answer == ListPage([], 0)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("400 Bad Request", b'{"code":"parameter_invalid","message":"No."}', InvalidRequest),
        ("400 Bad Request", b'{"code":"generic_error","message":"No."}', Transient),
        ("401 Unauthorized", b'{"code":"api_key_invalid","message":"No."}', Refused),
        ("403 Forbidden", b'{"code":"api_not_allowed","message":"No."}', Refused),
        ("403 Forbidden", b"", Transient),
        ("404 Not Found", b'{"code":"resource_not_exists","message":"No."}', NotFound),
        ("429 Too Many Requests", b"", Throttled),
        ("502 Bad Gateway", b"<html>", Transient),
        ("302 Found", b"", Transient),
        ("200 OK", b"<html>", Transient),
        ("200 OK", b'{"status":"ready"}', Transient),
    ],
)
async def test_what_is_no_page_is_the_outcome_that_it_is_elsewhere(
    version: str, status: str, body: bytes, kind: type
) -> None:
    answer, _ = await asked(saying(whole(body, status=status)), version=version)
    assert isinstance(answer, kind)


async def test_a_connection_that_breaks_is_tried_again() -> None:
    answer, _ = await asked(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"))
    assert isinstance(answer, Transient)


async def test_a_list_that_stalls_is_given_up() -> None:
    answer, _ = await asked(silent, read_timeout_s=0.05)
    assert isinstance(answer, Transient)
    assert answer.code == "read_timeout"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b" " * (MAX_LIST_BYTES + 1), b""),
        (gzip.compress(b" " * (MAX_LIST_BYTES + 1)), b"content-encoding: gzip\r\n"),
    ],
)
async def test_a_page_over_the_cap_is_not_read_to_its_end(body: bytes, headers: bytes) -> None:
    answer, _ = await asked(saying(whole(body, headers=headers)))
    assert isinstance(answer, Transient)
    assert answer.code == "body_too_large"


async def test_a_429_blocks_the_list_and_nothing_else() -> None:
    throttle = unlimited()
    answering = saying(whole(b"", status="429 Too Many Requests", headers=b"retry-after: 60\r\n"))
    async with listening(answering) as (place, _), client_of(f"http://{place}", throttle) as client:
        await client.list_tasks(QUERY, throttle.take(Endpoint.LIST))
    assert {endpoint: throttle.wait_s(endpoint) for endpoint in POLL_ENDPOINTS} == {
        Endpoint.LIST: 60,
        Endpoint.STATUS: 0,
        Endpoint.RETRIEVE: 0,
    }


@asynccontextmanager
async def listing_of(pages: Callable[[int], dict[str, Any]]) -> AsyncIterator[Client]:
    """Open a client of a server whose n-th answer is `pages(n)`."""
    turn = iter(range(10**6))

    async def answering(writer: asyncio.StreamWriter) -> None:
        writer.write(whole(orjson.dumps(pages(next(turn)))))

    async with listening(answering) as (place, _), client_of(f"http://{place}") as client:
        yield client


def endless(number: int) -> dict[str, Any]:
    """The same fifty tasks for ever, under a wrong number of pages."""
    tasks = [{"_id": f"{one:024x}", "status": "ready", "created_at": "2023-11-14T00:00:00Z"} for one in range(50)]
    return {"data": tasks, "page_info": {"page": number, "total_page": 10**9, "total_results": 10**9}}


async def test_endless_pages_end_with_a_warning(store: Store) -> None:
    async with listing_of(endless) as client:
        parts = DiscoveryParts(api=client, throttle=unlimited(), store=store, clock=StoppedClock(), pause=PAUSE)
        report = await discover(parts, QUERY.started_at_ms)
    assert report.problem is not None
    assert (len(report.queued.new_ids), report.requests < 15) == (50, True)
