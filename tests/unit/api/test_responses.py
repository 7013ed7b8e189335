"""Every answer and every exception becomes an outcome; none slips through."""

import errno
import gzip
import inspect
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp.client_reqrep import ConnectionKey
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from harvester.api.decode.result import MAX_MESSAGE_CHARACTERS
from harvester.api.responses import error_outcome, exception_outcome, hidden_error, status_outcome
from harvester.domain.limits.endpoint import MAX_GUESSED_BLOCK_S, Endpoint, LimitReport
from harvester.domain.tasks.outcomes import (
    Failed,
    InvalidRequest,
    NotFound,
    Outcome,
    Processing,
    Ready,
    Refused,
    Throttled,
    Transient,
)
from harvester.ports.spooled_body import BodyFileError

FIXTURES = Path(__file__).parents[2] / "fixtures"
PAGE = b"<html><head><title>404 Not Found</title></head><body>nginx</body></html>"


def answer(status: int, body: Any = b"", *, endpoint: Endpoint = Endpoint.STATUS, **limits: Any) -> Outcome:
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    return error_outcome(endpoint, status, sent, None, LimitReport(**limits))


def shapes(code: str, message: str) -> list[dict[str, Any]]:
    """The API's error bodies: flat, with a link, and nested."""
    flat = {"code": code, "message": message}
    return [flat, flat | {"docs_url": "https://docs.twelvelabs.io"}, {"error": flat}, {"error": flat, "message": "x"}]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "parameter_invalid", InvalidRequest),
        (400, "parameter_unknown", Transient),
        (400, "generic_error", Transient),
        (401, "api_key_invalid", Refused),
        (401, "unauthorized", Refused),
        (403, "api_not_allowed", Refused),
        (403, "region_not_allowed", Refused),
        (403, "api_allowed_for_paid_plan", Refused),
        (404, "resource_not_exist", NotFound),
        (404, "resource_not_exists", NotFound),
        (410, "resource_not_exists", NotFound),
        (429, "too_many_requests", Throttled),
        (408, "timeout", Transient),
        (425, "too_early", Transient),
        (500, "internal_server_error", Transient),
        (502, "bad_gateway", Transient),
        (503, "service_unavailable", Transient),
        (504, "gateway_timeout", Transient),
        (418, "teapot", Transient),
    ],
)
def test_every_documented_error_is_understood_in_each_shape(status: int, code: str, expected: type) -> None:
    outcomes: list[Any] = [answer(status, body) for body in shapes(code, "The API's words.")]
    seen = {(type(outcome), outcome.code, outcome.message) for outcome in outcomes}
    assert seen == {(expected, code, "The API's words.")}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 426, 500])
def test_a_required_upgrade_says_nothing_about_the_task_or_the_key(status: int) -> None:
    message = "The API no longer serves this version of its calls: Upgrade."
    for body in shapes("api_upgrade_required", "Upgrade."):
        assert answer(status, body) == Transient(message, "api_upgrade_required")


@pytest.mark.parametrize("code", ["parameter_invalid", "parameter_unknown"])
def test_a_refused_embedding_option_says_nothing_about_the_task(code: str) -> None:
    for body in shapes(code, "The embedding_option parameter is invalid."):
        outcome = answer(400, body, endpoint=Endpoint.RETRIEVE)
        assert (type(outcome), outcome.code) == (Transient, "embedding_option_refused")
        assert "The embedding_option parameter is invalid." in (outcome.message or "")


def test_status_426_without_a_code_is_a_required_upgrade() -> None:
    assert answer(426, b"") == Transient("The API no longer serves this version of its calls: HTTP 426", "http_426")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Transient("HTTP 400", "http_400")),
        (404, NotFound("HTTP 404", "http_404")),
        (410, NotFound("HTTP 410", "http_410")),
        (429, Throttled("HTTP 429", None, "too_many_requests")),
        (500, Transient("HTTP 500", "http_500")),
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}", b'{"code": null, "message": 7}', b'{"error": {}}'])
def test_an_error_without_a_message_is_described_by_its_status(status: int, expected: Outcome, body: bytes) -> None:
    assert answer(status, body) == expected


@pytest.mark.parametrize("status", [400, 404, 410, 500, 502, 503])
@pytest.mark.parametrize(
    "body",
    [PAGE, b" \n" + PAGE, b"404 page not found", b"null", b"[]", b'{"code": "resource_not_ex', b"\xff\xfe", b"{" * 9],
)
def test_a_page_of_something_in_between_says_nothing_about_the_task(status: int, body: bytes) -> None:
    assert isinstance(answer(status, body), Transient)


def test_a_compressed_page_says_nothing_about_the_task() -> None:
    body = gzip.compress(PAGE)
    assert isinstance(error_outcome(Endpoint.RETRIEVE, 404, body, "gzip", LimitReport()), Transient)


def test_a_compressed_error_is_understood() -> None:
    body = gzip.compress(b'{"code": "resource_not_exists", "message": "Unknown."}')
    assert error_outcome(Endpoint.RETRIEVE, 404, body, "gzip", LimitReport()) == NotFound("Unknown.")


def test_the_beginning_of_a_page_is_shown() -> None:
    assert "404 Not Found" in (answer(502, PAGE).message or "")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_an_answer(status: int) -> None:
    expected = f"HTTP {status}: redirects are not followed; check api.base_url."
    assert answer(status, {"code": "x"}) == Transient(expected, "redirect")


def test_a_result_that_was_asked_for_too_early_is_processing() -> None:
    body = {"code": "generic_error", "message": "Not ready."}
    assert answer(400, body, endpoint=Endpoint.RETRIEVE) == Processing("generic_error")


def test_the_documented_refusal_is_throttled() -> None:
    body = (FIXTURES / "error_429.http").read_bytes().partition(b"\n\n")[2]
    message = "You have exceeded the rate limit (100req/1day). Please try again later after 2025-11-08T01:20:49Z."
    assert answer(429, body, retry_after_s=11_382.0) == Throttled(message, 11_382.0)


def test_a_long_message_is_shortened() -> None:
    assert answer(500, {"message": "x" * 10**5}) == Transient("x" * MAX_MESSAGE_CHARACTERS, "http_500")


@given(st.integers(300, 599), st.binary(max_size=200), st.sampled_from([None, "gzip", "br"]))
def test_no_error_body_makes_it_raise(status: int, body: bytes, encoding: str | None) -> None:
    assert isinstance(error_outcome(Endpoint.RETRIEVE, status, body, encoding, LimitReport()), Outcome)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"status": "ready"}, Ready()),
        ({"status": "processing"}, Processing("processing")),
        ({"status": "queued", "created_at": "1970-01-01T00:00:01Z"}, Processing("queued", 1_000)),
        ({"status": "failed", "error": {"message": "Too short."}}, Failed("Too short.")),
        ({"code": "x", "message": "Words."}, Transient("The answer is not a status: Words.", "x")),
        ({"status": None}, Transient("The answer is not a status: '{\"status\":null}'.", "not_a_status")),
        ([], Transient("The answer is a JSON list, not an object.", "not_an_object")),
        (None, Transient("The answer is null, not an object.", "not_an_object")),
    ],
)
def test_a_status_is_understood(body: Any, expected: Outcome) -> None:
    assert status_outcome(orjson.dumps(body), None) == expected


def test_the_documented_status_is_processing() -> None:
    assert status_outcome((FIXTURES / "status_v1_processing.json").read_bytes(), None) == Processing("processing")


@pytest.mark.parametrize("body", [b"", PAGE, b'{"status": NaN}', b'{"status": "rea', b'{"x":' + b"[" * 5_000 + b"}"])
def test_a_status_that_cannot_be_read_never_rejects_the_task(body: bytes) -> None:
    assert isinstance(status_outcome(body, None), Transient)


@given(st.binary(max_size=200), st.sampled_from([None, "gzip", "br"]))
def test_no_status_body_makes_it_raise(body: bytes, encoding: str | None) -> None:
    assert isinstance(status_outcome(body, encoding), Outcome)


# The sender of an error: the API, or a proxy before it.


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        PAGE,
        b"Access denied",
        b"{}",
        b'{"message": "Forbidden"}',
        b'{"error": "Forbidden"}',
        b'{"code": 403, "message": "Forbidden"}',
        b'{"code": "api_key_inv',
        b"null",
    ],
)
def test_only_an_error_of_the_api_refuses_the_key(status: int, body: bytes) -> None:
    outcome = answer(status, body)
    assert (type(outcome), outcome.code) == (Transient, "blocked_by_proxy")
    assert "firewall or proxy" in (outcome.message or "")


@pytest.mark.parametrize("body", [{"message": "no Route matched"}, {"detail": "Not Found"}, {"error": "Not Found"}])
@pytest.mark.parametrize("status", [404, 410])
def test_a_gateway_that_knows_no_route_says_nothing_about_the_task(status: int, body: dict[str, str]) -> None:
    assert isinstance(answer(status, body), Transient)


@pytest.mark.parametrize(
    ("status", "code"), [(304, "not_modified"), (407, "proxy_auth_required"), (511, "network_login_required")]
)
def test_what_stands_between_is_named(status: int, code: str) -> None:
    assert answer(status, PAGE).code == code


# The wish that we wait.


@pytest.mark.parametrize("status", [403, 408, 425, 500, 502, 503, 504])
def test_a_passing_failure_that_names_a_wait_is_waited_for_and_not_charged(status: int) -> None:
    outcome = answer(status, PAGE, retry_after_s=20.0)
    assert isinstance(outcome, Throttled)
    assert (outcome.retry_after_s, outcome.code) == (20.0, answer(status, PAGE).code)


def test_an_absurd_wait_of_a_passing_failure_is_short() -> None:
    outcome = answer(503, retry_after_s=1e12)
    assert getattr(outcome, "retry_after_s", None) == MAX_GUESSED_BLOCK_S


@pytest.mark.parametrize("status", [404, 401, 302])
def test_an_end_or_a_redirect_is_no_wish(status: int) -> None:
    body = {"code": "x", "message": "Try again in 20 seconds."}
    assert not isinstance(answer(status, body, retry_after_s=20.0), Throttled)


@pytest.mark.parametrize("status", [400, 403, 503])
def test_the_code_of_the_rate_limit_counts_in_any_status(status: int) -> None:
    body = {"error": {"code": "too_many_requests", "message": "Try again in 500ms."}}
    assert answer(status, body) == Throttled("Try again in 500ms.", 0.5)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"code": "too_many_requests", "message": "x"}, Throttled("x", None)),
        ({"code": "busy", "message": "x", "retry_after": 20}, Throttled("x", 20.0, "busy")),
        ({"error": {"code": "busy", "message": "retry in 2 minutes"}}, Throttled("retry in 2 minutes", 120.0, "busy")),
        ({"code": "busy", "message": "x", "retry_after": 10**15}, Throttled("x", MAX_GUESSED_BLOCK_S, "busy")),
        ({"code": "busy", "message": "x"}, None),
        ({"error": {"message": "retry in 2 minutes"}, "status": "failed", "_id": "1"}, None),
        ({"_id": "1", "status": "ready"}, None),
    ],
)
def test_a_wish_to_wait_is_found_in_a_200(body: Any, expected: Outcome | None) -> None:
    assert hidden_error(orjson.dumps(body), None, 0.0) == expected


# Exceptions.

KEY = ConnectionKey("api.example", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
ARGUMENTS: dict[str, Any] = {
    "request_info": aiohttp.RequestInfo(URL("http://api.example"), "GET", SimpleNamespace(), URL("http://api.example")),  # type: ignore[arg-type]
    "history": (),
    "connection_key": KEY,
    "os_error": OSError(111, "refused"),
    "certificate_error": ssl.SSLCertVerificationError("self-signed"),
    "path": "/tmp/socket",
    "expected": b"1",
    "got": b"2",
    "host": "api.example",
    "port": 443,
    "url": URL("http://api.example"),
    "message": None,
}


def subclasses(base: type[BaseException]) -> Iterator[type[BaseException]]:
    yield base
    for each in base.__subclasses__():
        yield from subclasses(each)


def instance(kind: type[BaseException]) -> BaseException:
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    needed = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty]
    return kind(**{name: ARGUMENTS[name] for name in needed})


VENDOR = sorted(set(subclasses(aiohttp.ClientError)), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", VENDOR, ids=lambda kind: kind.__name__)
def test_every_exception_of_the_http_library_is_transient_with_a_message(kind: type[BaseException]) -> None:
    outcome = exception_outcome(instance(kind))
    text, _, reason = outcome.message.partition(": ")
    assert (bool(text), len(reason) > 1, outcome.code.isidentifier()) == (True, True, True)


def test_there_are_exceptions_to_test() -> None:
    assert len(VENDOR) > 20


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), Transient("The answer stalled: TimeoutError.", "read_timeout")),
        (TimeoutError("slow"), Transient("The answer stalled: slow.", "read_timeout")),
        (aiohttp.SocketTimeoutError("slow."), Transient("The answer stalled: slow.", "read_timeout")),
        (aiohttp.ConnectionTimeoutError("slow"), Transient("No connection in time: slow.", "connect_timeout")),
        (OSError(), Transient("The connection broke: OSError.", "connection_lost")),
        (ConnectionResetError("by peer"), Transient("The connection broke: by peer.", "connection_lost")),
        (aiohttp.ServerDisconnectedError(), Transient("The connection broke: Server disconnected.", "connection_lost")),
        (aiohttp.ClientPayloadError("cut"), Transient("The connection broke: cut.", "connection_lost")),
        (ssl.SSLError(1, "bad"), Transient("No trusted TLS connection: bad.", "tls_failed")),
        (ValueError("header"), Transient("The answer is not HTTP as expected: header.", "protocol_error")),
    ],
)
def test_an_exception_becomes_a_sentence(error: BaseException, expected: Transient) -> None:
    assert exception_outcome(error) == expected


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (aiohttp.ClientConnectorError, "connect_failed"),
        (aiohttp.ClientConnectorDNSError, "name_lookup_failed"),
        (aiohttp.ClientConnectorSSLError, "tls_failed"),
        (aiohttp.ClientConnectorCertificateError, "tls_failed"),
        (aiohttp.ServerFingerprintMismatch, "tls_failed"),
        (aiohttp.InvalidURL, "protocol_error"),
        (ssl.SSLCertVerificationError, "tls_failed"),
        (socket.gaierror, "connection_lost"),
        (aiohttp.ClientProxyConnectionError, "proxy_unreachable"),
        (aiohttp.ClientHttpProxyError, "proxy_refused"),
        (MemoryError, "machine_refuses"),
    ],
)
def test_an_exception_has_a_stable_code(kind: type[BaseException], code: str) -> None:
    assert exception_outcome(instance(kind)).code == code


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        aiohttp.ClientConnectorError(KEY, OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")),
        aiohttp.ClientOSError(errno.ENOBUFS, "No buffer space available"),
        BodyFileError(errno.ENOSPC, "No space left on device"),
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_MEMORY, "Memory allocation failure")),
        RuntimeError("can't start new thread"),
    ],
)
def test_what_this_machine_refuses_is_not_reported_as_a_network_error(error: BaseException) -> None:
    assert exception_outcome(error).code == "machine_refuses"


def test_the_reason_of_an_exception_is_shortened() -> None:
    assert len(exception_outcome(OSError("x" * 10**5)).message) < MAX_MESSAGE_CHARACTERS + 50


@pytest.mark.parametrize("status", ["ready", "processing", "queued"])
def test_a_status_tells_the_model_and_the_length_of_the_video(status: str) -> None:
    body = b'{"status": "%s", "model_name": "marengo3.0", "video_embedding": {"metadata": {"duration": 18}}}'
    outcome = status_outcome(body % status.encode(), None)
    assert isinstance(outcome, Ready | Processing)
    assert outcome.metadata is not None
    assert (outcome.metadata.model_name, outcome.metadata.duration) == ("marengo3.0", 18.0)
