"""Bounds what clients of the port can use: the number of connections, and the time and bytes of each.

aiohttp waits without limit for a request that never comes, and for a reader that never reads. A connection is closed
when it brings no whole request in time, when its answer is not read in time, and when another one needs its place.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

MAX_CONNECTIONS = 64
"""Open connections. Each takes a descriptor, and some tens of kilobytes."""

REQUEST_S = 10.0
"""Seconds for a whole request to arrive, from the connection or the last answer on, and for an answer to be read."""

ANSWER_S = 60.0
"""Seconds between a request and its answer; a page may wait for a locked database."""

MAX_REQUEST_BYTES = 64 * 1024
"""Bytes accepted of one request: no page needs a body."""

BACKLOG = 64


class Connections:
    """The open connections of one server; `factory` makes aiohttp's protocol for each."""

    def __init__(self, factory: Callable[[], asyncio.Protocol]) -> None:
        self._factory = factory
        self._open: dict[asyncio.BaseTransport, _Connection] = {}

    def __len__(self) -> int:
        return len(self._open)

    def accept(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Connection(self, self._factory())

    @property
    def middleware(self) -> Middleware:
        """The middleware that notes when a whole request has arrived, and when its answer is ready."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._expect_within(ANSWER_S, request, is_busy=True)
            try:
                return await handler(request)
            finally:
                self._expect_within(REQUEST_S, request, is_busy=False)

        return middleware

    def _expect_within(self, seconds: float, request: web.Request, *, is_busy: bool) -> None:
        if request.transport in self._open:
            self._open[request.transport].expect_within(seconds, is_busy=is_busy)

    def _add(self, transport: asyncio.BaseTransport, connection: "_Connection") -> None:
        self._open[transport] = connection
        if len(self._open) > MAX_CONNECTIONS:
            # The oldest connection without a request: the dictionary is in the order of opening.
            idle = next((one for one in self._open.values() if not one.is_busy), connection)
            idle.drop()

    def _remove(self, transport: asyncio.BaseTransport) -> None:
        self._open.pop(transport, None)


class _Connection(asyncio.Protocol):
    """Passes everything to aiohttp's protocol while the limits are kept."""

    def __init__(self, all_of_them: Connections, inner: asyncio.Protocol) -> None:
        self.is_busy = False
        self._all = all_of_them
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received_bytes = 0

    def expect_within(self, seconds: float, *, is_busy: bool) -> None:
        """Drop the connection unless this is called again in time."""
        self.is_busy, self._received_bytes = is_busy, 0
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.drop)

    def drop(self) -> None:
        """Close the connection at once and discard unsent data."""
        if self._transport is not None:
            self._all._remove(self._transport)  # noqa: SLF001  # the two are one thing
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type checker
        self._transport = transport
        self._inner.connection_made(transport)
        self.expect_within(REQUEST_S, is_busy=False)
        self._all._add(transport, self)  # noqa: SLF001

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received_bytes += len(data)
        if self._received_bytes > MAX_REQUEST_BYTES:
            self.drop()
        else:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """See asyncio.Protocol."""
        return self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._all._remove(self._transport)  # noqa: SLF001
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._inner.resume_writing()
