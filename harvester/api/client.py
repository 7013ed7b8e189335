"""The HTTP client of the API: each request needs a permit, and each answer or error becomes a response."""

import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from harvester._version import __version__
from harvester.api.body_buffer import BodyBuffer
from harvester.api.body_checks import is_success, names_another
from harvester.api.connections import MAX_HEADER_BYTES, MAX_HEADERS, SENDINGS, Connector, Sendings, WireResponse
from harvester.api.decode.body import (
    GLANCE_BYTES,
    is_plain,
    too_large,
)
from harvester.api.dialects import DIALECTS, Dialect
from harvester.api.dialects.dialect import ErrorBody
from harvester.api.encodings import actual_encoding, content_encoding
from harvester.api.list_page import MAX_LIST_BYTES, list_parameters, parse_list
from harvester.api.rate_limit_headers import api_time_s, read_limits, reported_quota
from harvester.api.redaction import KEY_ECHOED, SecretGuard
from harvester.api.responses import OPTION_PARAMETER, exception_outcome, hidden_error, is_thread_refused
from harvester.domain.errors import InvalidTaskId
from harvester.domain.limits.endpoint import Endpoint, LimitReport
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.tasks.outcomes import InvalidRequest, Misrouted, Outcome, Throttled, Transient, misrouted
from harvester.domain.tasks.task import ApiVersion
from harvester.domain.tasks.task_id import validate_task_id
from harvester.ports.api import Answered, Body, Response
from harvester.settings.proxies import Proxy
from harvester.throttle.memory_budget import STEP_BYTES, MemoryBudget, Reservation, share_bytes
from harvester.throttle.throttle import Permit, Throttle

CHUNK_BYTES = 256 * 1024

MAX_ERROR_BYTES = 64 * 1024
"""Bytes that are read of an error's body: the API's are a few hundred bytes, a proxy's page may be large."""

MAX_ANSWER_S = 1800.0
"""Seconds for a whole answer, unless `read_timeout_s` is long: a few bytes a minute never reach the read time-out."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How to reach the API. `max_body_bytes` caps a body before and after decompression.

    `version` is the API version of requests that name none.
    `max_answer_s` bounds a whole answer; without it that is MAX_ANSWER_S, or ten read time-outs where these are longer.
    """

    base_url: str
    version: ApiVersion = "v1"
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    max_body_bytes: int = 256 * 1024 * 1024
    max_answer_s: float | None = None
    proxy: Proxy | None = None
    tls: ssl.SSLContext | None = None
    """The trusted certificate authorities; None for those of this machine."""

    @property
    def answer_timeout_s(self) -> float:
        """How many seconds a request may take from its beginning to the last byte of the answer."""
        return max(MAX_ANSWER_S, 10 * self.read_timeout_s) if self.max_answer_s is None else self.max_answer_s


@dataclass(frozen=True, slots=True)
class _Request:
    """Where a request goes; `task_id` is None for the list. `brings_result`: its answer may be embeddings."""

    url: URL
    dialect: Dialect
    task_id: str | None = None
    brings_result: bool = False
    is_fresh: bool = False
    options: tuple[str, ...] = ()


class Client:
    """Sends requests about tasks. Open with `async with`.

    It does not follow redirects, and does not decompress results: that is work for a worker process.
    """

    def __init__(
        self,
        settings: ClientSettings,
        key: Callable[[], str],
        throttle: Throttle,
        wall_s: Callable[[], float] = time.time,
        on_api_time: Callable[[float], None] = lambda _api_s: None,
    ) -> None:
        self._settings = settings
        self._key = key
        self._throttle = throttle
        self._wall_s = wall_s
        self._on_api_time = on_api_time
        self._has_misrouted_page, self._numbers_pages = False, True
        self._guard = SecretGuard(key, settings.proxy.secrets if settings.proxy else ())
        self._base = URL(settings.base_url)
        self.clock_skew_s: float | None = None
        """Seconds by which this machine's clock was ahead of the API's at the last answer; None if that had no date."""

    async def __aenter__(self) -> Self:
        tls = True if self._settings.tls is None else self._settings.tls
        self._session = self._opened(Connector(ssl=tls))
        # Opens a new connection for each request that needs one.
        self._fresh_session = self._opened(Connector(ssl=tls, force_close=True))
        return self

    def _opened(self, connector: Connector) -> aiohttp.ClientSession:
        settings = self._settings
        return aiohttp.ClientSession(
            connector=connector,
            response_class=WireResponse,
            timeout=aiohttp.ClientTimeout(
                total=settings.answer_timeout_s,
                connect=settings.connect_timeout_s,
                sock_connect=settings.connect_timeout_s,
                sock_read=settings.read_timeout_s,
            ),
            headers={"user-agent": f"twelvelabs-harvester/{__version__}", "accept": "application/json"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Fewer, larger reads, because the result of a long video is tens of megabytes.
            read_bufsize=CHUNK_BYTES,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._session.close()
        finally:
            # Also if closing the first session is cancelled.
            await self._fresh_session.close()

    async def fetch_task(  # noqa: PLR0913  # the last three have defaults
        self,
        task_id: str,
        permit: Permit,
        reservation: Reservation | None = None,
        *,
        is_fresh: bool = False,
        version: ApiVersion | None = None,
        options: tuple[str, ...] = (),
    ) -> Response:
        """Send the request that `permit` is for; return a Response whatever happens, also for an invalid id.

        `reservation` grows with the body; the next piece is read only when there is memory for it. With `is_fresh` the
        request goes out on a new connection, which is closed afterwards. `version` is the API version to ask, None for
        that of the settings. `options` are the embedding options to retrieve, none for all; the response says whether
        they were asked for, because only a retrieval of version 1 has such a filter. A body that is decoded here and
        names another task gives `Misrouted`; see `harvester.domain.tasks.outcomes.misrouted` for the others.
        """
        try:
            request = self._request(task_id, permit.endpoint, self._dialect(version), is_fresh=is_fresh)
            request = _filtered(request, permit.endpoint, options)
        except InvalidTaskId as error:
            permit.spend()
            refused = Answered(InvalidRequest(error.sentence, "task_id_invalid"))
            return self._guard.response(Response(refused, duration_ms=0))
        response = await self._get(request, permit, reservation)
        return replace(response, options=request.options) if request.options else response

    async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:
        """Request one page of the account's tasks; `permit` is for the list. Return the page, or what went wrong.

        A page with another number may belong to another request: the next one goes out on a fresh connection.
        """
        dialect = self._dialect(query.version)
        url = self._base.joinpath(*dialect.list_path).with_query(list_parameters(query))
        is_fresh, self._has_misrouted_page = self._has_misrouted_page, False
        content = (await self._get(_Request(url, dialect, is_fresh=is_fresh), permit)).content
        if isinstance(content, Answered):
            return content.outcome
        answer = parse_list(content.beginning(MAX_LIST_BYTES), content.encoding, dialect.read_entry)
        if isinstance(answer, ListPage) and self._guard.is_in_tasks(answer.tasks):
            return KEY_ECHOED
        if isinstance(answer, ListPage) and answer.page not in (None, query.page):
            # A server that returns it on a fresh connection, too, numbers its pages in another way.
            self._numbers_pages = self._numbers_pages and not is_fresh
            if self._numbers_pages:
                self._has_misrouted_page = True
                return Transient(f"Page {query.page} was asked for, and page {answer.page} came.", "another_page")
        return answer

    async def _get(self, request: _Request, permit: Permit, reservation: Reservation | None = None) -> Response:
        permit.spend()
        reservation = reservation or MemoryBudget(sys.maxsize).take()
        session = self._fresh_session if request.is_fresh else self._session
        started, body = time.monotonic(), None
        SENDINGS.set(Sendings(lambda: self._throttle.charge(permit)))
        try:
            async with session.get(
                request.url,
                headers=self._headers(),
                allow_redirects=False,
                **self._way(),
            ) as answer:
                response, body = await self._read(request, permit, answer, started, reservation)
                if isinstance(answer, WireResponse) and _is_of_another(response, body, request.task_id):
                    answer.distrust()
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, ValueError, MemoryError) as error:
            # ValueError: header values and URLs of an answer that the library cannot parse. TimeoutError is an OSError.
            response = Response(Answered(exception_outcome(error, self._settings.proxy)), _since_ms(started))
        except RuntimeError as error:
            if not is_thread_refused(error):
                raise
            response = Response(Answered(exception_outcome(error)), _since_ms(started))
        return self._guard.response(response, body)

    def _way(self) -> dict[str, Any]:
        """Return the options for the proxy. aiohttp, if it read the environment, would send ~/.netrc logins, too."""
        proxy = self._settings.proxy
        if proxy is None:
            return {}
        headers = {"proxy-authorization": proxy.authorization} if proxy.authorization else {}
        return {"proxy": proxy.url, "proxy_headers": headers}

    def _dialect(self, version: ApiVersion | None) -> Dialect:
        return DIALECTS[version or self._settings.version]

    def _request(self, task_id: str, endpoint: Endpoint, dialect: Dialect, *, is_fresh: bool) -> _Request:
        url = self._base.joinpath(*dialect.task_path(validate_task_id(task_id), endpoint))
        return _Request(url, dialect, task_id, dialect.brings_result(endpoint), is_fresh)

    def _headers(self) -> dict[str, str]:
        # The key is not among the session's headers, which show up in its repr.
        return {"x-api-key": self._key(), "accept-encoding": "gzip"}

    async def _read(
        self,
        request: _Request,
        permit: Permit,
        response: aiohttp.ClientResponse,
        started: float,
        reservation: Reservation,
    ) -> tuple[Response, Body]:
        """Read an answer; return the response, and the body that it was made from."""
        status, is_good = response.status, is_success(response.status)
        report, now_s = read_limits(response.headers, self._wall_s()), self._learn_time(response.headers)
        encoding, outcome = content_encoding(response.headers), None
        if is_good:
            self._throttle.learn(permit.endpoint, status, report, permit.sending)
        try:
            received, is_whole = await self._body(request, response, reservation)
        except BaseException:
            if not is_good:
                self._throttle.learn(permit.endpoint, status, report, permit.sending)
            raise
        small, file = received.in_memory(), received.file
        encoding = actual_encoding(encoding, small if file is None else file.beginning(GLANCE_BYTES))
        if not is_good:
            small = small[:MAX_ERROR_BYTES]
            error = ErrorBody(small, encoding, now_s)
            outcome = request.dialect.read_error(permit.endpoint, status, error, report)
            self._learn_from_error(permit, status, outcome, report)
        elif not is_whole:
            received.close()
            small, file, outcome = b"", None, self._too_large(request)
        elif (refusal := hidden_error(small, encoding, now_s)) is not None:
            outcome = refusal
            self._learn_from_error(permit, status, refusal, report)
        elif request.task_id is not None and not request.brings_result:
            outcome = request.dialect.read_status(small, encoding)
            outcome = misrouted(outcome, request.task_id) or outcome
        trace_id = response.headers.get("x-trace-id")
        body = Body(small if file is None else file, encoding)
        content = body if outcome is None else Answered(outcome)
        return Response(content, _since_ms(started), status, trace_id, body.size), body

    def _learn_time(self, headers: CIMultiDictProxy[str]) -> float:
        """Return the time of the answer in Unix seconds: the server's, else this machine's."""
        own_s, api_s = self._wall_s(), api_time_s(headers)
        self.clock_skew_s = None if api_s is None else own_s - api_s
        # A firewall or a proxy answers with a page of its own; the API answers with JSON, also when it refuses.
        if api_s is not None and "json" in headers.get("content-type", "").lower():
            self._on_api_time(api_s)
        return own_s if api_s is None else api_s

    def _learn_from_error(self, permit: Permit, status: int, outcome: Outcome, report: LimitReport) -> None:
        if isinstance(outcome, Throttled):
            # Whatever the status: the server asks for fewer requests, or for none for a while.
            status, report = 429, replace(report, retry_after_s=outcome.retry_after_s)
            self._throttle.learn_quota(permit.endpoint, reported_quota(outcome.message))
        self._throttle.learn(permit.endpoint, status, report, permit.sending)

    def _limit_bytes(self, request: _Request) -> int:
        limit = self._settings.max_body_bytes
        return min(limit, MAX_LIST_BYTES) if request.task_id is None else limit

    def _too_large(self, request: _Request) -> Outcome:
        if request.task_id is None:
            return Transient(
                f"The page of the list is larger than {self._limit_bytes(request)} bytes.", "body_too_large"
            )
        outcome = too_large(self._settings.max_body_bytes).outcome
        # Only a retrieval can reject a task.
        return outcome if request.brings_result else Transient(outcome.message, outcome.code)

    async def _body(
        self, request: _Request, response: aiohttp.ClientResponse, reservation: Reservation
    ) -> tuple[BodyBuffer, bool]:
        """Read the body as sent, piece by piece, and stop at the cap; return it and whether it is complete."""
        is_result = is_success(response.status) and request.brings_result
        limit = self._limit_bytes(request) if is_success(response.status) else MAX_ERROR_BYTES
        received = BodyBuffer(to_file=is_result, secret=self._guard.secret())
        share = partial(share_bytes, is_compressed=not is_plain(content_encoding(response.headers)))
        if is_success(response.status) and (response.content_length or 0) > limit:
            response.close()
            return received, False
        if is_result and response.content_length is not None:
            reservation.shrink_to(share(response.content_length))
            await reservation.grow_to(share(response.content_length))
        try:
            async for piece in response.content.iter_any():
                if is_result and share(received.size + len(piece)) > reservation.size:
                    await reservation.grow_to(share(received.size + len(piece)) + STEP_BYTES)
                received.add(piece)
                if received.size > limit:
                    # The connection cannot be used again, because the rest stays unread.
                    response.close()
                    return received, False
        except BaseException:
            received.close()
            raise
        reservation.shrink_to(share(received.size))
        if is_result:
            reservation.learn()
        return received, True


def _filtered(request: _Request, endpoint: Endpoint, options: tuple[str, ...]) -> _Request:
    """Return the request for these embedding options only, where the API version and the call have such a filter."""
    if not options or not request.dialect.filters_options(endpoint):
        return request
    url = request.url.with_query([(OPTION_PARAMETER, option) for option in options])
    return replace(request, url=url, options=options)


def _is_of_another(response: Response, body: Body, task_id: str | None) -> bool:
    """Return whether the outcome, or the beginning of the body, shows that the answer is about another task."""
    if task_id is None:
        return False
    content = response.content
    return (isinstance(content, Answered) and isinstance(content.outcome, Misrouted)) or names_another(body, task_id)


def _since_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
