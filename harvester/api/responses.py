"""Convert answers of the API and exceptions of the HTTP library to outcomes; no other module does."""

import errno
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from harvester.api.decode.body import BodyError, begins_as_error, decompress, excerpt, parse_object
from harvester.api.decode.result import MAX_MESSAGE_CHARACTERS, received_id, unfinished
from harvester.api.waits import body_retry_after_s
from harvester.domain.limits.endpoint import MAX_BLOCK_S, MAX_GUESSED_BLOCK_S, Endpoint, LimitReport
from harvester.domain.tasks.outcomes import (
    InvalidRequest,
    NotFound,
    Outcome,
    Processing,
    Ready,
    Refused,
    Throttled,
    Transient,
)
from harvester.domain.tasks.retrieve_options import OPTION_REFUSED
from harvester.domain.tasks.task_document import video_metadata
from harvester.ports.spooled_body import BodyFileError
from harvester.settings.proxies import Proxy

OPTION_PARAMETER = "embedding_option"
"""The query parameter of a retrieval that names an option; the API's message about a bad value names it."""

_MAX_HIDDEN_ERROR_BYTES = 64 * 1024

_MAX_SMALL_BODY_BYTES = 4 * 1024 * 1024
"""Bytes: the largest status or error; usually they are a few hundred bytes."""


def status_outcome(body: bytes, encoding: str | None) -> Outcome:
    """Return the outcome of a status call's 200 answer."""
    try:
        document = parse_object(decompress(body, encoding, _MAX_SMALL_BODY_BYTES))
    except BodyError as error:
        # Even a well-formed wrong answer says nothing about the embeddings: only a retrieval can reject a task.
        return Transient(error.outcome.message, error.outcome.code)
    status = document.get("status")
    if status is None:
        code, message = _code_and_message(document)
        shown = (message or excerpt(body))[:MAX_MESSAGE_CHARACTERS].rstrip(".")
        return Transient(f"The answer is not a status: {shown}.", code or "not_a_status")
    return Ready(video_metadata(document), received_id(document)) if status == "ready" else unfinished(document)


@dataclass(frozen=True, slots=True)
class _ErrorBody:
    """The parsed body of an error.

    `is_api`: it has the form of the API's errors, or is empty. `names_reason`: it has that form and a reason.
    """

    code: str | None = None
    message: str | None = None
    is_api: bool = False
    names_reason: bool = False
    retry_after_s: float | None = None


def _read_error(body: bytes, encoding: str | None, server_now_s: float) -> _ErrorBody:
    """Parse an error's body, which may be the API's (flat or nested), another server's, or empty."""
    try:
        document = parse_object(decompress(body, encoding if body else None, _MAX_SMALL_BODY_BYTES))
    except BodyError as error:
        # Unless it is empty, the body is the page of a proxy or of a wrong base URL, and says nothing about the task.
        problem = error.outcome
        message = problem.message if problem.code == "not_json" else None
        return _ErrorBody(None, message, is_api=problem.code == "body_empty")
    return _error_body(document, server_now_s)


def _error_body(document: Mapping[str, Any], server_now_s: float) -> _ErrorBody:
    code, message = _code_and_message(document)
    is_nested = isinstance(document.get("error"), dict)
    return _ErrorBody(
        code,
        message,
        # A body like {"message": "Forbidden"} comes from a gateway.
        is_api=not document or "code" in document or is_nested,
        names_reason=code is not None or (is_nested and message is not None),
        retry_after_s=body_retry_after_s(document, message, server_now_s),
    )


def error_outcome(  # noqa: PLR0913  # all of an answer
    endpoint: Endpoint,
    status: int,
    body: bytes,
    encoding: str | None,
    report: LimitReport,
    *,
    server_now_s: float = 0.0,
) -> Outcome:
    """Return the outcome of an answer other than 200; `report` has the wait that its headers ask for.

    `server_now_s` is the time of the answer in Unix seconds: a body may state a time until which to wait.
    """
    error = _read_error(body, encoding, server_now_s)
    outcome = _error_outcome(endpoint, status, error)
    wait_s = report.retry_after_s if report.retry_after_s is not None else error.retry_after_s
    if status == 429 or outcome.code == "too_many_requests":
        return Throttled(
            _shown(error, status), wait_s, error.code or "too_many_requests", is_api=error.code is not None
        )
    if isinstance(outcome, Transient) and wait_s is not None and status >= 400:
        # The server asks to wait, so the failure is not the task's.
        wait_s = wait_s if wait_s <= MAX_BLOCK_S else MAX_GUESSED_BLOCK_S
        return Throttled(outcome.message, wait_s, code=outcome.code, is_api=outcome.is_api)
    return outcome


def hidden_error(body: bytes, encoding: str | None, server_now_s: float) -> Throttled | None:
    """Return Throttled if the body of a 200 answer asks to wait; None for any other body."""
    if len(body) > _MAX_HIDDEN_ERROR_BYTES or not begins_as_error(body, encoding):
        return None
    try:
        document = parse_object(decompress(body, encoding, _MAX_SMALL_BODY_BYTES))
    except BodyError:
        return None
    error = _error_body(document, server_now_s)
    is_error = not document.keys() & {"_id", "status", "data"}
    if not is_error or (error.code != "too_many_requests" and error.retry_after_s is None):
        return None
    wait_s = error.retry_after_s
    if wait_s is not None and wait_s > MAX_BLOCK_S:
        wait_s = MAX_GUESSED_BLOCK_S
    return Throttled(_shown(error, 200), wait_s, code=error.code or "too_many_requests", is_api=error.code is not None)


def _shown(error: _ErrorBody, status: int) -> str:
    return (error.message or f"HTTP {status}")[:MAX_MESSAGE_CHARACTERS]


def _error_outcome(endpoint: Endpoint, status: int, error: _ErrorBody) -> Outcome:
    if (foreign := _foreign_outcome(status, error)) is not None:
        return foreign
    shown, code = _shown(error, status), error.code
    if status == 400 and code in _ABOUT_PARAMETERS and OPTION_PARAMETER in shown:
        return Transient(
            f"The API refuses the embedding options that were asked for: {shown}", OPTION_REFUSED, is_api=True
        )
    if code == "api_upgrade_required" or status == 426:
        # Whatever its status, this says nothing about the task or the key.
        return Transient(
            f"The API no longer serves this version of its calls: {shown}",
            code or f"http_{status}",
            is_api=code is not None,
        )
    match status:
        case 401 | 403:
            return Refused(shown, code or f"http_{status}", is_key_invalid=status == 401)
        case 404 | 410 if error.is_api:
            return NotFound(shown, code or f"http_{status}")
        case 400 if code == "parameter_invalid":
            return InvalidRequest(shown, code)
        case 400 if code == "generic_error" and endpoint is Endpoint.RETRIEVE:
            # Some answers to an early retrieval have this in place of a 200 with `processing`.
            return Processing(code)
        case _:
            return Transient(shown, code or f"http_{status}", is_api=code is not None)


def _foreign_outcome(status: int, error: _ErrorBody) -> Transient | None:
    """Return the outcome of an answer that is not the API's: of a proxy, a gateway, or another server; else None."""
    match status:
        case 401 | 403 if not error.names_reason:
            # An empty 401 or 403 comes from a gateway. As a refusal of the key it would stop the harvest for good.
            return Transient(_BLOCKED.format(status=status, detail=_detail(error)), "blocked_by_proxy")
        case 407:
            return Transient(f"HTTP 407: a proxy asks for credentials{_detail(error)}.", "proxy_auth_required")
        case 511:
            return Transient(
                f"HTTP 511: this network asks for a login first{_detail(error)}.", "network_login_required"
            )
        case 304:
            return Transient('HTTP 304: a cache says "not modified", which was not asked.', "not_modified")
        case _ if 300 <= status < 400:
            # To follow it would send the key to another host.
            return Transient(f"HTTP {status}: redirects are not followed; check api.base_url.", "redirect")
        case _ if status < 200:
            return Transient(f"HTTP {status}: the server wants to speak another protocol.", "protocol_error")
        case _:
            return None


_ABOUT_PARAMETERS = ("parameter_invalid", "parameter_unknown")

_BLOCKED = "HTTP {status} without an error of the API: a firewall or proxy before it blocks the request{detail}."


def _detail(error: _ErrorBody) -> str:
    return f": {error.message[:MAX_MESSAGE_CHARACTERS].rstrip('.')}" if error.message else ""


def exception_outcome(error: BaseException, proxy: Proxy | None = None) -> Transient:
    """Return the outcome of an exception of the HTTP library, the operating system or a time-out: try again."""
    code = _exception_code(error, proxy)
    way = f" (through the proxy {proxy})" if proxy is not None and code != "machine_refuses" else ""
    return Transient(f"{_EXCEPTION_TEXTS[code]}: {_reason(error)}{way}.", code)


_EXCEPTION_TEXTS = {
    "machine_refuses": "This machine refuses what a request needs",
    "proxy_auth_required": "The proxy asks for credentials",
    "proxy_refused": "The proxy opens no way to the API",
    "proxy_unreachable": "The proxy cannot be reached",
    "connect_timeout": "No connection in time",
    "read_timeout": "The answer stalled",
    "name_lookup_failed": "The name of the API's host was not found",
    "tls_failed": "No trusted TLS connection",
    "connect_failed": "No connection",
    "connection_lost": "The connection broke",
    "protocol_error": "The answer is not HTTP as expected",
}

_MACHINE_ERRORS = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.EADDRNOTAVAIL,
    errno.EACCES,
    errno.EPERM,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
}
"""Errors of the operating system when it refuses descriptors, memory, ports, or the right to connect."""

_MACHINE_LOOKUP_ERRORS = {socket.EAI_MEMORY, getattr(socket, "EAI_SYSTEM", socket.EAI_MEMORY)}


def is_thread_refused(error: RuntimeError) -> bool:
    """Return whether the interpreter could not start a thread, which name lookups need."""
    return "can't start new thread" in str(error)


def _exception_code(error: BaseException, proxy: Proxy | None) -> str:
    if _is_of_the_machine(error):
        return "machine_refuses"
    match error:
        case aiohttp.ClientHttpProxyError(status=407):
            return "proxy_auth_required"
        case aiohttp.ClientHttpProxyError():
            return "proxy_refused"
        case aiohttp.ClientProxyConnectionError():
            return "proxy_unreachable"
        case aiohttp.ClientConnectorDNSError() if proxy is not None and error.host == proxy.host:
            return "proxy_unreachable"
        case _:
            return _network_code(error)


def _is_of_the_machine(error: BaseException) -> bool:
    if isinstance(error, MemoryError | BodyFileError | RuntimeError):
        return True
    cause = getattr(error, "os_error", error)
    # An SSLError is an OSError too, but with its own numbers.
    while isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        known = _MACHINE_LOOKUP_ERRORS if isinstance(cause, socket.gaierror) else _MACHINE_ERRORS
        if cause.errno in known:
            return True
        cause = cause.__cause__
    return False


def _network_code(error: BaseException) -> str:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return "connect_timeout"
        case TimeoutError():
            return "read_timeout"
        case aiohttp.ClientConnectorDNSError():
            return "name_lookup_failed"
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch() | ssl.SSLError():
            return "tls_failed"
        case aiohttp.ClientConnectionError() if isinstance(error.__cause__, TypeError):
            # aiohttp raises this if TLS inside the TLS connection to a proxy fails.
            return "tls_failed"
        case aiohttp.ClientConnectorError():
            return "connect_failed"
        case aiohttp.ClientPayloadError() | aiohttp.ClientConnectionError() | OSError():
            return "connection_lost"
        case _:
            return "protocol_error"


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        # aiohttp invents the status of an answer that it cannot parse.
        status = f"{error.status} " if isinstance(error, aiohttp.ClientHttpProxyError) else ""
        return (status + " ".join(error.message.split()).rstrip(".") or type(error).__name__)[:MAX_MESSAGE_CHARACTERS]
    return (str(error).strip().rstrip(".") or type(error).__name__)[:MAX_MESSAGE_CHARACTERS]


def _code_and_message(document: Mapping[str, Any]) -> tuple[str | None, str | None]:
    nested = document.get("error")
    source: Mapping[str, Any] = nested if isinstance(nested, dict) else document
    code, message = source.get("code"), source.get("message")
    return (
        code[:64] if isinstance(code, str) and code else None,
        message if isinstance(message, str) and message else None,
    )
