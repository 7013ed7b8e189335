"""The middlewares around each call: request log, compression, problems as JSON, key, limits."""

import asyncio
import secrets
import zlib
from email.utils import formatdate

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from harvester.simulator.clock import SimulatorClock
from harvester.simulator.dialects import dialect_of
from harvester.simulator.faults.model import FAULT
from harvester.simulator.limits import RateLimiter, quota_headers
from harvester.simulator.problems import ApiProblem, key_refused, too_many_requests
from harvester.simulator.request_log import RequestLog, RequestRecord, endpoint_of
from harvester.simulator.rfc3339 import format_s
from harvester.simulator.settings import SimulatorSettings

_GZIP_WINDOW = 31  # zlib's wbits for the gzip format
_GZIP_LEVEL = 1  # for speed; decimals of random numbers hardly get smaller at 9
_LARGE_BYTES = 1 << 16  # larger bodies are compressed in a thread


def recorded(clock: SimulatorClock, log: RequestLog) -> Middleware:
    """Add `date` and `x-trace-id` to each answer, and write it to the log. This is the outermost middleware."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        now = clock.now()
        response.headers["date"] = formatdate(now, usegmt=True)
        response.headers["x-trace-id"] = secrets.token_hex(8)
        log.append(_record(now, request, response))
        return response

    return middleware


def compressed() -> Middleware:
    """Encode bodies with gzip for clients that accept it."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if not isinstance(response, web.Response) or "content-encoding" in response.headers:
            return response
        if isinstance(response.body, bytes):
            response.headers["vary"] = "accept-encoding"
            if accepts_gzip(request.headers.get("accept-encoding", "")):
                large = len(response.body) >= _LARGE_BYTES
                response.body = await asyncio.to_thread(_gzip, response.body) if large else _gzip(response.body)
                response.headers["content-encoding"] = "gzip"
        return response

    return middleware


def problems_as_json() -> Middleware:
    """Write every refusal as the API does, also those of the router."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiProblem as error:
            problem = error
        except web.HTTPException as error:
            problem = _router_problem(request, error)
        return web.Response(
            status=problem.status,
            body=dialect_of(request.path).problem(problem.code, problem.message),
            content_type="application/json",
            headers=problem.headers,
        )

    return middleware


def admitted(settings: SimulatorSettings, clock: SimulatorClock, limiter: RateLimiter) -> Middleware:
    """Admit requests with the key and within the limits; every answer has the quota, also a refusal.

    A request with a wrong key belongs to no organization and is therefore not counted.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        key = request.headers.get("x-api-key", "")
        if not key or (settings.key and key != settings.key):
            raise key_refused()
        admission = limiter.admit(clock.now())
        headers = quota_headers(admission.quota, settings.header_scheme)
        if admission.quota is not None and not admission.admitted:
            quota = admission.quota
            raise too_many_requests(quota.label, format_s(quota.resets_at), admission.retry_after_s, headers)
        try:
            response = await handler(request)
        except ApiProblem as problem:
            problem.headers.update(headers)
            raise
        response.headers.update(headers)
        return response

    return middleware


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip; `gzip;q=0` forbids it."""
    for entry in accept_encoding.lower().split(","):
        coding, _, quality = entry.partition(";")
        if coding.strip() in {"gzip", "*"}:
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _record(now: float, request: web.Request, response: web.StreamResponse) -> RequestRecord:
    body = response.body if isinstance(response, web.Response) else None
    return RequestRecord(
        at=now,
        method=request.method,
        path=request.path,
        query=request.query_string,
        endpoint=endpoint_of(request),
        task_id=request.match_info.get("task_id"),
        status=response.status,
        bytes=len(body) if isinstance(body, bytes) else 0,
        fault=response.get(FAULT),
    )


def _router_problem(request: web.Request, error: web.HTTPException) -> ApiProblem:
    code = "resource_not_exists" if error.status == 404 else "generic_error"
    allowed = {"allow": error.headers["allow"]} if "allow" in error.headers else {}
    return ApiProblem(error.status, code, f"{request.method} {request.path}: {error.reason}.", allowed)


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(body) + compressor.flush()
