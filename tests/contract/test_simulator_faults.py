"""The stand-in's misbehaviour, seen from a client: each kind does what its name says, and it is on record."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from harvester.simulator import Fault, Simulator, SimulatorClock, SimulatorSettings
from harvester.simulator.faults.kinds import KINDS

NOON = 1_700_000_000


@asynccontextmanager
async def faulty(
    *faults: Fault, tasks: int = 3, patience_s: float = 60, **settings: Any
) -> AsyncIterator[tuple[Simulator, aiohttp.ClientSession]]:
    chosen = SimulatorSettings(tasks=tasks, age_s=3600, processing_median_s=0, duration_s=(12, 12), **settings)
    headers = {"x-api-key": "tlk_0123456789", "accept-encoding": "identity"}
    async with (
        Simulator(chosen, clock=SimulatorClock(NOON, speed=0), faults=faults) as simulator,
        aiohttp.ClientSession(
            simulator.base_url + "/", headers=headers, auto_decompress=False, timeout=aiohttp.ClientTimeout(patience_s)
        ) as http,
    ):
        yield simulator, http


async def retrieve(http: aiohttp.ClientSession, simulator: Simulator) -> tuple[aiohttp.ClientResponse, bytes]:
    async with http.get(f"embed/tasks/{simulator.catalogue.ids()[0]}", allow_redirects=False) as answer:
        return answer, await answer.read()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("reset", aiohttp.ClientPayloadError),
        ("length_too_large", aiohttp.ClientPayloadError),
        ("length_over_any_cap", TimeoutError),
        ("not_http", aiohttp.ClientResponseError),
        ("stall", TimeoutError),
        ("silence", TimeoutError),
        ("endless_body", TimeoutError),
        ("dropped", aiohttp.ServerDisconnectedError),
    ],
)
async def test_a_broken_connection_is_broken_in_its_own_way(kind: str, expected: type[Exception]) -> None:
    async with faulty(Fault(kind=kind), patience_s=1 if expected is TimeoutError else 60) as (simulator, http):
        with pytest.raises(expected):
            await retrieve(http, simulator)
        assert {(one.fault, one.status) for one in simulator.requests} == {(kind, 200)}
        async with http.get(simulator.root_url + "/simulator/faults") as answer:
            assert await answer.json() == {kind: len(simulator.requests)}


@pytest.mark.parametrize("kind", ["cut_without_length", "length_too_small"])
async def test_a_body_that_is_cut_looks_whole_to_a_client(kind: str) -> None:
    async with faulty(Fault(kind=kind)) as (simulator, http):
        answer, body = await retrieve(http, simulator)
        whole = simulator.catalogue.document(simulator.catalogue.ids()[0])
        assert (answer.status, body) == (200, whole[: len(whole) // 2])


async def test_a_gzip_stream_that_is_cut_has_the_length_it_says() -> None:
    async with faulty(Fault(kind="cut_gzip")) as (simulator, http):
        answer, body = await retrieve(http, simulator)
        stream = zlib.decompressobj(31)
        begun = stream.decompress(body)
        assert (answer.headers["content-encoding"], stream.eof) == ("gzip", False)
        assert simulator.catalogue.document(simulator.catalogue.ids()[0]).startswith(begun)


async def test_an_answer_that_drips_is_whole() -> None:
    async with faulty(Fault(kind="drip", value="0.1")) as (simulator, http):
        _, body = await retrieve(http, simulator)
        assert body == simulator.catalogue.document(simulator.catalogue.ids()[0])


async def test_a_bomb_is_small_on_the_wire() -> None:
    async with faulty(Fault(kind="bomb", value="8"), gzip=True) as (simulator, http):
        _, body = await retrieve(http, simulator)
        assert (len(body) < 20_000, len(zlib.decompressobj(31).decompress(body))) == (True, (8 << 20) + 6)


@pytest.mark.parametrize(
    ("value", "stated"),
    [("7", "7"), ("date+30", "Tue, 14 Nov 2023 22:13:50 GMT"), ("-5", "-5"), ("soon", "soon"), ("", None)],
)
async def test_a_refusal_tells_the_time_that_the_rule_says(value: str, stated: str | None) -> None:
    async with faulty(Fault(kind="throttled", value=value), requests_per_minute=9) as (simulator, http):
        answer, _ = await retrieve(http, simulator)
        assert (answer.status, answer.headers.get("retry-after")) == (429, stated)
        assert answer.headers["x-ratelimit-remaining"] == "8"


async def test_a_problem_has_the_status_of_the_rule() -> None:
    async with faulty(Fault(kind="problem", status=403, value="Not you.")) as (simulator, http):
        answer, body = await retrieve(http, simulator)
        assert (answer.status, orjson.loads(body)) == (403, {"code": "api_not_allowed", "message": "Not you."})


async def test_a_redirect_names_its_target() -> None:
    async with faulty(Fault(kind="redirect", value="https://other.invalid/x", status=307)) as (simulator, http):
        answer, _ = await retrieve(http, simulator)
        assert (answer.status, answer.headers["location"]) == (307, "https://other.invalid/x")


async def test_the_key_is_repeated_plainly_or_escaped() -> None:
    async with faulty(Fault(kind="key_echoed", times=1), Fault(kind="key_escaped")) as (simulator, http):
        bodies = [(await retrieve(http, simulator))[1] for _ in range(2)]
        assert [b"tlk_0123456789" in body for body in bodies] == [True, False]
        assert [orjson.loads(body)["asked_with"] for body in bodies] == ["tlk_0123456789"] * 2


async def pages(http: aiohttp.ClientSession, count: int) -> list[Any]:
    answers = []
    for page in range(1, count + 1):
        async with http.get("embed/tasks", params={"page": page, "page_limit": 2}) as answer:
            answers.append(orjson.loads(await answer.read()))
    return answers


async def test_a_list_that_shifts_shows_a_task_twice() -> None:
    async with faulty(Fault(kind="list_shifts"), tasks=4) as (simulator, http):
        ids = simulator.catalogue.ids()
        shown = [one["_id"] for page in await pages(http, 2) for one in page["data"]]
        assert shown == [ids[3], ids[2], ids[2], ids[1]]


async def test_an_endless_list_repeats_its_first_page() -> None:
    async with faulty(Fault(kind="endless_list"), tasks=4) as (_, http):
        first, _, third = await pages(http, 3)
        assert (first["data"], third["page_info"]["page"]) == (third["data"], 3)
        assert third["page_info"]["total_results"] > 1_000


@pytest.mark.parametrize(("kind", "claimed"), [("total_page_too_small", 1), ("total_page_too_large", 1_000_000)])
async def test_a_list_lies_about_its_length(kind: str, claimed: int) -> None:
    async with faulty(Fault(kind=kind), tasks=4) as (_, http):
        (page,) = await pages(http, 1)
        assert (len(page["data"]), page["page_info"]["total_page"]) == (2, claimed)


ANSWERED = {
    name: kind
    for name, kind in KINDS.items()
    if "retrieve" in kind.endpoints and 11 <= kind.rows[0] < 35 and name not in ("endless_body", "length_over_any_cap")
}


@pytest.mark.parametrize("kind", ANSWERED)
async def test_every_other_kind_changes_the_answer_and_can_be_compressed(kind: str) -> None:
    async with faulty(Fault(kind=kind, value="8")) as (simulator, http):
        _, body = await retrieve(http, simulator)
        http.headers["accept-encoding"] = "gzip"
        _, packed = await retrieve(http, simulator)
        assert body != simulator.catalogue.document(simulator.catalogue.ids()[0])
        assert kind == "bomb" or gzip.decompress(packed) == body
        assert simulator.faults.served == {kind: 2}


async def sent(simulator: Simulator, *, is_whole: Callable[[bytes], bool] = lambda _received: False) -> bytes:
    """Return the bytes that come for one request, until the connection ends or the answer is whole."""
    (task_id,) = simulator.catalogue.ids()[:1]
    url = URL(simulator.base_url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"GET {url.path}/embed/tasks/{task_id} HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\n\r\n".encode())
    received = b""
    async with asyncio.timeout(60):
        while not is_whole(received) and (piece := await reader.read(1 << 16)):
            received += piece
    writer.close()
    return received


@pytest.mark.parametrize(
    ("kind", "follows"),
    [
        ("late_copy", b"HTTP/1.1 200 OK"),
        ("doubled", b"HTTP/1.1 200 OK"),
        ("stray_404", b"HTTP/1.1 404 Not Found"),
        ("stray_408", b"HTTP/1.1 408 Request Timeout"),
        ("stray_100", b"HTTP/1.1 100 Continue"),
    ],
)
async def test_something_follows_the_right_answer(kind: str, follows: bytes) -> None:
    async with faulty(Fault(kind=kind), key="") as (simulator, _):
        document = simulator.catalogue.document(simulator.catalogue.ids()[0])
        last = document if kind in ("late_copy", "doubled") else follows
        received = await sent(simulator, is_whole=lambda received: last in received.partition(document)[2])
        first, _, rest = received.partition(document)
        assert (first.startswith(b"HTTP/1.1 200 OK"), rest.startswith(follows)) == (True, True)


@pytest.mark.parametrize(
    ("kind", "holds"),
    [("early_hints", b"HTTP/1.1 103 Early Hints"), ("doubled_length", b"\r\ncontent-length: %d\r\ncontent-length: %d")],
)
async def test_an_unusual_answer_is_the_right_one(kind: str, holds: bytes) -> None:
    async with faulty(Fault(kind=kind), key="") as (simulator, _):
        received = await sent(simulator)
        document = simulator.catalogue.document(simulator.catalogue.ids()[0])
        assert received.endswith(document)
        assert (holds % (len(document), len(document)) if b"%" in holds else holds) in received


@pytest.mark.parametrize(("kind", "stated"), [("blocked", b"Access denied"), ("busy", b"Maintenance")])
async def test_something_before_the_api_refuses(kind: str, stated: bytes) -> None:
    async with faulty(Fault(kind=kind)) as (simulator, http):
        answer, body = await retrieve(http, simulator)
        expected = (403, None) if kind == "blocked" else (503, "1")
        assert (answer.status, answer.headers.get("retry-after"), stated in body) == (*expected, True)


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.endpoints == ("retrieve",)])
async def test_a_result_that_is_not_there_yet_cannot_be_spoilt(kind: str) -> None:
    async with faulty(Fault(kind=kind), failed_ratio=1) as (simulator, http):
        _, body = await retrieve(http, simulator)
        assert orjson.loads(body)["status"] == "failed"
        assert simulator.faults.served == {}
