"""The one way to the API: a session, a permit for each request, and an outcome for whatever comes back."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace, TracebackType
from typing import Literal, Self

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from harvester import __version__
from harvester.api.answers import error_outcome, exception_outcome, status_outcome
from harvester.api.bodies import BodyError, decompress, too_large
from harvester.api.limits import clock_skew_s, read_limits
from harvester.api.listing import MAX_LIST_BYTES, list_parameters, parse_list
from harvester.api.throttle import Permit, Throttle
from harvester.domain.discovery import ListPage, ListQuery
from harvester.domain.outcomes import Outcome, Transient
from harvester.domain.pacing import Endpoint
from harvester.domain.task_ids import validate_task_id

CHUNK_BYTES = 256 * 1024

MAX_ERROR_BYTES = 64 * 1024
"""What is read of an answer that is an error; the API's are a few hundred bytes, a proxy's page may be large."""

MAX_PLAIN_ERROR_BYTES = 4 * 1024 * 1024

HIDDEN_KEY = "[the API key]"
"""Stands where an answer repeats the key."""

_TASK_PATHS: dict[str, tuple[str, ...]] = {"v1": ("embed", "tasks"), "v2": ("embed-v2", "tasks")}


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How to reach the API. `max_body_bytes` caps a body before and after decompression."""

    base_url: str
    version: Literal["v1", "v2"] = "v1"
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    max_body_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `outcome` is None for a result that still has to be decoded from `body`."""

    outcome: Outcome | None
    duration_ms: int
    status: int | None = None
    trace_id: str | None = None
    body: bytes = b""
    encoding: str | None = None


class Client:
    """Asks about tasks. Open with `async with`.

    Redirects are not followed and bodies are not decompressed here: that is work for a worker process.
    """

    def __init__(
        self,
        settings: ClientSettings,
        key: Callable[[], str],
        throttle: Throttle,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._key = key
        self._throttle = throttle
        self._wall_s = wall_s
        self._base = URL(settings.base_url)
        self.clock_skew_s: float | None = None
        """By how much this machine's clock was ahead of the API's at the last answer that told its time."""

    async def __aenter__(self) -> Self:
        settings = self._settings
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=settings.connect_timeout_s,
                sock_connect=settings.connect_timeout_s,
                sock_read=settings.read_timeout_s,
            ),
            headers={"user-agent": f"twelvelabs-harvester/{__version__}", "accept": "application/json"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Fewer, larger reads: a long video is tens of megabytes.
            read_bufsize=CHUNK_BYTES,
            trace_configs=[self._counting_sends()],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(self, task_id: str, permit: Permit) -> Reply:
        """Send the request that `permit` is for; return a Reply whatever happens. Raises InvalidTaskId."""
        return await self._get(self._url(task_id, permit.endpoint), permit)

    async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:
        """Ask for one page of the account's tasks; `permit` is for the list. Return the page, or what went wrong."""
        url = self._base.joinpath(*_TASK_PATHS[self._settings.version]).with_query(list_parameters(query))
        reply = await self._get(url, permit)
        return parse_list(reply.body, reply.encoding) if reply.outcome is None else reply.outcome

    async def _get(self, url: URL, permit: Permit) -> Reply:
        permit.spend()
        started = time.monotonic()
        try:
            # The list counts how often this request is sent.
            async with self._session.get(
                url, headers=self._headers(), allow_redirects=False, trace_request_ctx=[]
            ) as response:
                reply = await self._read(permit.endpoint, response, started)
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, ValueError) as error:
            # ValueError: header values and URLs of an answer that the library cannot parse. TimeoutError is an OSError.
            problem = exception_outcome(error)
            shown = replace(problem, message=problem.message.replace(self._key(), HIDDEN_KEY))
            return Reply(shown, duration_ms=_since_ms(started))
        return reply

    def _counting_sends(self) -> aiohttp.TraceConfig:
        """Charge what aiohttp sends by itself: a GET goes out again when a kept connection turns out to be closed."""

        async def on_sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _sent: object) -> None:
            sends: list[None] = context.trace_request_ctx
            sends.append(None)
            if len(sends) > 1:
                self._throttle.charge()

        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(on_sent)
        return trace

    def _url(self, task_id: str, endpoint: Endpoint) -> URL:
        segments = [*_TASK_PATHS[self._settings.version], validate_task_id(task_id)]
        if endpoint is Endpoint.STATUS and self._settings.version == "v1":
            segments.append("status")
        return self._base.joinpath(*segments)

    def _headers(self) -> dict[str, str]:
        # The key is not among the session's headers, which show up in its repr.
        return {"x-api-key": self._key(), "accept-encoding": "gzip"}

    async def _read(self, endpoint: Endpoint, response: aiohttp.ClientResponse, started: float) -> Reply:
        report = read_limits(response.headers, self._wall_s())
        self._throttle.learn(endpoint, response.status, report)
        self.clock_skew_s = clock_skew_s(response.headers, self._wall_s())
        body, is_whole = await self._body(response, self._limit_bytes(endpoint))
        encoding, outcome = _encoding(response.headers), None
        if not _is_success(response):
            outcome = error_outcome(endpoint, response.status, *self._without_key(body, encoding), report)
        elif not is_whole:
            body, outcome = b"", self._too_large(endpoint)
        elif not self._brings_result(endpoint) and endpoint is not Endpoint.LIST:
            outcome = status_outcome(body, encoding)
        trace_id = _trace_id(response.headers)
        return Reply(outcome, _since_ms(started), response.status, trace_id, body, encoding)

    def _without_key(self, body: bytes, encoding: str | None) -> tuple[bytes, str | None]:
        """Return an error's body as it may be shown and stored: some pages repeat the request, key and all."""
        with suppress(BodyError):
            body, encoding = decompress(body, encoding if body else None, MAX_PLAIN_ERROR_BYTES), None
        return body.replace(self._key().encode(), HIDDEN_KEY.encode()), encoding

    def _brings_result(self, endpoint: Endpoint) -> bool:
        # In v2 one call answers both: a result that comes with a status is not thrown away.
        return endpoint is Endpoint.RETRIEVE or (endpoint is Endpoint.STATUS and self._settings.version == "v2")

    def _limit_bytes(self, endpoint: Endpoint) -> int:
        limit = self._settings.max_body_bytes
        return min(limit, MAX_LIST_BYTES) if endpoint is Endpoint.LIST else limit

    def _too_large(self, endpoint: Endpoint) -> Outcome:
        if endpoint is Endpoint.LIST:
            return Transient(
                f"The page of the list is larger than {self._limit_bytes(endpoint)} bytes.", "body_too_large"
            )
        outcome = too_large(self._settings.max_body_bytes).outcome
        # Only a retrieval can reject.
        return outcome if self._brings_result(endpoint) else Transient(outcome.message, outcome.code)

    async def _body(self, response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
        """Read the body as sent, in chunks, and stop at the cap; return it and whether that is all of it."""
        if _is_success(response):
            if (response.content_length or 0) > limit:
                response.close()
                return b"", False
        else:
            limit = MAX_ERROR_BYTES
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            chunks.append(chunk)
            if size > limit:
                # The rest is not wanted: the connection cannot be used again.
                response.close()
                return b"".join(chunks)[:limit], False
        return b"".join(chunks), True


def _is_success(response: aiohttp.ClientResponse) -> bool:
    return 200 <= response.status < 300


def _encoding(headers: CIMultiDictProxy[str]) -> str | None:
    encoding = headers.get("content-encoding")
    return encoding.strip().lower() if encoding else None


def _trace_id(headers: CIMultiDictProxy[str]) -> str | None:
    trace_id = headers.get("x-trace-id")
    return trace_id[:128] if trace_id else None


def _since_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
