"""The answers of the API, and the exceptions of the HTTP library, to outcomes: the one boundary for both."""

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

from harvester.api.bodies import BodyError, decompress, excerpt, parse_object
from harvester.api.decoding import MAX_MESSAGE_CHARACTERS, received_id, unfinished, video_metadata
from harvester.domain.outcomes import (
    Gone,
    Outcome,
    Processing,
    Ready,
    Refused,
    Throttled,
    Transient,
    Unacceptable,
)
from harvester.domain.pacing import Endpoint, LimitReport

_MAX_SMALL_BODY_BYTES = 4 * 1024 * 1024
"""Statuses and errors are a few hundred bytes."""


def status_outcome(body: bytes, encoding: str | None) -> Outcome:
    """Return what the 200 answer of a status call means."""
    try:
        document = parse_object(decompress(body, encoding, _MAX_SMALL_BODY_BYTES))
    except BodyError as error:
        # Even a well-formed answer that is wrong says nothing about the embeddings: only a retrieval can reject.
        return Transient(error.outcome.message, error.outcome.code)
    status = document.get("status")
    if status is None:
        code, message = _code_and_message(document)
        shown = (message or excerpt(body))[:MAX_MESSAGE_CHARACTERS].rstrip(".")
        return Transient(f"The answer is not a status: {shown}.", code or "not_a_status")
    return Ready(video_metadata(document), received_id(document)) if status == "ready" else unfinished(document)


def error_outcome(endpoint: Endpoint, status: int, body: bytes, encoding: str | None, report: LimitReport) -> Outcome:
    """Return what an answer other than 200 means."""
    code, message, is_api = _describe(body, encoding)
    shown = (message or f"HTTP {status}")[:MAX_MESSAGE_CHARACTERS]
    match status:
        case 401 | 403:
            return Refused(shown, code or f"http_{status}", is_key=status == 401)
        case 404 | 410 if is_api:
            return Gone(shown, code or f"http_{status}")
        case 429:
            return Throttled(shown, report.retry_after_s, code or "too_many_requests")
        case 400 if code == "parameter_invalid":
            return Unacceptable(shown, code)
        case 400 if code == "generic_error" and endpoint is Endpoint.RETRIEVE:
            # Retrieved too early: seen by others in place of a 200 with `processing`.
            return Processing(code)
        case _ if 300 <= status < 400:
            # Following it would carry the key to another host.
            return Transient(f"HTTP {status}: redirects are not followed; check api.base_url.", "redirect")
        case _:
            return Transient(shown, code or f"http_{status}")


def exception_outcome(error: BaseException) -> Transient:
    """Return what an exception of the HTTP library, the operating system or a time-out means: try again."""
    code = _exception_code(error)
    return Transient(f"{_EXCEPTION_TEXTS[code]}: {_reason(error)}.", code)


_EXCEPTION_TEXTS = {
    "connect_timeout": "No connection in time",
    "read_timeout": "The answer stalled",
    "name_lookup_failed": "The name of the API's host was not found",
    "tls_failed": "No trusted TLS connection",
    "connect_failed": "No connection",
    "connection_lost": "The connection broke",
    "protocol_error": "The answer is not HTTP as expected",
}


def _exception_code(error: BaseException) -> str:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return "connect_timeout"
        case TimeoutError():
            return "read_timeout"
        case aiohttp.ClientConnectorDNSError():
            return "name_lookup_failed"
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch() | ssl.SSLError():
            return "tls_failed"
        case aiohttp.ClientConnectorError():
            return "connect_failed"
        case aiohttp.ClientPayloadError() | aiohttp.ClientConnectionError() | OSError():
            return "connection_lost"
        case _:
            return "protocol_error"


def _reason(error: BaseException) -> str:
    return (str(error).strip().rstrip(".") or type(error).__name__)[:MAX_MESSAGE_CHARACTERS]


def _describe(body: bytes, encoding: str | None) -> tuple[str | None, str | None, bool]:
    """Return code and message of an error body, and whether it is one of the API's: flat, nested, or empty."""
    try:
        document = parse_object(decompress(body, encoding if body else None, _MAX_SMALL_BODY_BYTES))
    except BodyError as error:
        # All but an empty body is the page of a proxy, or of a wrong base URL, and says nothing about the task.
        problem = error.outcome
        return None, problem.message if problem.code == "not_json" else None, problem.code == "body_empty"
    return (*_code_and_message(document), True)


def _code_and_message(document: Mapping[str, Any]) -> tuple[str | None, str | None]:
    nested = document.get("error")
    source: Mapping[str, Any] = nested if isinstance(nested, dict) else document
    code, message = source.get("code"), source.get("message")
    return (
        code[:64] if isinstance(code, str) and code else None,
        message if isinstance(message, str) and message else None,
    )
