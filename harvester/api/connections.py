"""Which connection carries a request: HTTP/1.1 ties an answer to its request only by the order on one connection.

A kept connection is used again only if nothing has arrived on it since its last answer. A late or doubled answer, a
stray 404 or 408, or the rest of a body would be taken for the answer to the next request. Such a connection is closed,
as is one on which anything else was odd.
"""

import re
import select
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 1000
"""Proxies add headers, and some are long: policies, cookies. aiohttp's own bounds are 8 KiB and 128."""

MAX_HEAD_BYTES = 256 * 1024
"""All headers of an answer together, and those of interim answers before it; one read may exceed it."""


_LENGTH = re.compile(rb"^content-length:[ \t]*([\d, \t]*?)[ \t]*\r\n", re.IGNORECASE | re.MULTILINE)


_HEAD_END = b"\r\n\r\n"
_MAX_INTERIM = 8


def with_one_length(data: bytes) -> bytes:
    """Return the beginning of an answer with its content length once.

    RFC 9110 (8.6) lets a recipient accept the same number twice, as proxies send it; aiohttp's parser does not.
    """
    start, end = 0, data.find(_HEAD_END)
    for _ in range(_MAX_INTERIM):
        if end < 0 or not data.startswith(b"HTTP/1.1 1", start):
            break
        start = end + len(_HEAD_END)
        end = data.find(_HEAD_END, start)
    if end < 0:
        return data
    found = list(_LENGTH.finditer(data, start, end + 2))
    values = {value.strip() for one in found for value in one[1].split(b",")}
    if len(values) != 1 or (len(found) == 1 and b"," not in found[0][1]):
        return data
    head = _LENGTH.sub(b"", data[start : end + 2])
    return data[:start] + head + b"content-length: " + values.pop() + b"\r\n" + data[end + 2 :]


class Wire(ResponseHandler):
    """One connection, as aiohttp's protocol; it knows whether a request is under way on it."""

    uses = 0
    is_idle = False
    _head_bytes = 0
    _has_head = True

    def begin(self) -> None:
        """Take note that a request is about to be sent."""
        self.uses += 1
        self.is_idle = False
        self._head_bytes, self._has_head = 0, False

    def rest(self) -> None:
        """Take note that the answer has ended, or was given up."""
        self.is_idle = True

    def data_received(self, data: bytes) -> None:
        """Take what the server sent; on an idle connection that ends it."""
        was_idle = self.is_idle
        if self._head_bytes == 0 and not self._has_head:
            data = with_one_length(data)
        super().data_received(data)
        if data and was_idle:
            self.distrust()
        elif not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.set_exception(HttpProcessingError(message=f"The headers are larger than {MAX_HEAD_BYTES} bytes"))
                if self.transport is not None:
                    self.transport.close()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a parsed head; a connection with interim answers (100, 103) is not used again."""
        if 100 <= data[0].code < 200:
            self.force_close()
        else:
            self._has_head = True
        super().feed_data(data, size)

    @property
    def is_in_step(self) -> bool:
        """Whether the next bytes on this connection are the answer to the next request, as far as can be known."""
        if self.uses == 0:
            # Nothing was asked yet, so nothing can be late. TLS may have sent session tickets already.
            return True
        return self.is_connected() and not self.should_close and not self._has_unread_bytes()

    def distrust(self) -> None:
        """Close the connection, in use or not: the next answer on it would be another request's."""
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
