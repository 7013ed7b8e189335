"""The client against servers that do not keep to the rules: every fault is an outcome, and bounded."""

import asyncio
import socket
import struct
import tracemalloc

import aiohttp
import orjson
import pytest

from harvester.api.client import MAX_ERROR_BYTES
from harvester.api.decoding import decode_retrieval
from harvester.domain.outcomes import Invalid, Refused, Throttled, Transient
from harvester.domain.pacing import Endpoint
from tests.contract.raw_server import (
    KEY,
    Answering,
    ask,
    client_of,
    code_of,
    listening,
    reply_to,
    saying,
    silent,
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
        reply = await reply_to(endless, endpoint, max_body_bytes=cap)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (code_of(reply), reply.body, peak < 4 * cap) == ((expected, "body_too_large"), b"", True)


async def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n"
    assert code_of(await reply_to(saying(head, close=False))) == (Invalid, "body_too_large")


@pytest.mark.parametrize(
    ("status", "expected"),
    [("401 Unauthorized", Refused), ("404 Not Found", Transient), ("429 Slow", Throttled), ("503 Busy", Transient)],
)
async def test_an_error_with_a_huge_page_is_still_that_error(status: str, expected: type) -> None:
    page = b"<html>" + b"x" * 4 * MAX_ERROR_BYTES
    reply = await reply_to(saying(whole(page, status=status)))
    assert (type(reply.outcome), len(reply.body)) == (expected, MAX_ERROR_BYTES)


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
    assert code_of(await reply_to(answering)) == (Transient, code)


@pytest.mark.parametrize("cut", range(1, len(READY), 7))
async def test_a_body_without_a_length_that_was_cut_is_transient(cut: int) -> None:
    reply = await reply_to(saying(b"HTTP/1.1 200 OK\r\n\r\n" + READY[:cut]))
    assert isinstance(decode_retrieval(reply.body, reply.encoding, 1 << 20), Transient)


async def test_a_length_that_is_too_small_does_not_poison_the_next_answer() -> None:
    lying = whole(READY[:10]) + READY[10:]
    async with listening(saying(lying, close=False)) as (place, _), client_of(f"http://{place}") as client:
        replies = [await ask(client) for _ in range(3)]
    bodies = {reply.body for reply in replies}
    assert bodies <= {READY[:10], b""}


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", whole(READY)[:-5]])
async def test_an_answer_that_stalls_is_given_up(sent: bytes) -> None:
    reply = await reply_to(saying(sent, close=False), read_timeout_s=0.2)
    assert (code_of(reply), reply.duration_ms < 2_000) == ((Transient, "read_timeout"), True)


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
        assert isinstance((await ask(client)).outcome, Transient)


async def test_the_key_is_in_nothing_that_can_be_printed() -> None:
    # aiohttp's exception for this answer holds the request with all its headers.
    answering = saying(whole(b"{}", headers=b"x-huge: " + b"x" * 100_000 + b"\r\n"))
    async with listening(answering) as (place, raw), client_of(f"http://{place}") as client:
        reply = await ask(client)
        parts = (client, vars(client), client._session, client._session.headers, reply)
        assert ([part for part in parts if KEY in repr(part)], KEY in raw.heads[0]) == ([], True)
