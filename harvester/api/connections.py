"""Which connection carries a request: HTTP/1.1 ties an answer to its request only by the order on one connection.

A kept connection is used again only if nothing has arrived on it since its last answer. A late or doubled answer, a
stray 404 or 408, or the rest of a body would be taken for the answer to the next request. Such a connection is closed,
as is one on which anything else was odd.
"""

import select
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace


class Wire(ResponseHandler):
    """One connection, as aiohttp's protocol; it knows whether a request is under way on it."""

    uses = 0
    is_idle = False

    def begin(self) -> None:
        """Take note that a request is about to be sent."""
        self.uses += 1
        self.is_idle = False

    def rest(self) -> None:
        """Take note that the answer has ended, or was given up."""
        self.is_idle = True

    def data_received(self, data: bytes) -> None:
        """Take what the server sent; on an idle connection that ends it."""
        was_idle = self.is_idle
        super().data_received(data)
        if data and was_idle:
            self.distrust()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a parsed head; a connection with interim answers (100, 103) is not used again."""
        if 100 <= data[0].code < 200:
            self.force_close()
        super().feed_data(data, size)

    @property
    def is_in_step(self) -> bool:
        """Whether the next bytes on this connection are the answer to the next request, as far as can be known."""
        if self.uses == 0:
            # Nothing was asked yet, so nothing can be late. TLS may have sent session tickets already.
            return True
        return self.is_connected() and not self.should_close and not self._has_unread_bytes()

    def distrust(self) -> None:
        """Close the connection, whoever uses it now: the next answer on it would be another request's."""
        self.force_close()
        self.close()

    def _has_unread_bytes(self) -> bool:
        """Return whether the kernel holds bytes, or the end, that the event loop has not read yet."""
        sock = None if self.transport is None else self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return True
        poller = select.poll()
        poller.register(sock.fileno(), select.POLLIN)
        return bool(poller.poll(0))


class Connector(aiohttp.TCPConnector):
    """Opens connections, and hands out kept ones only while they are in step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(limit=0, **options)
        make: Callable[..., ResponseHandler] = Wire
        self._factory = partial(make, loop=self._loop)

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's own signature
    ) -> Connection:
        """Return a connection on which the next bytes are the answer to the request."""
        while True:
            connection = await super().connect(req, traces, timeout)
            wire = connection.protocol
            if not isinstance(wire, Wire):  # pragma: no cover
                return connection
            if wire.is_in_step:
                wire.begin()
                connection.add_callback(wire.rest)
                return connection
            connection.close()


class WireResponse(aiohttp.ClientResponse):
    """A response that remembers its connection after aiohttp has given it back to the pool."""

    _wire: ResponseHandler | None = None

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for the head of the answer."""
        self._wire = connection.protocol
        return await super().start(connection)

    def distrust(self) -> None:
        """Close the connection that the answer came on: it was another request's."""
        if isinstance(self._wire, Wire):
            self._wire.distrust()
