"""The client on a real socket: what it sends, and what it makes of good answers."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from harvester.api.client import Client, ClientSettings
from harvester.api.decode.result import decode_retrieval
from harvester.domain.limits.endpoint import Endpoint, LimitReport, RateLimit
from harvester.domain.limits.quotas import Quota
from harvester.domain.tasks.outcomes import (
    InvalidRequest,
    NotFound,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
    Transient,
)
from harvester.domain.tasks.task import ApiVersion
from harvester.ports.api import Body
from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings
from harvester.throttle.memory_budget import MemoryBudget
from harvester.throttle.throttle import Throttle
from tests.support.raw_server import (
    KEY,
    NOON,
    TASK_ID,
    ask,
    body_of,
    client_of,
    code_of,
    encoding_of,
    listening,
    outcome_of,
    response_to,
    saying,
    unlimited,
    whole,
)

STATUS, RETRIEVE = Endpoint.STATUS, Endpoint.RETRIEVE


@asynccontextmanager
async def rehearsal(**settings: Any) -> AsyncIterator[tuple[Simulator, str]]:
    chosen: dict[str, Any] = {"tasks": 1, "age_s": 3_600, "key": KEY} | settings
    async with Simulator(SimulatorSettings(**chosen), clock=SimulatorClock(NOON, speed=0)) as sim:
        yield sim, sim.catalogue.ids()[0]


# Against the stand-in.


@pytest.mark.parametrize(("age_s", "expected"), [(3_600, Ready()), (0, Processing("processing"))])
async def test_a_status_is_asked(age_s: int, expected: object) -> None:
    async with rehearsal(age_s=age_s) as (sim, task_id), client_of(sim.base_url) as client:
        response = await ask(client, STATUS, task_id)
        assert (outcome_of(response), response.status, sim.requests.count("status")) == (expected, 200, 1)


@pytest.mark.parametrize("use_gzip", [True, False])
async def test_a_result_passes_through_undecoded(*, use_gzip: bool) -> None:
    async with rehearsal(gzip=use_gzip) as (sim, task_id), client_of(sim.base_url) as client:
        response = await ask(client, RETRIEVE, task_id)
        body, is_compressed = body_of(response), encoding_of(response) == "gzip"
        plain = gzip.decompress(body) if is_compressed else body
        assert outcome_of(response) is None
        assert (is_compressed, plain) == (use_gzip, sim.catalogue.document(task_id))


@pytest.mark.parametrize("use_gzip", [True, False])
async def test_of_the_memory_budget_is_held_what_was_sent_and_twice_the_vectors_of_it(*, use_gzip: bool) -> None:
    """Compressed, a body takes less than half the bytes on its way, and gives as many vectors."""
    async with rehearsal(gzip=use_gzip, duration_s=(1_800, 1_800)) as (sim, task_id), client_of(sim.base_url) as client:
        reservation = MemoryBudget(1 << 30).take()
        response = await client.fetch_task(task_id, unlimited().take(RETRIEVE), reservation)
        vectors = sim.catalogue.embeddings(task_id).vectors
        assert 1.0 <= reservation.size / (response.size + 2 * vectors.nbytes) < 1.2
        assert isinstance(response.content, Body)
        response.content.close()


async def test_a_result_decodes_to_what_the_stand_in_computed() -> None:
    async with rehearsal() as (sim, task_id), client_of(sim.base_url) as client:
        response = await ask(client, RETRIEVE, task_id)
        outcome = decode_retrieval(body_of(response), encoding_of(response), 1 << 20)
        assert isinstance(outcome, Retrieved)
        assert outcome.embeddings.vectors.tobytes() == sim.catalogue.embeddings(task_id).vectors.tobytes()


@pytest.mark.parametrize(
    ("endpoint", "version", "query"),
    [
        (RETRIEVE, "v1", "embedding_option=visual&embedding_option=visual-text"),
        (STATUS, "v1", ""),
        (RETRIEVE, "v2", ""),
    ],
)
async def test_only_a_retrieval_of_version_1_asks_for_options_and_the_response_says_whether_it_did(
    endpoint: Endpoint, version: ApiVersion, query: str
) -> None:
    async with listening(saying(whole(b"{}"))) as (place, server), client_of(f"http://{place}") as client:
        options = ("visual", "visual-text")
        response = await client.fetch_task(TASK_ID, unlimited().take(endpoint), version=version, options=options)
        target = server.heads[0].split()[1]
    assert target.partition("?")[2] == query
    assert response.options == (options if query else ())


async def test_an_unknown_task_is_gone() -> None:
    async with rehearsal() as (sim, _), client_of(sim.base_url) as client:
        message = f"Resource with id {TASK_ID} does not exist in embedding_tasks."
        assert outcome_of(await ask(client)) == NotFound(message, "resource_not_exists")


async def test_a_wrong_key_is_refused() -> None:
    async with rehearsal(key="another") as (sim, task_id), client_of(sim.base_url) as client:
        assert code_of(await ask(client, STATUS, task_id)) == (Refused, "api_key_invalid")


@pytest.mark.parametrize("header_scheme", ["older", "newer"])
async def test_a_429_blocks_its_class_and_no_other(header_scheme: str) -> None:
    throttle = unlimited()
    async with (
        rehearsal(requests_per_minute=1, header_scheme=header_scheme) as (sim, task_id),
        client_of(sim.base_url, throttle) as client,
    ):
        await ask(client, STATUS, task_id)
        sim.clock.advance(20)
        outcome = outcome_of(await ask(client, RETRIEVE, task_id))
    assert isinstance(outcome, Throttled)
    assert (outcome.retry_after_s, throttle.wait_s(RETRIEVE), throttle.wait_s(STATUS)) == (40.0, 40.0, 60.0)


async def test_an_exhausted_window_blocks_before_a_429_comes() -> None:
    throttle = unlimited()
    async with rehearsal(requests_per_minute=1) as (sim, task_id), client_of(sim.base_url, throttle) as client:
        await ask(client, STATUS, task_id)
    assert throttle.wait_s(STATUS) == 60.0


async def test_the_quota_is_that_of_the_message_where_the_reset_tells_less() -> None:
    throttle = unlimited()
    async with rehearsal(requests_per_day=1) as (sim, task_id), client_of(sim.base_url, throttle) as client:
        await ask(client, STATUS, task_id)
        sim.clock.advance(86_400 - 30)
        await ask(client, RETRIEVE, task_id)
    assert throttle.budget(RETRIEVE).quota == Quota(1, 86_400)


@pytest.mark.parametrize("header_scheme", ["older", "newer"])
async def test_the_last_request_of_a_window_is_kept_for_its_second_half(header_scheme: str) -> None:
    throttle = unlimited()
    async with (
        rehearsal(requests_per_minute=3, header_scheme=header_scheme) as (sim, task_id),
        client_of(sim.base_url, throttle) as client,
    ):
        await client.fetch_task(task_id, throttle.take(STATUS))
        first = throttle.wait_s(STATUS)
        await client.fetch_task(task_id, throttle.take(STATUS))
    assert (first, throttle.wait_s(STATUS), throttle.blocked_s(STATUS)) == (0.0, 30.0, 0.0)
    assert throttle.budget(STATUS).quota == Quota(3, 60)


async def test_a_success_that_was_sent_before_a_429_does_not_make_light_of_it() -> None:
    now = 1_000.0
    throttle = Throttle(RateLimit(0), lambda: now)
    async with rehearsal() as (sim, task_id), client_of(sim.base_url, throttle) as client:
        early = throttle.take(STATUS)
        waits = []
        for _ in range(3):
            throttle.learn(STATUS, 429, LimitReport())
            waits.append(throttle.wait_s(STATUS))
            now += waits[-1]
            await client.fetch_task(task_id, early if len(waits) == 1 else throttle.take(STATUS))
    assert waits == [1, 2, 1]


# Requests.


async def test_a_permit_works_once() -> None:
    permit = unlimited().take(STATUS)
    async with rehearsal() as (sim, task_id), client_of(sim.base_url) as client:
        await client.fetch_task(task_id, permit)
        with pytest.raises(RuntimeError):
            await client.fetch_task(task_id, permit)
        assert len(sim.requests) == 1


@pytest.mark.parametrize(
    "task_id", ["", "../admin", "a?b", "%2e%2e", "a/b", "x\r\nevil: 1", "x" * 129, "\udcff", KEY + "/"]
)
async def test_a_hostile_id_is_unacceptable_before_anything_is_sent(task_id: str) -> None:
    throttle = Throttle(RateLimit(60), lambda: 1_000.0)
    permit = throttle.take(STATUS)
    async with rehearsal() as (sim, _), client_of(sim.base_url, throttle) as client:
        response = await client.fetch_task(task_id, permit)
        assert code_of(response) == (InvalidRequest, "task_id_invalid")
        assert (response.duration_ms, response.status, len(sim.requests), KEY in repr(response)) == (0, None, 0, False)
        # One permit of one a second is gone: the next is due a second later.
        assert throttle.wait_s(STATUS) == 1.0
        with pytest.raises(RuntimeError):
            await client.fetch_task(task_id, permit)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("version", "endpoint", "path"),
    [
        ("v1", STATUS, "/v1.3/embed/tasks/a-B_9/status"),
        ("v1", RETRIEVE, "/v1.3/embed/tasks/a-B_9"),
        ("v2", STATUS, "/v1.3/embed-v2/tasks/a-B_9"),
        ("v2", RETRIEVE, "/v1.3/embed-v2/tasks/a-B_9"),
    ],
)
async def test_the_path_is_the_documented_one(version: str, endpoint: Endpoint, path: str, slash: str) -> None:
    async with listening(saying(whole(b"{}"))) as (place, raw):
        async with client_of(f"http://{place}{slash}", version=version) as client:
            await ask(client, endpoint, "a-B_9")
        assert raw.heads[0].partition("\r\n")[0] == f"GET {path} HTTP/1.1"


async def test_the_key_is_in_its_header_and_nowhere_else() -> None:
    async with listening(saying(whole(b"{}"))) as (place, raw):
        async with client_of(f"http://{place}") as client:
            await ask(client)
        lines = [line for line in raw.heads[0].splitlines() if KEY in line]
        assert lines == [f"x-api-key: {KEY}"]


async def test_only_gzip_is_asked_for() -> None:
    async with listening(saying(whole(b"{}"))) as (place, raw), client_of(f"http://{place}") as client:
        await ask(client)
        assert "\r\naccept-encoding: gzip\r\n" in raw.heads[0].lower()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with listening(saying(whole(b"{}"))) as (elsewhere, other):
        location = f"location: http://{elsewhere}/\r\n".encode()
        response = await response_to(saying(whole(b"", status=f"{status} Moved", headers=location)))
        assert (code_of(response), other.heads) == ((Transient, "redirect"), [])


async def test_cookies_are_not_kept() -> None:
    async with listening(saying(whole(b"{}", headers=b"set-cookie: a=b\r\n"))) as (place, raw):
        async with client_of(f"http://{place}") as client:
            await ask(client)
            await ask(client)
        assert "cookie" not in raw.heads[1].lower()


async def test_what_is_sent_again_on_a_stale_connection_is_charged() -> None:
    throttle, answers = Throttle(RateLimit(60), lambda: 1_000.0), iter([whole(b"{}"), b"", whole(b"{}")])

    async def answering(writer: asyncio.StreamWriter) -> None:
        sent = next(answers)
        writer.write(sent)
        if not sent:
            writer.close()

    async with listening(answering) as (place, raw), client_of(f"http://{place}", throttle) as client:
        for _ in range(2):
            await ask(client)
        assert (len(raw.heads), throttle.wait_s(STATUS)) == (3, 1.0)


# Answers.


async def test_in_v2_a_status_call_brings_the_result() -> None:
    body = b'{"_id":"1","status":"ready","data":[{"embedding":[0.5]}]}'
    response = await response_to(saying(whole(body)), STATUS, version="v2")
    assert (outcome_of(response), body_of(response)) == (None, body)


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "503 Service Unavailable"])
async def test_the_trace_id_is_kept(status: str) -> None:
    response = await response_to(saying(whole(b"{}", status=status, headers=b"X-Trace-Id: 5f1c6f\r\n")))
    assert response.trace_id == "5f1c6f"


async def test_a_key_that_is_no_secret_may_be_in_an_answer() -> None:
    # The demo's key begins the name of each file in the stand-in's answers.
    async with rehearsal(key=None) as (sim, task_id):
        async with Client(ClientSettings(sim.base_url), lambda: "rehearsal", unlimited(), lambda: NOON) as client:
            response = await ask(client, RETRIEVE, task_id)
        assert isinstance(decode_retrieval(body_of(response), encoding_of(response), 1 << 20), Retrieved)
