"""Which answer belongs to which request: connections that are out of step are not used again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from harvester.api.client import Client
from harvester.api.connections import MAX_HEAD_BYTES, with_one_length
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.tasks.outcomes import Misrouted, Processing, Ready, Transient
from tests.support.raw_server import TASK_ID, ask, client_of, code_of, listening, outcome_of, saying, unlimited, whole

OTHER_ID = "66f537778d9641fe5a0d1020"
STATUS, RETRIEVE = Endpoint.STATUS, Endpoint.RETRIEVE


def status_of(task_id: str, status: str = "processing") -> bytes:
    return whole(orjson.dumps({"_id": task_id, "status": status}))


class Counting:
    """A server that answers rightly, then writes `extra` on the connection; it counts connections and requests."""

    def __init__(self, extra: bytes, *, answer: bytes | None = None) -> None:
        self.answer = status_of(TASK_ID) if answer is None else answer
        self.extra = extra
        self.requests: list[list[str]] = []
        self.ended: list[asyncio.Event] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads: list[str] = []
        ended = asyncio.Event()
        self.requests.append(heads)
        self.ended.append(ended)
        try:
            while True:
                heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                writer.write(self.answer)
                await writer.drain()
                # Not in the same segment: the answer is complete before this comes.
                await asyncio.sleep(0.01)
                writer.write(self.extra)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            ended.set()


@asynccontextmanager
async def counting(extra: bytes = b"", answer: bytes | None = None) -> AsyncIterator[tuple[Counting, Client]]:
    counter = Counting(extra, answer=answer)
    server = await asyncio.start_server(counter.connected, "127.0.0.1", 0)
    async with client_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1.3") as client:
        try:
            yield counter, client
        finally:
            server.close()


async def test_a_connection_that_is_in_step_is_kept() -> None:
    async with counting() as (counter, client):
        for _ in range(3):
            assert outcome_of(await ask(client, STATUS)) == Processing()
    assert [len(heads) for heads in counter.requests] == [3]


@pytest.mark.parametrize(
    "extra",
    [
        status_of(OTHER_ID),
        whole(b'{"code":"resource_not_exists","message":"No."}', status="404 Not Found"),
        b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"\r\n",
        b"garbage",
        b"0",
    ],
)
async def test_whatever_arrives_on_an_idle_connection_ends_it(extra: bytes) -> None:
    async with counting(extra) as (counter, client):
        for _ in range(3):
            assert outcome_of(await ask(client, STATUS)) == Processing()
            await counter.ended[-1].wait()
    assert [len(heads) for heads in counter.requests] == [1, 1, 1]


async def test_bytes_that_the_event_loop_has_not_read_yet_end_the_connection_too() -> None:
    async with counting(status_of(OTHER_ID)) as (counter, client):
        await ask(client, STATUS)
        (wire,) = [proto for conns in client._session.connector._conns.values() for proto, _ in conns]  # type: ignore[union-attr]
        # The kernel holds the late copy, and nothing reads it.
        wire.transport.pause_reading()  # type: ignore[union-attr]
        await asyncio.sleep(0.03)
        assert outcome_of(await ask(client, STATUS)) == Processing()
    assert [len(heads) for heads in counter.requests] == [1, 1]


@pytest.mark.parametrize("code", [100, 102, 103])
async def test_a_connection_with_interim_answers_is_not_kept(code: int) -> None:
    answer = b"HTTP/1.1 %d Interim\r\n\r\n" % code + status_of(TASK_ID)
    async with counting(answer=answer) as (counter, client):
        for _ in range(2):
            assert outcome_of(await ask(client, STATUS)) == Processing()
    assert [len(heads) for heads in counter.requests] == [1, 1]


@pytest.mark.parametrize("answer", [status_of(OTHER_ID), status_of(OTHER_ID, "ready"), status_of(OTHER_ID, "failed")])
async def test_a_status_of_another_task_says_nothing_and_ends_the_connection(answer: bytes) -> None:
    async with counting(answer=answer) as (counter, client):
        outcomes = [outcome_of(await ask(client, STATUS)) for _ in range(2)]
    expected = Misrouted(OTHER_ID, f"The answer names another task: {OTHER_ID}.")
    assert (outcomes, [len(heads) for heads in counter.requests]) == ([expected, expected], [1, 1])


async def test_a_result_of_another_task_ends_the_connection() -> None:
    async with counting(answer=status_of(OTHER_ID)) as (counter, client):
        responses = [await ask(client, RETRIEVE) for _ in range(2)]
    assert [outcome_of(response) for response in responses] == [None, None]
    assert [len(heads) for heads in counter.requests] == [1, 1]


async def test_a_page_of_another_number_is_asked_for_again_on_a_fresh_connection() -> None:
    """If it comes there, too, that is how the server counts, and it is asked no more."""
    async with counting(answer=whole(b'{"data":[],"page_info":{"page":7}}')) as (counter, client):
        query = ListQuery(started_at_ms=0)
        answers = [await client.list_tasks(query, unlimited().take(Endpoint.LIST)) for _ in range(3)]
    expected = Transient("Page 1 was asked for, and page 7 came.", "another_page")
    assert (answers[0], [type(one) for one in answers[1:]]) == (expected, [ListPage, ListPage])
    assert [len(heads) for heads in counter.requests] == [2, 1]


async def test_an_id_in_another_case_is_the_same() -> None:
    async with counting(answer=status_of(TASK_ID.upper(), "ready")) as (_, client):
        assert outcome_of(await ask(client, STATUS)) == Ready()


async def test_a_fresh_request_has_a_connection_of_its_own() -> None:
    async with counting() as (counter, client):
        await ask(client, STATUS)
        for _ in range(2):
            response = await client.fetch_task(TASK_ID, unlimited().take(STATUS), is_fresh=True)
            assert outcome_of(response) == Processing()
            await counter.ended[-1].wait()
        await ask(client, STATUS)
    assert [len(heads) for heads in counter.requests] == [2, 1, 1]


@pytest.mark.parametrize(
    ("version", "endpoint", "path", "is_decoded"),
    [
        ("v2", STATUS, f"/v1.3/embed-v2/tasks/{TASK_ID}", False),
        ("v2", RETRIEVE, f"/v1.3/embed-v2/tasks/{TASK_ID}", False),
        ("v1", STATUS, f"/v1.3/embed/tasks/{TASK_ID}/status", True),
        (None, STATUS, f"/v1.3/embed/tasks/{TASK_ID}/status", True),
    ],
)
async def test_a_request_can_go_to_the_other_version(
    version: str | None, endpoint: Endpoint, path: str, *, is_decoded: bool
) -> None:
    async with counting() as (counter, client):
        response = await client.fetch_task(TASK_ID, unlimited().take(endpoint), version=version)  # type: ignore[arg-type]
    assert (counter.requests[0][0].split()[1], outcome_of(response) is not None) == (path, is_decoded)


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %s\r\n" % (number, b"y" * 60_000) for number in range(9)),
        b"HTTP/1.1 100 Continue\r\n\r\n" * (2 * MAX_HEAD_BYTES // 25),
    ],
)
async def test_headers_are_bounded(sent: bytes) -> None:
    async with listening(saying(sent, close=False)) as (place, _), client_of(f"http://{place}") as client:
        response = await ask(client)
    assert code_of(response) == (Transient, "protocol_error")
    assert "headers are larger than" in getattr(outcome_of(response), "message", "")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"a: b\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n12345", b"a: b\r\ncontent-length: 5\r\n\r\n12345"),
        (b"content-length: 5, 5\r\na: b\r\n\r\n12345", b"a: b\r\ncontent-length: 5\r\n\r\n12345"),
        (b"content-length: 5\r\n\r\ncontent-length: 5\r\n", None),
        (b"content-length: 5\r\ncontent-length: 6\r\n\r\n12345", None),
        (b"content-length: 5, 6\r\n\r\n12345", None),
        (b"content-length: 5\r\ncontent-length: 5\r\n", None),
        (b"", None),
    ],
)
def test_the_same_length_twice_is_one_length(head: bytes, expected: bytes | None) -> None:
    begin = b"HTTP/1.1 200 OK\r\n"
    assert with_one_length(begin + head) == begin + (head if expected is None else expected)
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n" + begin
    assert with_one_length(interim + head) == interim + (head if expected is None else expected)


async def test_a_head_that_arrives_in_two_pieces_may_have_its_length_in_each() -> None:
    body = orjson.dumps({"_id": TASK_ID, "status": "processing"})
    length = b"content-length: %d\r\n" % len(body)
    async with counting(length + b"\r\n" + body, answer=b"HTTP/1.1 200 OK\r\n" + length) as (counter, client):
        for _ in range(2):
            assert outcome_of(await ask(client, STATUS)) == Processing()
    assert [len(heads) for heads in counter.requests] == [2]
