"""Choose the connection of a request: HTTP/1.1 matches an answer to its request only by the order on one connection.

A kept connection is reused only if nothing has arrived on it since its last answer. Otherwise a late or doubled answer,
a stray 404 or 408, or the rest of a body would look like the answer to the next request. Such a connection is closed,
as is one with any other irregularity.
"""

import re
import select
from collections.abc import Callable
from contextvars import ContextVar
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
"""The longest header and the most headers. Proxies add long ones (policies, cookies); aiohttp allows 8 KiB and 128."""

MAX_HEAD_BYTES = 256 * 1024
"""Bytes of all headers of an answer and of its interim answers together; one read may exceed this."""


_LENGTH = re.compile(rb"^content-length:[ \t]*([\d, \t]*?)[ \t]*\r\n", re.IGNORECASE | re.MULTILINE)


_HEAD_END = b"\r\n\r\n"
_MAX_INTERIM = 8


def with_one_length(data: bytes) -> bytes:
    """Return the beginning of an answer with its content length only once.

    Proxies send the same number twice. RFC 9110 (8.6) lets a recipient accept this, but aiohttp's parser does not.
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
    """One connection, as an aiohttp protocol that knows whether a request is in flight on it."""

    uses = 0
    is_idle = False
    _head_bytes = 0
    _has_head = True
    _beginning = b""
    """Received bytes of an unfinished head, held back until it is whole: only then its lengths can be compared."""

    def begin(self) -> None:
        """Record that a request is about to be sent."""
        self.uses += 1
        self.is_idle = False
        self._head_bytes, self._has_head, self._beginning = 0, False, b""

    def rest(self) -> None:
        """Record that the answer has ended, or that the request was cancelled."""
        self.is_idle = True

    def data_received(self, data: bytes) -> None:
        """Pass received bytes on; on an idle connection, close it."""
        was_idle = self.is_idle
        if self._head_bytes == 0 and not self._has_head:
            data, self._beginning = self._beginning + data, b""
            if _HEAD_END not in data and len(data) < MAX_HEADER_BYTES:
                self._beginning = data
                return
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

    def connection_lost(self, exc: BaseException | None) -> None:
        """Pass on what was held back of a head that remains unfinished."""
        if self._beginning:
            beginning, self._beginning = self._beginning, b""
            super().data_received(beginning)
        super().connection_lost(exc)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Pass a parsed head on; do not reuse a connection with interim answers (100, 103)."""
        if 100 <= data[0].code < 200:
            self.force_close()
        else:
            self._has_head = True
        super().feed_data(data, size)

    @property
    def is_in_step(self) -> bool:
        """Whether the next bytes on this connection are the answer to the next request, as far as is known."""
        if self.uses == 0:
            # No request was sent yet, so no answer can be late. Unread bytes may be session tickets of TLS.
            return True
        return self.is_connected() and not self.should_close and not self._has_unread_bytes()

    def distrust(self) -> None:
        """Close the connection, even in use: the next answer on it may belong to another request."""
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


class Sendings:
    """Counts how often the request of the current task is sent; calls `on_repeat` for each time after the first.

    aiohttp sends a GET again by itself when a reused connection was closed.
    """

    def __init__(self, on_repeat: Callable[[], None]) -> None:
        self._on_repeat = on_repeat
        self._is_sent = False

    def count(self) -> None:
        """Record that the request is about to be sent."""
        if self._is_sent:
            self._on_repeat()
        self._is_sent = True


SENDINGS: ContextVar[Sendings] = ContextVar("SENDINGS")
"""Of the current task's request. aiohttp's tracing would do, but costs as much as reading the headers."""


class Connector(aiohttp.TCPConnector):
    """Opens connections, and reuses kept ones only while they are in step."""

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
        """Return a connection whose next bytes are the answer to the request."""
        while True:
            connection = await super().connect(req, traces, timeout)
            wire = connection.protocol
            if not isinstance(wire, Wire):  # pragma: no cover
                return connection
            if wire.is_in_step:
                wire.begin()
                if (sendings := SENDINGS.get(None)) is not None:
                    sendings.count()
                connection.add_callback(wire.rest)
                return connection
            connection.close()


class WireResponse(aiohttp.ClientResponse):
    """A response that keeps its connection after aiohttp has returned it to the pool."""

    _wire: ResponseHandler | None = None

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for the head of the answer."""
        self._wire = connection.protocol
        return await super().start(connection)

    def distrust(self) -> None:
        """Close the connection of this answer, which belonged to another request."""
        if isinstance(self._wire, Wire):
            self._wire.distrust()
