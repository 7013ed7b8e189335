"""A server that writes any bytes that a test chooses, and the client that sends requests to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from harvester.api.client import Client, ClientSettings
from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.tasks.outcomes import Outcome
from harvester.ports.api import Answered, Response
from harvester.throttle.throttle import Throttle

TASK_ID = "66f537778d9641fe5a0d101f"
KEY = "tlk_SECRET0123456789"
NOON = 1_700_000_000
JSON = b"content-type: application/json\r\n"

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """Reads request heads and lets `answering` write any bytes; the connection then closes."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.heads: list[str] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head.decode())
                await self._answering(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def end(self) -> None:
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


@asynccontextmanager
async def listening(answering: Answering) -> AsyncIterator[tuple[str, RawServer]]:
    raw = RawServer(answering)
    server = await asyncio.start_server(raw.connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}/v1.3", raw
    finally:
        server.close()
        await raw.end()
        await server.wait_closed()


def saying(sent: bytes, *, close: bool = True) -> Answering:
    async def answering(writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        if close:
            writer.close()

    return answering


async def silent(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def whole(body: bytes, *, status: str = "200 OK", headers: bytes = JSON) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n".encode() + headers + b"\r\n" + body


@asynccontextmanager
async def client_of(base_url: str, throttle: Throttle | None = None, **settings: Any) -> AsyncIterator[Client]:
    chosen = ClientSettings(base_url, **({"connect_timeout_s": 5.0, "read_timeout_s": 5.0} | settings))
    async with Client(chosen, lambda: KEY, throttle or unlimited(), lambda: NOON) as client:
        yield client


def unlimited() -> Throttle:
    return Throttle(RateLimit(0), lambda: 1_000.0)


async def ask(client: Client, endpoint: Endpoint = Endpoint.RETRIEVE, task_id: str = TASK_ID) -> Response:
    return await client.fetch_task(task_id, unlimited().take(endpoint))


async def response_to(answering: Answering, endpoint: Endpoint = Endpoint.RETRIEVE, **settings: Any) -> Response:
    async with listening(answering) as (place, _), client_of(f"http://{place}", **settings) as client:
        return await ask(client, endpoint)


def outcome_of(response: Response) -> Outcome | None:
    """The outcome that the client has read; None for a body that a decoder has to read."""
    return response.content.outcome if isinstance(response.content, Answered) else None


def code_of(response: Response) -> tuple[type, str | None]:
    outcome = outcome_of(response)
    return type(outcome), getattr(outcome, "code", None)


def body_of(response: Response) -> bytes:
    """The body as sent, in memory or in a file; empty if the client has read the answer."""
    return b"" if isinstance(response.content, Answered) else response.content.beginning(response.size)


def encoding_of(response: Response) -> str | None:
    return None if isinstance(response.content, Answered) else response.content.encoding
