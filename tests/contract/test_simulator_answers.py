"""The stand-in's answers over a real socket, against the known answers of the API."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson
import pytest

from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOON = 1_700_000_000  # 2023-11-14T22:13:20Z
SETTINGS = SimulatorSettings(tasks=25, spread_s=240, processing_median_s=300, processing_sigma=0)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SETTINGS, clock=SimulatorClock(NOON, speed=0)) as simulator:
        yield simulator


@pytest.fixture
async def http(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sim.base_url + "/", headers={"x-api-key": "any"}) as session:
        yield session


async def get(http: aiohttp.ClientSession, path: str, **query: Any) -> tuple[int, Any]:
    async with http.get(path, params=query) as answer:
        return answer.status, orjson.loads(await answer.read())


def keys(document: Any) -> Any:
    """Reduce a JSON document to its keys: an object to its members, an array to its first element."""
    if isinstance(document, dict):
        return {name: keys(value) for name, value in document.items()}
    if isinstance(document, list) and document and isinstance(document[0], dict):
        return [keys(document[0])]
    return None


def documented(name: str) -> Any:
    return orjson.loads((FIXTURES / name).read_bytes())


async def test_a_status_has_the_documented_shape(sim: Simulator, http: aiohttp.ClientSession) -> None:
    status, body = await get(http, f"embed/tasks/{sim.catalogue.ids()[0]}/status")
    assert (status, keys(body)) == (200, keys(documented("status_v1_processing.json")))
    assert body["status"] == "processing"


async def test_a_list_has_the_documented_shape(http: aiohttp.ClientSession) -> None:
    status, body = await get(http, "embed/tasks")
    assert (status, keys(body)) == (200, keys(documented("list_v1.json")))


async def test_a_ready_task_has_the_documented_shape(sim: Simulator, http: aiohttp.ClientSession) -> None:
    sim.clock.advance(300)
    status, body = await get(http, f"embed/tasks/{sim.catalogue.ids()[0]}")
    assert body.pop("updated_at") == "2023-11-14T22:14:20.000Z"
    assert (status, keys(body)) == (200, keys(documented("retrieve_v1_ready.json")))


async def test_a_ready_task_carries_exactly_its_embeddings(sim: Simulator, http: aiohttp.ClientSession) -> None:
    sim.clock.advance(300)
    task_id = sim.catalogue.ids()[3]
    _, body = await get(http, f"embed/tasks/{task_id}")
    segments, expected = body["video_embedding"]["segments"], sim.catalogue.embeddings(task_id)
    assert tuple(one["embedding_option"] for one in segments) == expected.options
    assert tuple(one["embedding_scope"] for one in segments) == expected.scopes
    assert tuple(one["start_offset_sec"] for one in segments) == expected.start_offsets_s
    assert tuple(one["end_offset_sec"] for one in segments) == expected.end_offsets_s
    received = np.array([one["float"] for one in segments], dtype=np.float32)
    np.testing.assert_array_equal(received, expected.vectors, strict=True)


async def test_a_retrieve_before_its_time_is_processing_without_segments(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    status, body = await get(http, f"embed/tasks/{sim.catalogue.ids()[-1]}")
    assert (status, body["status"]) == (200, "processing")
    assert body["video_embedding"].keys() == {"metadata"}
    assert "updated_at" not in body


async def test_a_failed_task_is_answered_with_200_and_without_segments() -> None:
    settings = SimulatorSettings(tasks=1, failed_ratio=1, processing_median_s=0)
    async with (
        Simulator(settings) as sim,
        aiohttp.ClientSession(sim.base_url + "/", headers={"x-api-key": "any"}) as http,
    ):
        status, body = await get(http, f"embed/tasks/{sim.catalogue.ids()[0]}")
    assert (status, body["status"]) == (200, "failed")
    assert "segments" not in body["video_embedding"]


async def test_only_the_options_asked_for_are_retrieved(sim: Simulator, http: aiohttp.ClientSession) -> None:
    sim.clock.advance(300)
    url = f"embed/tasks/{sim.catalogue.ids()[0]}?embedding_option=audio&embedding_option=transcription"
    _, body = await get(http, url)
    assert {one["embedding_option"] for one in body["video_embedding"]["segments"]} == {"audio"}


async def test_a_large_task_comes_whole_through_the_thread_that_builds_it() -> None:
    settings = SimulatorSettings(tasks=1, duration_s=(1800, 1800), processing_median_s=0)
    async with (
        Simulator(settings) as sim,
        aiohttp.ClientSession(sim.base_url + "/", headers={"x-api-key": "any"}) as http,
    ):
        task_id = sim.catalogue.ids()[0]
        async with http.get(f"embed/tasks/{task_id}") as answer:
            assert await answer.read() == sim.catalogue.document(task_id)


async def test_the_list_is_newest_first_and_ten_long(sim: Simulator, http: aiohttp.ClientSession) -> None:
    _, body = await get(http, "embed/tasks")
    assert [task["_id"] for task in body["data"]] == sim.catalogue.ids()[:-11:-1]
    assert body["page_info"] == {"limit_per_page": 10, "page": 1, "total_page": 3, "total_results": 25}


async def test_a_page_past_the_last_is_empty_and_no_error(http: aiohttp.ClientSession) -> None:
    status, body = await get(http, "embed/tasks", page=4)
    assert (status, body["data"], body["page_info"]["total_results"]) == (200, [], 25)


async def test_the_list_is_filtered_by_dates_with_both_ends_included(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    query = {"started_at": "2023-11-14T22:10:00Z", "ended_at": "2023-11-14T23:12:00+01:00"}
    _, body = await get(http, "embed/tasks", page_limit=50, **query)
    assert [task["_id"] for task in body["data"]] == sim.catalogue.ids()[16:3:-1]


async def test_the_list_is_filtered_by_status(sim: Simulator, http: aiohttp.ClientSession) -> None:
    sim.clock.advance(60)
    _, body = await get(http, "embed/tasks", status="ready")
    assert [task["_id"] for task in body["data"]] == sim.catalogue.ids()[:1]


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("embed/tasks?page_limit=51", "page_limit"),
        ("embed/tasks?page_limit=0", "page_limit"),
        ("embed/tasks?page=-1", "page"),
        ("embed/tasks?page=" + "9" * 5000, "page"),
        ("embed/tasks?status=done", "status"),
        ("embed/tasks?started_at=yesterday", "started_at"),
        ("embed/tasks?ended_at=2023-11-14", "ended_at"),
        ("embed/tasks/not-an-id/status", "task_id"),
        ("embed/tasks/6f53777", "task_id"),
    ],
)
async def test_a_wrong_parameter_is_refused_by_name(http: aiohttp.ClientSession, path: str, parameter: str) -> None:
    status, body = await get(http, path)
    assert (status, body["code"]) == (400, "parameter_invalid")
    assert parameter in body["message"]


async def test_an_unknown_embedding_option_is_refused(sim: Simulator, http: aiohttp.ClientSession) -> None:
    status, body = await get(http, f"embed/tasks/{sim.catalogue.ids()[0]}", embedding_option="smell")
    assert (status, body["code"]) == (400, "parameter_invalid")


@pytest.mark.parametrize("suffix", ["", "/status"])
async def test_an_unknown_id_does_not_exist(http: aiohttp.ClientSession, suffix: str) -> None:
    unknown = "66f537778d9641fe5a0d101f"
    status, body = await get(http, f"embed/tasks/{unknown}{suffix}")
    assert (status, body["code"]) == (404, "resource_not_exists")
    assert body["message"].startswith(f"Resource with id {unknown} does not exist in ")


@pytest.mark.parametrize("suffix", ["", "/status"])
async def test_after_seven_days_a_task_does_not_exist(sim: Simulator, http: aiohttp.ClientSession, suffix: str) -> None:
    path = f"embed/tasks/{sim.catalogue.ids()[-1]}{suffix}"
    sim.clock.advance(7 * 86_400 - 0.001)
    assert (await get(http, path))[0] == 200
    sim.clock.advance(0.001)
    assert (await get(http, path))[0] == 404


async def test_an_unknown_path_is_refused_as_json(sim: Simulator, http: aiohttp.ClientSession) -> None:
    status, body = await get(http, "indexes")
    assert (status, body.keys()) == (404, {"code", "message"})
    assert [record.endpoint for record in sim.requests] == ["other"]


async def test_a_method_that_does_not_exist_is_refused_as_json(http: aiohttp.ClientSession) -> None:
    async with http.delete("embed/tasks") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "GET,POST")
        assert (await answer.json())["code"] == "generic_error"


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"x-api-key": "another"}])
async def test_without_the_right_key_nothing_is_answered(headers: dict[str, str]) -> None:
    async with (
        Simulator(SimulatorSettings(tasks=1, key="right", requests_per_day=5)) as sim,
        aiohttp.ClientSession(sim.base_url + "/", headers=headers) as http,
        http.get("embed/tasks") as answer,
    ):
        body = await answer.json()
    assert "x-ratelimit-limit" not in answer.headers
    assert (answer.status, body["code"]) == (401, "api_key_invalid")
    assert body["message"].startswith("API Key is either invalid or expired. ")


@pytest.mark.parametrize("path", ["embed/tasks", "embed/tasks/not-an-id", "nowhere"])
async def test_each_answer_carries_the_stand_ins_date_and_a_trace_id(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as first, http.get(path) as second:
        assert first.headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
        assert len(first.headers["x-trace-id"]) == 16
        assert first.headers["x-trace-id"] != second.headers["x-trace-id"]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate", "gzip"), ("GZIP", "gzip"), ("*", "gzip"), ("identity", None), ("gzip;q=0, br", None)],
)
async def test_bodies_are_compressed_for_who_accepts_it(
    http: aiohttp.ClientSession, accepted: str, encoding: str | None
) -> None:
    async with http.get("embed/tasks", headers={"accept-encoding": accepted}) as answer:
        assert answer.headers.get("content-encoding") == encoding
        assert len((await answer.json())["data"]) == 10


async def test_compression_can_be_switched_off() -> None:
    async with (
        Simulator(SimulatorSettings(tasks=1, gzip=False)) as sim,
        aiohttp.ClientSession(sim.base_url + "/", headers={"x-api-key": "any"}) as http,
        http.get("embed/tasks", headers={"accept-encoding": "gzip"}) as answer,
    ):
        assert "content-encoding" not in answer.headers
