"""Faults of a kept connection: the right answer, and unrequested bytes after it."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from harvester.simulator.faults.model import Occasion, Serve

LATE_S = 0.02

_NOT_FOUND = b'{"code":"resource_not_exists","message":"The resource does not exist."}'

Extra = Callable[[web.Response], bytes]
"""Makes the bytes that follow an answer."""


class FollowedResponse(web.Response):
    """The right answer; the bytes of `extra` follow `late_s` seconds later on the same connection, which stays open."""

    def __init__(self, answer: web.Response, extra: Extra, late_s: float) -> None:
        super().__init__(status=answer.status, headers=answer.headers, body=answer.body)
        self._extra = extra
        self._late_s = late_s

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the answer, and schedule the bytes that follow."""
        request = self._req
        await super().write_eof(data)
        transport = None if request is None else request.transport
        if isinstance(transport, asyncio.WriteTransport):
            asyncio.get_running_loop().call_later(self._late_s, _write, transport, self._extra(self))


def _write(transport: asyncio.WriteTransport, content: bytes) -> None:
    if not transport.is_closing():
        transport.write(content)


def followed(extra: Extra, late_s: float = LATE_S) -> Serve:
    """Return the function that serves this fault; the rule's `value` overrides the seconds."""

    def serve(occasion: Occasion) -> web.Response:
        return FollowedResponse(occasion.answer, extra, occasion.seconds(late_s))

    return serve


def copy_of(answer: web.Response) -> bytes:
    """Return the whole answer once more."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    kept = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in kept.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def not_found(_answer: web.Response) -> bytes:
    """Return an answer that says the task does not exist."""
    head = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(_NOT_FOUND)}\r\n\r\n".encode() + _NOT_FOUND


def idle_too_long(_answer: web.Response) -> bytes:
    """Return the answer that some servers send before they close an idle connection."""
    return b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def go_on(_answer: web.Response) -> bytes:
    """Return an interim answer."""
    return b"HTTP/1.1 100 Continue\r\n\r\n"
