"""Faults of the API: whole answers that replace the right one."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import orjson
from aiohttp import web

from harvester.simulator.entries import page_body
from harvester.simulator.faults.model import Occasion, Serve
from harvester.simulator.listing import MAX_PAGE_LIMIT, Page, parse_list_query

ANOTHER_ID = "ffffffffffffffffffffffff"
ENDLESS_PAGES = 1_000_000
_MEBIBYTE = 1 << 20

_PROBLEMS = {
    400: ("generic_error", "Something is wrong with this request."),
    401: ("api_key_invalid", "API Key is either invalid or expired."),
    403: ("api_not_allowed", "This key may not use the Embed API any more."),
    404: ("resource_not_exists", "The resource does not exist."),
    410: ("resource_not_exists", "The resource is gone."),
}


def answered(occasion: Occasion, body: bytes, status: int = 200, **headers: str) -> web.Response:
    """Return another answer, with the rate limit headers of the right one."""
    kept = {name: value for name, value in occasion.answer.headers.items() if name.lower().startswith("x-ratelimit")}
    named = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    return web.Response(status=status, body=body, headers=kept | named)


def saying(body: bytes, content_type: str = "application/json") -> Serve:
    """Return a function that answers 200 with that body."""
    return lambda occasion: answered(occasion, body, content_type=content_type)


def problem(occasion: Occasion) -> web.Response:
    """Refuse with the rule's `status`, as the API words it; `value` is the message."""
    status = occasion.fault.status or 500
    code, message = _PROBLEMS.get(status, ("internal_server_error", "The server cannot answer now."))
    return answered(occasion, occasion.dialect.problem(code, occasion.value(message)), status)


def throttled(occasion: Occasion) -> web.Response:
    """Answer 429. `value` is the Retry-After; `date+30` is written as the date in 30 seconds, empty sends none."""
    wait = occasion.value("1")
    if wait.startswith("date"):
        wait = formatdate(occasion.now + float(wait.removeprefix("date")), usegmt=True)
    body = occasion.dialect.problem("too_many_requests", "You have exceeded the rate limit.")
    return answered(occasion, body, 429, **({"retry_after": wait} if wait else {}))


def blocked(occasion: Occasion) -> web.Response:
    """Block the request with the page of a firewall: the rule's `status` (403), `value` as the page."""
    page = occasion.value("<html><head><title>Access denied</title></head><body>Request blocked.</body></html>")
    return answered(occasion, page.encode(), occasion.fault.status or 403, content_type="text/html")


def busy(occasion: Occasion) -> web.Response:
    """Fail with the rule's `status` (503) and ask to wait: `value` is a header line, or a body in JSON."""
    wait, body = occasion.value("retry-after: 1"), b'{"code":"unavailable","message":"Maintenance."}'
    if wait.startswith("{"):
        return answered(occasion, wait.encode(), occasion.fault.status or 503)
    name, _, text = wait.partition(":")
    return answered(occasion, body, occasion.fault.status or 503, **{name.strip(): text.strip()})


def long_headers(occasion: Occasion) -> web.Response:
    """Give the right answer with more and longer headers than most servers send: 300, one of 20 KB."""
    many = {f"x-policy-{number}": "none" for number in range(300)}
    return answered(occasion, occasion.body, occasion.answer.status, **many, x_security_policy="x" * 20_000)


def odd_encoding(occasion: Occasion) -> web.Response:
    """Give the right answer in gzip, with `value` as the name of the encoding: another spelling, or none."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = packer.compress(occasion.body) + packer.flush()
    return answered(occasion, packed, occasion.answer.status, content_encoding=occasion.value("x-gzip"))


def unpacked(occasion: Occasion) -> web.Response:
    """Give the right answer uncompressed, but call it gzip: proxies unpack bodies and leave the header."""
    return answered(occasion, occasion.body, occasion.answer.status, content_encoding="gzip")


def raw_deflate(occasion: Occasion) -> web.Response:
    """Give the right answer in deflate without zlib's frame, as old servers send it."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = packer.compress(occasion.body) + packer.flush()
    return answered(occasion, packed, occasion.answer.status, content_encoding="deflate")


def byte_order_mark(occasion: Occasion) -> web.Response:
    """Give the right answer with a byte order mark before the JSON and NULs behind it."""
    return answered(occasion, b"\xef\xbb\xbf" + occasion.body + b"\0\0", occasion.answer.status)


def redirect(occasion: Occasion) -> web.Response:
    """Redirect the client to the rule's `value`."""
    return answered(occasion, b"", occasion.fault.status or 302, location=occasion.value("https://elsewhere.invalid/"))


def bomb(occasion: Occasion) -> web.Response:
    """Send a few kilobytes of gzip that hold `value` MiB of blanks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    blanks = b" " * _MEBIBYTE
    first = packer.compress(b'{"a":"') + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush the same bytes are packed the same way again.
    one = packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)
    return answered(occasion, first + one * int(occasion.value("1024")), content_encoding="gzip")


def cut_gzip(occasion: Occasion) -> web.Response:
    """Send a gzip stream without its end, in a body of the announced length."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = packer.compress(occasion.body) + packer.flush()
    return answered(occasion, packed[: len(packed) * 2 // 3], occasion.answer.status, content_encoding="gzip")


def key_echoed(occasion: Occasion) -> web.Response | None:
    """Repeat the caller's key in the answer."""
    return _with_key(occasion, lambda key: key)


def key_escaped(occasion: Occasion) -> web.Response | None:
    """Repeat the caller's key in the answer, its first character as a JSON escape."""
    return _with_key(occasion, lambda key: f"\\u{ord(key[0]):04x}{key[1:]}")


def _with_key(occasion: Occasion, spell: Callable[[str], str]) -> web.Response | None:
    if occasion.answer.status != 200 or not occasion.body.startswith(b"{"):
        return None
    key = spell(occasion.request.headers.get("x-api-key", "no key"))
    return answered(occasion, b'{"asked_with":"%s",' % key.encode() + occasion.body[1:])


def altered(change: Callable[[dict[str, Any]], None]) -> Serve:
    """Return a function that applies `change` to the JSON object of a good answer."""

    def serve(occasion: Occasion) -> web.Response | None:
        if occasion.answer.status != 200:
            return None
        document = orjson.loads(occasion.body)
        change(document)
        return answered(occasion, orjson.dumps(document))

    return serve


def with_status(status: str) -> Serve:
    """Return a function that answers with another status, and without a result."""

    def serve(occasion: Occasion) -> web.Response | None:
        return altered(lambda document: occasion.dialect.without_result(document, status))(occasion)

    return serve


def another_id(document: dict[str, Any]) -> None:
    """Name another task."""
    document["_id"] = ANOTHER_ID


def neighbours_id(occasion: Occasion) -> web.Response | None:
    """Give the answer for the next task, with its id: the answer to another request."""
    ids = occasion.catalogue.ids()
    if occasion.answer.status != 200 or len(ids) < 2:
        return None
    neighbour = ids[(ids.index(occasion.task_id.lower()) + 1) % len(ids)]
    task, version = occasion.catalogue.task(neighbour), occasion.dialect.version
    if task.request.version != version and not occasion.dialect.knows(task):
        return None
    return answered(occasion, occasion.catalogue.document(neighbour, version=version))


def id_refused(occasion: Occasion) -> web.Response:
    """Refuse the id, as the API does for a mistyped one."""
    body = occasion.dialect.problem("parameter_invalid", "The task_id parameter is invalid.")
    return answered(occasion, body, 400)


def listed_failed(document: dict[str, Any]) -> None:
    """Say of every task on the page that it has failed."""
    for task in document["data"]:
        task["status"] = "failed"


def total_page_too_small(document: dict[str, Any]) -> None:
    """Claim that this page is the last."""
    document["page_info"] |= {"total_page": 1, "total_results": len(document["data"])}


def total_page_too_large(document: dict[str, Any]) -> None:
    """Claim that there are very many pages."""
    document["page_info"] |= {"total_page": ENDLESS_PAGES, "total_results": ENDLESS_PAGES * MAX_PAGE_LIMIT}


def list_shifts(occasion: Occasion) -> web.Response:
    """Give the right answer, and make a task before the next page is requested, so that all later tasks move on."""
    newest = occasion.catalogue.task(occasion.catalogue.ids()[-1])
    occasion.catalogue.create(replace(newest.request, filename="later.mp4"))
    return answered(occasion, occasion.body, occasion.answer.status)


def endless_list(occasion: Occasion) -> web.Response | None:
    """Give the first page for every request, and claim that there are more."""
    if occasion.answer.status != 200:
        return None
    asked = parse_list_query(occasion.request.query, occasion.dialect.version)
    first = occasion.catalogue.page(replace(asked, started_at_ms=None, ended_at_ms=None, page=1))
    repeated = Page(first.tasks, ENDLESS_PAGES, asked)
    return answered(occasion, page_body(repeated, round(occasion.now * 1000)))
