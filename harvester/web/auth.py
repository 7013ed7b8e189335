"""Decides who may read the pages: with a token its bearers, without one programs on this machine. Errors are JSON."""

import hmac
import json
import traceback
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from harvester.settings.addresses import is_this_machine

OPEN_PATHS = frozenset({"/healthz"})
"""Pages that an orchestrator may read without a token: they hold names of stages and seconds, nothing else."""

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    # It replaces the names and versions of Python and aiohttp.
    "server": "harvester",
    "x-content-type-options": "nosniff",
}

log = structlog.stdlib.get_logger()


def as_page(value: Any, status: int = 200) -> web.Response:
    """Return `value` as a JSON page in ASCII, so that foreign text cannot act on a terminal."""
    return web.json_response(value, status=status, dumps=lambda value: json.dumps(value, default=str) + "\n")


def guarded(token: str | None) -> Middleware:
    """Return the middleware that admits readers and adds `HEADERS` to every answer."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = _turned_away(request, token) or await handler(request)
        except web.HTTPException as problem:
            response = as_page({"error": problem.reason}, problem.status)
            if "allow" in problem.headers:
                response.headers["allow"] = problem.headers["allow"]
        except Exception as error:  # noqa: BLE001  # no caller is above
            # Not the whole traceback: on a terminal it would contain the local variables, and the token among them.
            where = traceback.extract_tb(error.__traceback__)[-1]
            log.error("a page failed", path=request.path, why=repr(error), where=f"{where.filename}:{where.lineno}")  # noqa: TRY400
            response = as_page({"error": "Internal Server Error"}, 500)
        response.headers.update(HEADERS)
        return response

    return middleware


def _turned_away(request: web.Request, token: str | None) -> web.Response | None:
    if request.path in OPEN_PATHS:
        return None
    if token is None:
        if _is_addressed_here(request):
            return None
        # Else a web page whose name resolves to 127.0.0.1 could read this through its visitor's browser.
        return as_page({"error": "Without server.token only requests to this machine by its own name are served."}, 403)
    if _has_token(request, token):
        return None
    response = as_page({"error": "A bearer token is needed: server.token."}, 401)
    response.headers["www-authenticate"] = 'Bearer realm="harvester"'
    return response


def _has_token(request: web.Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # Bytes, because text that is not ASCII cannot be compared in constant time.
    is_equal = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    return scheme.lower() == "bearer" and is_equal


def _is_addressed_here(request: web.Request) -> bool:
    host = request.headers.get("host")
    if host is None:  # HTTP/1.0; no browser
        return True
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return is_this_machine(name)
