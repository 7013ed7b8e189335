"""Faults of the connection: bytes that a server library would never write, written directly to the transport."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from harvester.simulator.faults.model import Occasion, Serve

LOOK_S = 0.05
ARRIVAL_S = 0.02
"""Seconds in which bytes arrive on one machine, so that the next bytes are not read together with them."""

_PATIENCE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Wire:
    """The connection on which an answer is due: its status line and headers, without any framing, and its body."""

    transport: asyncio.WriteTransport
    head: bytes
    body: bytes
    seconds: float

    @property
    def middle(self) -> bytes:
        """The first half of the body."""
        return self.body[: len(self.body) // 2]

    def announce(self, length: int) -> None:
        """Write the head with that content length."""
        self.transport.write(self.head + b"content-length: %d\r\n\r\n" % length)

    async def left(self, seconds: float) -> None:
        """Wait until the client closes the connection, for at most `seconds`."""
        async with asyncio.timeout(seconds):
            while not self.transport.is_closing():  # noqa: ASYNC110  # a transport sets no event
                await asyncio.sleep(LOOK_S)


Write = Callable[[Wire], Awaitable[None]]


class BrokenResponse(web.Response):
    """An answer that `write` sends; the connection ends with it. The body may be replaced before."""

    def __init__(self, answer: web.Response, write: Write, seconds: float) -> None:
        super().__init__(status=answer.status, headers=answer.headers, body=answer.body)
        self._write = write
        self._seconds = seconds

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Write the whole answer, without the library."""
        self.force_close()
        transport = request.transport
        body = self.body if isinstance(self.body, bytes) else b""
        if isinstance(transport, asyncio.WriteTransport):
            try:
                await self._write(Wire(transport, self._head(), body, self._seconds))
            except TimeoutError:
                transport.abort()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""

    def _head(self) -> bytes:
        lines = [f"{name}: {value}" for name, value in self.headers.items() if name.lower() != "content-length"]
        return "\r\n".join([f"HTTP/1.1 {self.status} {self.reason}", *lines, ""]).encode()


def broken(write: Write, seconds: float = _PATIENCE_S) -> Serve:
    """Return the function that serves this fault; the rule's `value` overrides the seconds."""

    def serve(occasion: Occasion) -> web.Response:
        return BrokenResponse(occasion.answer, write, occasion.seconds(seconds))

    return serve


async def reset(wire: Wire) -> None:
    """Send half of the body, then a RST."""
    wire.announce(len(wire.body))
    wire.transport.write(wire.middle)
    await asyncio.sleep(ARRIVAL_S)
    raw: socket.socket | None = wire.transport.get_extra_info("socket")
    if raw is not None and not wire.transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.transport.abort()


async def stall(wire: Wire) -> None:
    """Send half of the body, and then nothing."""
    wire.announce(len(wire.body))
    wire.transport.write(wire.middle)
    await wire.left(wire.seconds)


async def silence(wire: Wire) -> None:
    """Send nothing at all."""
    await wire.left(wire.seconds)


async def drip(wire: Wire) -> None:
    """Send the body whole, but in twenty pieces over `seconds`."""
    wire.announce(len(wire.body))
    size = max(1, -(-len(wire.body) // 20))
    for start in range(0, len(wire.body), size):
        if wire.transport.is_closing():
            return
        wire.transport.write(wire.body[start : start + size])
        await asyncio.sleep(wire.seconds / 20)
    wire.transport.close()


async def cut_without_length(wire: Wire) -> None:
    """Announce no length, so that the end of the connection is the end of the body, and end it in the middle."""
    wire.transport.write(wire.head + b"connection: close\r\n\r\n" + wire.middle)
    wire.transport.close()


async def length_too_large(wire: Wire) -> None:
    """Announce more than there is."""
    wire.announce(len(wire.body) + 1000)
    wire.transport.write(wire.body)
    wire.transport.close()


async def length_too_small(wire: Wire) -> None:
    """Announce less than there is, and send the rest as if it were the next answer."""
    wire.announce(len(wire.middle))
    wire.transport.write(wire.middle)
    await asyncio.sleep(ARRIVAL_S)
    wire.transport.write(wire.body[len(wire.middle) :])
    wire.transport.close()


async def length_over_any_cap(wire: Wire) -> None:
    """Announce a terabyte."""
    wire.announce(10**12)
    wire.transport.write(wire.body)
    await wire.left(wire.seconds)


async def endless(wire: Wire) -> None:
    """Announce no length, and send blanks after the body for as long as the client reads them."""
    blanks = b" " * (1 << 18)
    wire.transport.write(wire.head + b"connection: close\r\n\r\n" + wire.middle)
    while not wire.transport.is_closing():
        wire.transport.write(blanks)
        while wire.transport.get_write_buffer_size() and not wire.transport.is_closing():  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.001)


async def dropped(wire: Wire) -> None:
    """Close the connection without an answer, as servers do with one that was idle."""
    wire.transport.close()


async def not_http(wire: Wire) -> None:
    """Answer with bytes that are not HTTP."""
    wire.transport.write(b"\x16\x03\x01 SSH-2.0-OpenSSH_9.6\r\n\r\n")
    wire.transport.close()


async def early_hints(wire: Wire) -> None:
    """Send interim answers before the right one."""
    wire.transport.write(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n")
    wire.announce(len(wire.body))
    wire.transport.write(wire.body)
    wire.transport.close()


async def doubled_length(wire: Wire) -> None:
    """Announce the right length twice, which a recipient may accept."""
    wire.transport.write(wire.head + b"content-length: %d\r\n" % len(wire.body))
    wire.transport.write(b"content-length: %d\r\n\r\n" % len(wire.body) + wire.body)
    wire.transport.close()
