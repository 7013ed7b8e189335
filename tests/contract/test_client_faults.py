"""The client against servers that do not keep to the rules: every fault is an outcome, and bounded."""

import asyncio
import gzip
import random
import socket
import struct
import tracemalloc

import aiohttp
import orjson
import pytest

from harvester.api.client import MAX_ANSWER_S, MAX_ERROR_BYTES, ClientSettings
from harvester.api.decode.result import decode_retrieval
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.list_reader import ListQuery
from harvester.domain.tasks.outcomes import Invalid, Throttled, Transient
from tests.support.raw_server import (
    KEY,
    Answering,
    ask,
    body_of,
    client_of,
    code_of,
    encoding_of,
    listening,
    outcome_of,
    response_to,
    saying,
    silent,
    unlimited,
    whole,
)

STATUS, RETRIEVE = Endpoint.STATUS, Endpoint.RETRIEVE
CHUNK = b"10000\r\n" + bytes(0x10000) + b"\r\n"


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(CHUNK)
        await writer.drain()


@pytest.mark.parametrize(("endpoint", "expected"), [(RETRIEVE, Invalid), (STATUS, Transient)])
async def test_an_endless_body_is_stopped_at_the_cap(endpoint: Endpoint, expected: type) -> None:
    cap = 1 << 20
    tracemalloc.start()
    try:
        response = await response_to(endless, endpoint, max_body_bytes=cap)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (code_of(response), body_of(response), peak < 4 * cap) == ((expected, "body_too_large"), b"", True)


async def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n"
    assert code_of(await response_to(saying(head, close=False))) == (Invalid, "body_too_large")


@pytest.mark.parametrize(
    ("status", "expected"),
    [("401 Unauthorized", Transient), ("404 Not Found", Transient), ("429 Slow", Throttled), ("503 Busy", Transient)],
)
async def test_an_error_with_a_huge_page_is_still_that_error(status: str, expected: type) -> None:
    page = b"<html>" + b"x" * 4 * MAX_ERROR_BYTES
    response = await response_to(saying(whole(page, status=status)))
    assert (type(outcome_of(response)), response.size, body_of(response)) == (expected, MAX_ERROR_BYTES, b"")


READY = orjson.dumps({"_id": "1", "status": "ready", "data": [{"embedding": [0.5]}]})


async def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST instead of a FIN."""
    writer.write(whole(READY)[:-5])
    await writer.drain()
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize(
    ("answering", "code"),
    [
        (reset, "connection_lost"),
        (saying(whole(READY)[:-5]), "connection_lost"),
        (saying(b""), "connection_lost"),
        (saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}"), "connection_lost"),
        (saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n"), "protocol_error"),
        (saying(b"\x16\x03\x01 garbage\r\n\r\n"), "protocol_error"),
        (saying(b"HTTP/1.1 OK\r\n\r\n"), "protocol_error"),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n"), "protocol_error"),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}"), "protocol_error"),
        (saying(whole(READY, headers=b"x-huge: " + b"x" * 100_000 + b"\r\n")), "protocol_error"),
    ],
)
async def test_a_broken_answer_is_transient(answering: Answering, code: str) -> None:
    assert code_of(await response_to(answering)) == (Transient, code)


@pytest.mark.parametrize("cut", range(1, len(READY), 7))
async def test_a_body_without_a_length_that_was_cut_is_transient(cut: int) -> None:
    response = await response_to(saying(b"HTTP/1.1 200 OK\r\n\r\n" + READY[:cut]))
    assert isinstance(decode_retrieval(body_of(response), encoding_of(response), 1 << 20), Transient)


async def test_a_length_that_is_too_small_does_not_poison_the_next_answer() -> None:
    lying = whole(READY[:10]) + READY[10:]
    async with listening(saying(lying, close=False)) as (place, _), client_of(f"http://{place}") as client:
        responses = [await ask(client) for _ in range(3)]
    bodies = {body_of(response) for response in responses}
    assert bodies <= {READY[:10], b""}


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", whole(READY)[:-5]])
async def test_an_answer_that_stalls_is_given_up(sent: bytes) -> None:
    response = await response_to(saying(sent, close=False), read_timeout_s=0.2)
    assert code_of(response) == (Transient, "read_timeout")


async def dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def dripping_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("answering", [dripping, dripping_head])
@pytest.mark.parametrize("endpoint", [STATUS, RETRIEVE])
async def test_an_answer_that_drips_for_ever_is_given_up(answering: Answering, endpoint: Endpoint) -> None:
    async with asyncio.timeout(60):
        response = await response_to(answering, endpoint, max_answer_s=0.3)
    assert (code_of(response), response.duration_ms >= 300) == ((Transient, "read_timeout"), True)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, MAX_ANSWER_S), ({"read_timeout_s": 600.0}, 6_000.0), ({"max_answer_s": 0.3}, 0.3)],
)
async def test_every_answer_is_bounded_in_time(settings: dict[str, float], expected: float) -> None:
    assert ClientSettings("http://127.0.0.1", **settings).answer_timeout_s == expected  # type: ignore[arg-type]


async def test_a_connection_that_is_not_made_in_time_is_given_up() -> None:
    # The handshake of TLS belongs to it, and this server never answers one.
    async with listening(silent) as (place, _), client_of(f"https://{place}", connect_timeout_s=0.2) as client:
        assert code_of(await ask(client)) == (Transient, "connect_timeout")


async def test_a_server_without_tls_is_not_trusted() -> None:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answering, "127.0.0.1", 0)
    async with server, client_of(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        assert code_of(await ask(client)) == (Transient, "tls_failed")


async def test_a_refused_connection_is_transient() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with client_of(f"http://127.0.0.1:{unused.getsockname()[1]}") as client:
            assert code_of(await ask(client)) == (Transient, "connect_failed")


async def test_a_host_that_has_no_address_is_transient() -> None:
    async with client_of("http://harvester.invalid/v1.3") as client:
        assert code_of(await ask(client)) == (Transient, "name_lookup_failed")


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientError(),
        aiohttp.http.HttpProcessingError(),
        OSError(),
        TimeoutError(),
        ValueError(),
        UnicodeError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_exception_slips_through(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    async with client_of("http://127.0.0.1:9") as client:
        monkeypatch.setattr(client._session, "get", failing)
        assert isinstance(outcome_of(await ask(client)), Transient)


async def test_the_key_is_in_nothing_that_can_be_printed() -> None:
    # aiohttp's exception for this answer holds the request with all its headers.
    answering = saying(whole(b"{}", headers=b"x-huge: " + b"x" * 100_000 + b"\r\n"))
    async with listening(answering) as (place, raw), client_of(f"http://{place}") as client:
        response = await ask(client)
        parts = (client, vars(client), client._session, client._session.headers, response)
        assert ([part for part in parts if KEY in repr(part)], KEY in raw.heads[0]) == ([], True)


# Text that no database takes.


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "503 Busy"])
@pytest.mark.parametrize("endpoint", [STATUS, RETRIEVE])
async def test_headers_that_are_not_utf_8_become_clean_text(status: str, endpoint: Endpoint) -> None:
    headers = b"x-trace-id: caf\xe9\r\ncontent-encoding: \xff\r\nretry-after: \xff\r\ndate: \xff\r\n"
    response = await response_to(saying(whole(b"\x03" + READY, status=status, headers=headers)), endpoint)
    # An answer that the client has read keeps no body, so no encoding of one.
    has_body = (status, endpoint) == ("200 OK", RETRIEVE)
    assert (response.trace_id, encoding_of(response)) == ("caf?", "?" if has_body else None)
    repr(response).encode()
    getattr(outcome_of(response), "message", "").encode()


@pytest.mark.parametrize("error", [OSError(5, "caf\udce9"), aiohttp.ClientError("\udcff"), ValueError("\udcff")])
async def test_the_reason_of_an_exception_becomes_clean_text(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    async with client_of("http://127.0.0.1:9") as client:
        monkeypatch.setattr(client._session, "get", failing)
        outcome = outcome_of(await ask(client))
    assert isinstance(outcome, Transient)
    outcome.message.encode()


# Answers that repeat the request.

ECHO = orjson.dumps({"status": "failed", "message": f"Received x-api-key: {KEY}.", "data": []})
NOISE = random.Random(1).randbytes(1 << 21)


GZIP = b"content-encoding: gzip\r\n"
ECHOES = {
    "plain": (ECHO, b""),
    "large": (b"x" * 3_000_000 + ECHO, b""),
    "gzip": (gzip.compress(ECHO), GZIP),
    "second member": (gzip.compress(b"{}") + gzip.compress(ECHO), b"content-encoding: GZIP\r\n"),
    "gzip 1 MB": (gzip.compress(b" " * 1_000_000 + ECHO), GZIP),
    "large gzip": (gzip.compress(b" " * 60_000 + ECHO + NOISE), GZIP),
    "unknown encoding": (gzip.compress(ECHO, 0), b"content-encoding: br\r\n"),
}


@pytest.mark.parametrize(
    ("body", "headers", "endpoint", "version"),
    [
        # Each body once, and one of them in each call of each version.
        *(pytest.param(*echo, RETRIEVE, "v1", id=name) for name, echo in ECHOES.items()),
        *((*ECHOES["gzip"], *call) for call in ((STATUS, "v1"), (STATUS, "v2"), (RETRIEVE, "v2"))),
    ],
)
async def test_an_answer_that_repeats_the_key_is_not_kept(
    body: bytes, headers: bytes, endpoint: Endpoint, version: str
) -> None:
    response = await response_to(saying(whole(body, headers=headers)), endpoint, version=version)
    assert (code_of(response), body_of(response), encoding_of(response)) == ((Transient, "key_echoed"), b"", None)
    assert response.size == len(body)


ESCAPED_KEY = "".join(f"\\u{ord(character):04x}" for character in KEY).encode()


@pytest.mark.parametrize(
    "body",
    [
        ECHO,
        gzip.compress(ECHO),
        b'{"data":[{"_id":"66f537778d9641fe5a0d101f","status":"ready","model_name":"%s"}]}' % ESCAPED_KEY,
        b'{"data":[{"_id":"66f537778d9641fe5a0d101f","status":"failed","message":"%s"}]}' % ESCAPED_KEY,
    ],
    ids=["plain", "gzip", "escaped", "escaped reason"],
)
async def test_a_list_that_repeats_the_key_is_not_kept(body: bytes) -> None:
    headers = b"content-encoding: gzip\r\n" if body.startswith(b"\x1f\x8b") else b""
    async with (
        listening(saying(whole(body, headers=headers))) as (place, _),
        client_of(f"http://{place}") as client,
    ):
        page = await client.list_tasks(ListQuery(started_at_ms=0), unlimited().take(Endpoint.LIST))
    assert page == Transient("The answer repeats the API key.", "key_echoed")


@pytest.mark.parametrize(
    ("status", "places", "packed"),
    [
        *(
            (status, "message", False)
            for status in ("200 OK", "400 Bad Request", "404 Not Found", "502 Busy", "302 Found")
        ),
        *(("200 OK", "code", False), ("200 OK", "message", True), ("404 Not Found", "code", True)),
    ],
)
async def test_the_key_is_in_no_part_of_a_response(status: str, places: str, *, packed: bool) -> None:
    body = orjson.dumps({"code": "x", "message": "y"} | {places: f"{'.' * 40}{KEY}{'.' * 500}"})
    headers = b"x-trace-id: " + b"t" * 110 + KEY.encode() + b"\r\n"
    if packed:
        body, headers = gzip.compress(body), headers + b"content-encoding: gzip\r\n"
    response = await response_to(saying(whole(body, status=status, headers=headers)))
    # Also not the part of it that is left where a text is cut.
    for text in (repr(response), repr(body_of(response)), repr(gunzipped(body_of(response)))):
        assert KEY[:8] not in text


@pytest.mark.parametrize("status", ["404 Not Found", "302 Found"])
@pytest.mark.parametrize("message", ["no key", KEY])
@pytest.mark.parametrize("packed", [False, True])
async def test_an_error_counts_the_bytes_that_were_sent_and_keeps_none_of_them(
    status: str, message: str, *, packed: bool
) -> None:
    body, headers = orjson.dumps({"code": "x", "message": f"Received {message}." + "." * 500}), b""
    if packed:
        body, headers = gzip.compress(body), b"content-encoding: gzip\r\n"
    response = await response_to(saying(whole(body, status=status, headers=headers)))
    assert (response.size, body_of(response), encoding_of(response)) == (len(body), b"", None)


@pytest.mark.parametrize("dots", range(470, 500, 3))
@pytest.mark.parametrize("text", ["message", "reason"])
async def test_a_message_that_is_cut_within_the_key_does_not_show_its_beginning(
    dots: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Escaped, the key is not found in the body; only in the message.
    escaped = "".join(f"\\u{ord(character):04x}" for character in KEY)
    body = f'{{"code": "x", "message": "{"." * dots}{escaped}"}}'.encode()

    def failing(*_: object, **__: object) -> None:
        raise OSError("." * dots + KEY)

    async with (
        listening(saying(whole(body, status="500 Sorry"))) as (place, _),
        client_of(f"http://{place}") as client,
    ):
        if text == "reason":
            monkeypatch.setattr(client._session, "get", failing)
        response = await ask(client)
    assert KEY[:8] not in repr(response)


def gunzipped(body: bytes) -> bytes:
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
