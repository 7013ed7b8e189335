"""Creating tasks on the stand-in, so that a script can be rehearsed from the upload on."""

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings

NOON = 1_700_000_000
SETTINGS = SimulatorSettings(duration_s=(20.0, 20.0), processing_median_s=60, processing_sigma=0)
URL = "https://example.com/a.mp4"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SETTINGS, clock=SimulatorClock(NOON, speed=0)) as simulator:
        yield simulator


@pytest.fixture
async def http(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sim.base_url + "/", headers={"x-api-key": "any"}) as session:
        yield session


def form(*fields: tuple[str, str]) -> aiohttp.FormData:
    # The default makes it multipart even without a file.
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields:
        data.add_field(name, value)
    return data


async def post(http: aiohttp.ClientSession, data: Any) -> tuple[int, Any]:
    async with http.post("embed/tasks", data=data) as answer:
        return answer.status, await answer.json()


async def test_an_uploaded_file_becomes_a_task_that_gets_ready(sim: Simulator, http: aiohttp.ClientSession) -> None:
    data = form(("model_name", "marengo3.0"))
    data.add_field("video_file", BytesIO(bytes(3_000_000)), filename="holiday.mp4")
    status, body = await post(http, data)
    assert (status, body) == (200, {"_id": sim.catalogue.ids()[0]})
    assert sim.catalogue.status(body["_id"]) == "processing"
    sim.clock.advance(60)
    async with http.get(f"embed/tasks/{body['_id']}") as answer:
        task = await answer.json()
    assert task["status"] == "ready"
    assert task["video_embedding"]["metadata"] == {
        "duration": 20,
        "input_filename": "holiday.mp4",
        "video_clip_length": 6,
        "video_embedding_scope": ["clip"],
    }


async def test_a_url_takes_precedence_and_the_other_fields_are_honoured(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    data = form(
        ("model_name", "marengo3.0"),
        ("video_url", URL),
        ("video_clip_length", "4"),
        ("video_start_offset_sec", "2"),
        ("video_end_offset_sec", "12"),
        ("video_embedding_scope", "clip"),
        ("video_embedding_scope", "video"),
    )
    data.add_field("video_file", b"1", filename="ignored.mp4")
    _, body = await post(http, data)
    embeddings = sim.catalogue.embeddings(body["_id"])
    assert sim.catalogue.task(body["_id"]).request.url == URL
    assert embeddings.options == ("visual",) * 4 + ("audio",) * 4
    assert embeddings.start_offsets_s == (2, 6, 10, 2) * 2
    assert embeddings.end_offsets_s == (6, 10, 12, 12) * 2
    assert embeddings.vectors.shape == (8, 512)


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ([("video_url", URL)], "model_name"),
        ([("model_name", "marengo9"), ("video_url", URL)], "model_name"),
        ([("model_name", "marengo3.5"), ("video_url", URL)], "model_name"),
        ([("model_name", "Marengo-retrieval-2.7"), ("video_url", URL)], "model_name"),
        ([("model_name", "marengo3.0")], "video_file"),
        ([("model_name", "marengo3.0"), ("video_url", "file:///a.mp4")], "video_url"),
        ([("model_name", "marengo3.0"), ("video_url", "https://" + "a" * 9000)], "video_url"),
        (
            [("model_name", "marengo3.0"), ("video_url", URL), ("video_clip_length", "11")],
            "video_clip_length",
        ),
        (
            [("model_name", "marengo3.0"), ("video_url", URL), ("video_clip_length", "nan")],
            "video_clip_length",
        ),
        (
            [("model_name", "marengo3.0"), ("video_url", URL), ("video_embedding_scope", "asset")],
            "video_embedding_scope",
        ),
        (
            [("model_name", "marengo3.0"), ("video_url", URL), ("video_start_offset_sec", "1")],
            "video_end_offset_sec",
        ),
    ],
)
async def test_a_wrong_field_is_refused_by_name_and_creates_nothing(
    sim: Simulator, http: aiohttp.ClientSession, fields: list[tuple[str, str]], parameter: str
) -> None:
    status, body = await post(http, form(*fields))
    assert (status, body["code"]) == (400, "parameter_invalid")
    assert body["message"].startswith(f"The {parameter} parameter is invalid.")
    assert sim.catalogue.ids() == []


async def test_a_body_that_is_no_form_is_refused(http: aiohttp.ClientSession) -> None:
    status, body = await post(http, b'{"video_url": "https://example.com"}')
    assert (status, body["code"]) == (400, "generic_error")


async def test_a_form_without_its_end_is_refused(http: aiohttp.ClientSession) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    async with http.post("embed/tasks", data=b"--x\r\nnonsense", headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, "generic_error")


async def test_a_file_name_that_is_no_text_does_not_spoil_the_list(sim: Simulator, http: aiohttp.ClientSession) -> None:
    body = (
        b'--b\r\ncontent-disposition: form-data; name="model_name"\r\n\r\nmarengo3.0\r\n'
        b'--b\r\ncontent-disposition: form-data; name="video_file"; filename="\xff.mp4"\r\n\r\nx\r\n--b--\r\n'
    )
    headers = {"content-type": "multipart/form-data; boundary=b"}
    async with http.post("embed/tasks", data=body, headers=headers) as answer:
        assert answer.status == 200
    async with http.get("embed/tasks") as answer:
        assert [task["_id"] for task in (await answer.json())["data"]] == sim.catalogue.ids()
