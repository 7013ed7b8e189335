"""The official SDK's client of version 2 against the stand-in, synchronous and asynchronous.

What it reads must be what the stand-in holds: so the stand-in speaks the API that the SDK was written for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pytest
from twelvelabs import AsyncTwelveLabs, BadRequestError, TooManyRequestsError, TwelveLabs
from twelvelabs.core.api_error import ApiError
from twelvelabs.types import AsyncVideoInputRequest, MediaSource, TextInputRequest

from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings
from harvester.simulator.metadata import listed_metadata

NOON = 1_700_000_000
SETTINGS = SimulatorSettings(
    tasks=16,
    api="both",
    media=("video", "audio", "document", "image"),
    uncertainty=True,
    fused=True,
    spread_s=3600,
    duration_s=(8.0, 12.0),
    processing_median_s=60,
    processing_sigma=0,
    key="right",
)
VIDEO = AsyncVideoInputRequest(media_source=MediaSource(url="https://media.example/dog.mp4"))

Sdk = Callable[..., Any]
"""Calls a method of `client.embed.v_2` by its dotted name; pages of a list come as one list."""


@asynccontextmanager
async def connected(kind: str, sim: Simulator) -> AsyncIterator[Sdk]:
    if kind == "sync":
        with httpx.Client(trust_env=False) as session:
            sync = TwelveLabs(base_url=sim.base_url, api_key="right", httpx_client=session).embed.v_2

            async def call(name: str, *arguments: Any, **named: Any) -> Any:
                found = await asyncio.to_thread(method(sync, name), *arguments, **named)
                return await asyncio.to_thread(list, found) if name == "tasks.list" else found

            yield call
    else:
        async with httpx.AsyncClient(trust_env=False) as http:
            both = AsyncTwelveLabs(base_url=sim.base_url, api_key="right", httpx_client=http).embed.v_2

            async def call_async(name: str, *arguments: Any, **named: Any) -> Any:
                found = await method(both, name)(*arguments, **named)
                return [one async for one in found] if name == "tasks.list" else found

            yield call_async


def method(client: Any, name: str) -> Any:
    group, _, last = name.rpartition(".")
    return getattr(client.tasks if group else client, last)


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("TWELVELABS_BASE_URL", raising=False)
    return str(request.param)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SETTINGS, clock=SimulatorClock(NOON, speed=0)) as simulator:
        yield simulator


@pytest.fixture
async def sdk(kind: str, sim: Simulator) -> AsyncIterator[Sdk]:
    async with connected(kind, sim) as client:
        yield client


def moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


@pytest.mark.parametrize("page_limit", [None, 5])
async def test_the_list_pages_through_every_task_of_both_versions(
    sdk: Sdk, sim: Simulator, page_limit: int | None
) -> None:
    listed = await sdk("tasks.list", page_limit=page_limit)
    assert [task.id for task in listed] == sim.catalogue.ids()[::-1]


async def test_a_listed_task_is_the_one_that_is_held(sdk: Sdk, sim: Simulator) -> None:
    sim.clock.advance(60)
    for listed in await sdk("tasks.list", status="ready"):
        held = sim.catalogue.task(listed.id)
        assert (listed.model_name, listed.status) == (held.request.model.name, sim.catalogue.status(held.task_id))
        assert listed.created_at == moment(held.created_at_ms)
        embedding = getattr(listed, f"{held.request.medium}_embedding")
        read = {name: one for name, one in embedding.metadata.dict().items() if one is not None}
        assert read == listed_metadata(held)


async def test_a_result_is_the_one_that_is_held(sdk: Sdk, sim: Simulator) -> None:
    sim.clock.advance(60)
    seen = set()
    for task_id in sim.catalogue.ids():
        task, held = sim.catalogue.task(task_id), sim.catalogue.embeddings(task_id)
        if task.request.version == "v1":
            continue
        seen.add(task.request.medium)
        answer = await sdk("tasks.retrieve", task_id)
        assert (answer.id, answer.status, answer.metadata.input_type) == (task_id, "ready", task.request.medium)
        assert (answer.usage is None) == (task.request.model.name == "marengo3.0")
        read = [
            (one.embedding_option, one.embedding_scope, one.start_sec, one.start_page_number, one.chunk_index)
            for one in answer.data
        ]
        assert read == [(one.option, one.scope, one.start_s, one.page, one.chunk) for one in held.places]
        assert [one.quadrant for one in answer.data] == [one.quadrant for one in held.places]
        received = np.array([one.embedding for one in answer.data], dtype=np.float32)
        np.testing.assert_array_equal(received, held.vectors, strict=True)
        if held.uncertainties is not None:
            uncertain = np.array([one.embedding_uncertainty for one in answer.data], dtype=np.float32)
            np.testing.assert_array_equal(uncertain, held.uncertainties, strict=True)
    assert seen == set(SETTINGS.media)


async def test_a_created_task_is_waited_for_and_retrieved(sdk: Sdk, sim: Simulator) -> None:
    created = await sdk(
        "tasks.create", input_type="video", model_name="marengo3.5", embedding_dimension=128, video=VIDEO
    )
    assert (created.status, created.data, created.metadata.embedding_dimension) == ("processing", None, 128)
    before = await sdk("tasks.retrieve", created.id)
    assert (before.status, before.data) == ("processing", None)
    sim.clock.advance(60)
    answer = await sdk("tasks.retrieve", created.id)
    assert (answer.status, answer.metadata.input_url) == ("ready", VIDEO.media_source.url)
    assert {len(one.embedding) for one in answer.data} == {128}


async def test_a_failed_task_tells_its_reason(sdk: Sdk, sim: Simulator) -> None:
    second = next(one for one in map(sim.catalogue.task, sim.catalogue.ids()) if one.request.version == "v2")
    task = sim.catalogue.hold(second.request, failure="No.", processing_s=0)
    answer = await sdk("tasks.retrieve", task.task_id)
    assert (answer.status, answer.data, answer.error.message) == ("failed", None, "No.")


async def test_a_query_is_embedded_at_once(sdk: Sdk) -> None:
    answer = await sdk("create", input_type="text", model_name="marengo3.0", text=TextInputRequest(input_text="dog"))
    (found,) = answer.data
    assert (len(found.embedding), found.embedding_option, answer.usage) == (512, None, None)


async def test_errors_are_those_that_the_sdk_knows(sdk: Sdk, sim: Simulator) -> None:
    with pytest.raises(BadRequestError) as refused:
        await sdk("tasks.create", input_type="document", model_name="marengo3.0")
    assert refused.value.body["error"]["code"] == "parameter_invalid"
    for unknown in ("66f537778d9641fe5a0d101f", sim.catalogue.ids()[0]):
        with pytest.raises(ApiError) as missing:
            await sdk("tasks.retrieve", unknown)
        assert (missing.value.status_code, missing.value.body["error"]["code"]) == (404, "resource_not_exists")


async def test_an_exceeded_limit_is_error_429(kind: str) -> None:
    settings = SimulatorSettings(requests_per_minute=1, header_scheme="tokens")
    async with Simulator(settings, clock=SimulatorClock(NOON, speed=0)) as sim, connected(kind, sim) as sdk:
        arguments: dict[str, Any] = {"input_type": "video", "model_name": "marengo3.0", "video": VIDEO}
        await sdk("tasks.create", **arguments)
        with pytest.raises(TooManyRequestsError) as caught:
            await sdk("tasks.create", **arguments)
    headers = caught.value.headers or {}
    assert (headers["retry-after"], headers["x-ratelimit-dimensions"]) == ("60", "Duration,Request,Token")
