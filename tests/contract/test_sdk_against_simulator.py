"""The official SDK as a client of the stand-in, synchronous and asynchronous.

It must read the data that the stand-in holds: this shows that the stand-in has the API that the SDK was written for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import httpx
import numpy as np
import pytest
from twelvelabs import AsyncTwelveLabs, BadRequestError, TwelveLabs
from twelvelabs.core.api_error import ApiError

from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings

NOON = 1_700_000_000
SETTINGS = SimulatorSettings(
    tasks=23,
    spread_s=3600,
    duration_s=(15.0, 40.0),
    processing_median_s=60,
    processing_sigma=0,
    failed_ratio=0.2,
    key="right",
)


class Sdk(Protocol):
    """Both clients behind one face."""

    async def listed(self, **query: Any) -> list[Any]: ...
    async def status(self, task_id: str) -> Any: ...
    async def retrieve(self, task_id: str, **query: Any) -> Any: ...
    async def create(self, **form: Any) -> Any: ...
    async def wait_for_done(self, task_id: str, clock: SimulatorClock) -> Any: ...


class SyncSdk:
    def __init__(self, base_url: str, api_key: str, http: httpx.Client) -> None:
        # Any: the SDK adds `wait_for_done` at run time, unseen by its types.
        self._tasks: Any = TwelveLabs(base_url=base_url, api_key=api_key, httpx_client=http).embed.tasks

    async def listed(self, **query: Any) -> list[Any]:
        return await asyncio.to_thread(lambda: list(self._tasks.list(**query)))

    async def status(self, task_id: str) -> Any:
        return await asyncio.to_thread(self._tasks.status, task_id)

    async def retrieve(self, task_id: str, **query: Any) -> Any:
        return await asyncio.to_thread(self._tasks.retrieve, task_id, **query)

    async def create(self, **form: Any) -> Any:
        return await asyncio.to_thread(self._tasks.create, **form)

    async def wait_for_done(self, task_id: str, clock: SimulatorClock) -> Any:
        def advance(_status: Any) -> None:
            clock.advance(25)

        return await asyncio.to_thread(self._tasks.wait_for_done, task_id, sleep_interval=1e-6, callback=advance)


class AsyncSdk:
    def __init__(self, base_url: str, api_key: str, http: httpx.AsyncClient) -> None:
        self._tasks: Any = AsyncTwelveLabs(base_url=base_url, api_key=api_key, httpx_client=http).embed.tasks

    async def listed(self, **query: Any) -> list[Any]:
        return [task async for task in await self._tasks.list(**query)]

    async def status(self, task_id: str) -> Any:
        return await self._tasks.status(task_id)

    async def retrieve(self, task_id: str, **query: Any) -> Any:
        return await self._tasks.retrieve(task_id, **query)

    async def create(self, **form: Any) -> Any:
        return await self._tasks.create(**form)

    async def wait_for_done(self, task_id: str, clock: SimulatorClock) -> Any:
        async def advance(_status: Any) -> None:
            clock.advance(25)

        return await self._tasks.wait_for_done(task_id, sleep_interval=1e-6, callback=advance)


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("TWELVELABS_BASE_URL", raising=False)
    return str(request.param)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SETTINGS, clock=SimulatorClock(NOON, speed=0)) as simulator:
        yield simulator


@asynccontextmanager
async def connected(kind: str, sim: Simulator, api_key: str = "right") -> AsyncIterator[Sdk]:
    if kind == "sync":
        with httpx.Client(trust_env=False) as http:
            yield SyncSdk(sim.base_url, api_key, http)
    else:
        async with httpx.AsyncClient(trust_env=False) as http:
            yield AsyncSdk(sim.base_url, api_key, http)


@pytest.fixture
async def sdk(kind: str, sim: Simulator) -> AsyncIterator[Sdk]:
    async with connected(kind, sim) as client:
        yield client


def ready_id(sim: Simulator) -> str:
    return next(one for one in sim.catalogue.ids() if not sim.catalogue.task(one).fails)


def moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


@pytest.mark.parametrize("page_limit", [None, 5, 23, 50])
async def test_the_list_pages_through_every_task(sdk: Sdk, sim: Simulator, page_limit: int | None) -> None:
    listed = await sdk.listed(page_limit=page_limit)
    assert [task.id for task in listed] == sim.catalogue.ids()[::-1]


async def test_a_listed_task_is_the_one_that_is_held(sdk: Sdk, sim: Simulator) -> None:
    sim.clock.advance(60)
    listed = (await sdk.listed())[-1]
    held = sim.catalogue.task(listed.id)
    assert listed.model_name == "marengo3.0"
    assert listed.status == sim.catalogue.status(held.task_id)
    assert listed.created_at == moment(held.created_at_ms)
    assert listed.updated_at == moment(held.finished_at_ms)
    assert listed.video_embedding.metadata.duration == held.duration_s
    assert listed.video_embedding.metadata.input_filename == held.request.filename


@pytest.mark.parametrize("status", ["processing", "ready", "failed"])
async def test_the_list_is_filtered_by_status_and_dates(sdk: Sdk, sim: Simulator, status: str) -> None:
    half_an_hour_ago = "2023-11-14T21:43:20Z"
    listed = await sdk.listed(status=status, started_at=half_an_hour_ago, ended_at="2023-11-14T22:13:20Z")
    expected = [
        one
        for one in reversed(sim.catalogue.ids())
        if sim.catalogue.status(one) == status and sim.catalogue.task(one).created_at_ms >= (NOON - 1800) * 1000
    ]
    assert [task.id for task in listed] == expected


async def test_a_status_is_the_one_that_is_held(sdk: Sdk, sim: Simulator) -> None:
    for task_id in sim.catalogue.ids():
        answer = await sdk.status(task_id)
        assert (answer.id, answer.status) == (task_id, sim.catalogue.status(task_id))
        assert answer.video_embedding.metadata.video_embedding_scope == ["clip", "video"]


async def test_retrieved_segments_are_those_that_are_held(sdk: Sdk, sim: Simulator) -> None:
    sim.clock.advance(60)
    task_id = ready_id(sim)
    answer = await sdk.retrieve(task_id)
    expected = sim.catalogue.embeddings(task_id)
    segments = answer.video_embedding.segments
    assert (answer.id, answer.status, len(segments)) == (task_id, "ready", len(expected))
    assert tuple(one.embedding_option for one in segments) == expected.options
    assert tuple(one.embedding_scope for one in segments) == expected.scopes
    assert tuple(one.start_offset_sec for one in segments) == expected.start_offsets_s
    assert tuple(one.end_offset_sec for one in segments) == expected.end_offsets_s
    received = np.array([one.float_ for one in segments], dtype=np.float32)
    np.testing.assert_array_equal(received, expected.vectors, strict=True)


async def test_the_options_asked_for_are_retrieved(sdk: Sdk, sim: Simulator) -> None:
    sim.clock.advance(60)
    answer = await sdk.retrieve(ready_id(sim), embedding_option=["audio", "transcription"])
    assert {one.embedding_option for one in answer.video_embedding.segments} == {"audio"}


async def test_before_it_is_ready_a_task_is_retrieved_without_segments(sdk: Sdk, sim: Simulator) -> None:
    answer = await sdk.retrieve(sim.catalogue.ids()[-1])
    assert (answer.status, answer.video_embedding.segments) == ("processing", None)


@pytest.mark.parametrize(
    "source",
    [{"video_url": "https://example.com/a.mp4"}, {"video_file": ("a.mp4", b"frames", "video/mp4")}],
)
async def test_a_created_task_is_waited_for_and_retrieved(sdk: Sdk, sim: Simulator, source: dict[str, Any]) -> None:
    form = {"model_name": "marengo3.0", "video_clip_length": 5, "video_embedding_scope": ["clip", "video"]}
    while sim.catalogue.task(task_id := (await sdk.create(**form, **source)).id).fails:
        pass
    done = await sdk.wait_for_done(task_id, sim.clock)
    answer = await sdk.retrieve(task_id)
    metadata = answer.video_embedding.metadata
    assert (done.status, done.id) == ("ready", task_id)
    assert (metadata.video_clip_length, metadata.video_embedding_scope) == (5, ["clip", "video"])
    assert metadata.input_filename == ("a.mp4" if "video_file" in source else None)
    assert len(answer.video_embedding.segments) == len(sim.catalogue.embeddings(task_id))


async def test_waiting_ends_when_a_task_fails(sdk: Sdk, sim: Simulator) -> None:
    failing = next(one for one in reversed(sim.catalogue.ids()) if sim.catalogue.task(one).fails)
    assert (await sdk.wait_for_done(failing, sim.clock)).status == "failed"


async def test_a_wrong_key_is_error_401(kind: str, sim: Simulator) -> None:
    async with connected(kind, sim, api_key="wrong") as sdk:
        with pytest.raises(ApiError) as caught:
            await sdk.listed()
    assert (caught.value.status_code, caught.value.body["code"]) == (401, "api_key_invalid")


async def test_an_unknown_task_is_error_404(sdk: Sdk) -> None:
    for call in (sdk.status, sdk.retrieve):
        with pytest.raises(ApiError) as caught:
            await call("66f537778d9641fe5a0d101f")
        assert (caught.value.status_code, caught.value.body["code"]) == (404, "resource_not_exists")


async def test_a_wrong_parameter_is_error_400(sdk: Sdk) -> None:
    with pytest.raises(BadRequestError) as caught:
        await sdk.listed(page_limit=51)
    assert caught.value.body["code"] == "parameter_invalid"


async def test_an_exceeded_limit_is_error_429(kind: str) -> None:
    settings = SimulatorSettings(tasks=1, requests_per_minute=1, header_scheme="newer")
    async with (
        Simulator(settings, clock=SimulatorClock(NOON, speed=0)) as sim,
        connected(kind, sim) as sdk,
    ):
        task_id = sim.catalogue.ids()[0]
        await sdk.status(task_id)
        with pytest.raises(ApiError) as caught:
            await sdk.status(task_id)
    assert caught.value.headers is not None
    assert (caught.value.status_code, caught.value.body["code"]) == (429, "too_many_requests")
    assert caught.value.headers["retry-after"] == "60"


async def test_the_list_has_the_tasks_of_version_2_as_well(kind: str) -> None:
    settings = SimulatorSettings(tasks=14, api="both", media=("video", "audio", "document", "image"), key="right")
    async with Simulator(settings, clock=SimulatorClock(NOON, speed=0)) as sim, connected(kind, sim) as sdk:
        listed = await sdk.listed()
        assert [task.id for task in listed] == sim.catalogue.ids()[::-1]
    assert {task.model_name for task in listed} == {"marengo3.0", "marengo3.5"}
