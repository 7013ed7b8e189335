"""Steering the stand-in over HTTP, and what it remembers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import web

from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings

NOON = 1_700_000_000


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Simulator]:
    settings = SimulatorSettings(tasks=2, processing_median_s=60, processing_sigma=0, requests_per_day=2, key="right")
    clock = SimulatorClock(NOON, speed=0)
    async with Simulator(settings, clock=clock, log_file=tmp_path / "requests.jsonl") as simulator:
        yield simulator


@pytest.fixture
async def http(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sim.root_url) as session:
        yield session


async def test_the_clock_can_be_read(http: aiohttp.ClientSession) -> None:
    async with http.get("/simulator/clock") as answer:
        assert await answer.json() == {"now": NOON, "rfc3339": "2023-11-14T22:13:20.000Z", "speed": 0}


async def test_the_clock_can_be_set_sped_up_and_advanced(sim: Simulator, http: aiohttp.ClientSession) -> None:
    for step in ({"set": NOON + 100}, {"advance_s": 3600}):
        async with http.post("/simulator/clock", json=step) as answer:
            assert answer.status == 200
    assert sim.clock.now() == NOON + 3700
    async with http.post("/simulator/clock", json={"speed": 60}) as answer:
        assert (await answer.json())["speed"] == 60


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"sped": 1}', b'{"set": "noon"}', b'{"set": -1}', b'{"speed": -1}', b"7"]
)
async def test_what_no_clock_can_do_is_refused(sim: Simulator, http: aiohttp.ClientSession, body: bytes) -> None:
    async with http.post("/simulator/clock", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["message"]
    assert sim.clock.now() == NOON


async def test_the_tasks_are_listed_with_their_status(sim: Simulator, http: aiohttp.ClientSession) -> None:
    sim.clock.advance(60)
    async with http.get("/simulator/tasks") as answer:
        expected = [{"_id": one, "status": "ready", "exists": True} for one in sim.catalogue.ids()]
        assert await answer.json() == expected


async def test_each_request_to_the_api_is_recorded_in_memory_over_http_and_in_the_file(
    sim: Simulator, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    task_id = sim.catalogue.ids()[0]
    for path in (f"/v1.3/embed/tasks/{task_id}/status", "/v1.3/embed/tasks?page_limit=5"):
        async with http.get(path, headers={"x-api-key": "right", "accept-encoding": "identity"}) as answer:
            size = len(await answer.read())
    async with http.get("/v1.3/embed/tasks") as answer:
        assert answer.status == 401
    async with http.get("/simulator/requests") as answer:
        records = await answer.json()
    assert records[1] == {
        "at": NOON,
        "method": "GET",
        "path": "/v1.3/embed/tasks",
        "query": "page_limit=5",
        "endpoint": "list",
        "task_id": None,
        "status": 200,
        "bytes": size,
        "fault": None,
    }
    assert [(one["endpoint"], one["task_id"], one["status"]) for one in records] == [
        ("status", task_id, 200),
        ("list", None, 200),
        ("list", None, 401),
    ]
    lines = (tmp_path / "requests.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line) for line in lines] == records
    assert sim.requests.count("list", 401) == 1


async def test_steering_is_neither_counted_nor_recorded(sim: Simulator, http: aiohttp.ClientSession) -> None:
    for path in ("clock", "tasks", "requests") * 2:
        async with http.get(f"/simulator/{path}") as answer:
            assert answer.status == 200
    async with http.get("/v1.3/embed/tasks", headers={"x-api-key": "right"}) as answer:
        assert answer.headers["x-ratelimit-used"] == "1"
    assert len(sim.requests) == 1


async def test_a_middleware_can_replace_an_answer_and_the_record_tells_the_replacement() -> None:
    @web.middleware
    async def broken(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        await handler(request)
        return web.Response(status=503, text="<html>")

    async with (
        Simulator(middlewares=[broken]) as sim,
        aiohttp.ClientSession(sim.base_url + "/", headers={"x-api-key": "any"}) as http,
        http.get("embed/tasks") as answer,
    ):
        assert (answer.status, await answer.text()) == (503, "<html>")
        assert sim.requests.count("list", 503) == 1


async def test_a_task_of_any_model_and_age_can_be_held(sim: Simulator, http: aiohttp.ClientSession) -> None:
    old = {"api_version": "v1", "model_name": "Marengo-retrieval-2.7", "age_s": 3600, "processing_s": 60}
    new = {
        "api_version": "v2",
        "model_name": "marengo3.5",
        "input_type": "image",
        "failure": "No.",
        "filename": "a.png",
    }
    held = []
    for description in (old, new):
        async with http.post("/simulator/tasks", json=description) as answer:
            assert answer.status == 201
            held.append(sim.catalogue.task((await answer.json())["_id"]))
    first, second = held
    assert (first.request.model.dim, first.status_at(sim.clock.now_ms())) == (1024, "ready")
    assert first.created_at_ms == (NOON - 3600) * 1000
    assert (second.request.medium, second.failure, second.request.filename) == ("image", "No.", "a.png")


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"api_version": "v1", "model_name": "marengo3.5"},
        {"api_version": "v2", "model_name": "marengo3.0", "input_type": "image"},
        {"api_version": "v1", "model_name": "marengo3.0", "age": 3},
        {"api_version": "v1", "model_name": "marengo3.0", "age_s": 1e12},
    ],
)
async def test_a_task_that_cannot_be_held_is_refused(
    sim: Simulator, http: aiohttp.ClientSession, description: dict[str, object]
) -> None:
    async with http.post("/simulator/tasks", json=description) as answer:
        assert (answer.status, list(await answer.json())) == (400, ["message"])
    assert len(sim.catalogue.ids()) == 2


async def test_a_task_is_shown_with_what_its_embeddings_cover(sim: Simulator, http: aiohttp.ClientSession) -> None:
    task_id = sim.catalogue.ids()[0]
    async with http.get("/simulator/topics") as answer:
        topics = set(await answer.json())
    async with http.get(f"/simulator/tasks/{task_id}") as answer:
        body = await answer.json()
    places = body.pop("embeddings")
    assert body == {
        "_id": task_id,
        "status": "processing",
        "exists": True,
        "api_version": "v1",
        "input_type": "video",
        "model_name": "marengo3.0",
        "failure": "",
    }
    held = sim.catalogue.embeddings(task_id)
    assert [(one["option"], one["start_s"], one["end_s"]) for one in places] == list(
        zip(held.options, held.start_offsets_s, held.end_offsets_s, strict=True)
    )
    assert all(one["topics"] and topics.issuperset(one["topics"]) for one in places)
    async with http.get("/simulator/tasks/66f537778d9641fe5a0d101f") as answer:
        assert answer.status == 404
