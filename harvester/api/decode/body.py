"""Convert received bytes to a JSON object: decompress them under a cap, and distinguish a cut body from a wrong one.

A body that was cut, or is a proxy's page, will be whole at the next attempt; a complete answer that is not acceptable
will be the same again.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from harvester.domain.decompression import GZIP_MAGIC, DamagedStreamError, Decompressor
from harvester.domain.tasks.exact_numbers import AsWritten
from harvester.domain.tasks.outcomes import Invalid, Transient

EXCERPT_CHARACTERS = 120

_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
"""The marks before texts of two and four bytes a character; the mark of UTF-32 LE begins with that of UTF-16 LE."""

_MAX_LAYERS = 3
"""Layers of gzip that are removed: a proxy may compress a compressed body, and JSON never begins like gzip."""

_MAX_MEMBERS = 16
"""Members of a gzip stream (RFC 1952, 2.2) that are read, because each costs a copy of the rest."""

_TITLE = re.compile(rb"<title[^>]*>([^<]*)</title", re.IGNORECASE)
_TITLE_WITHIN = 8192
"""Bytes of a page in which its title is looked for."""

_CHUNK_BYTES = 256 * 1024
"""Bytes: as much as fits into the processor's cache."""

MAX_GROWTH = 4
"""Multiple of the cap that a body may take as Python objects; vectors take two to three times their text."""

_COLON_BYTES, _COMMA_BYTES, _BRACKET_BYTES = 96, 32, 64
"""About the bytes that a key, a value, and an empty list or object take."""

_NO_GROWTH_BYTES = 64 * 1024 * 1024
"""Bytes that any body may take as Python objects."""

_GLANCED_BYTES = 256
_FIRST_ID = re.compile(rb'\s*\{\s*"_id"\s*:\s*"([A-Za-z0-9_-]{1,128})"')
_FIRST_ERROR_FIELD = re.compile(rb'\s*\{\s*"(?:code|message|error|retry[A-Za-z_-]{1,20})"\s*:')

_NO_NUMBER = re.compile(r"nan|inf(?:inity)?", re.IGNORECASE)
"""What programs write for numbers that JSON does not have."""

SMALL_BYTES = 1024 * 1024
GLANCE_BYTES = 64 * 1024


class BodyError(Exception):
    """The body is not a JSON object; `outcome` is the outcome of the request."""

    def __init__(self, outcome: Transient | Invalid) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def is_plain(encoding: str | None) -> bool:
    """Whether a body with that content encoding is not compressed."""
    return encoding in (None, "", "identity")


def decompress(body: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """Return the decoded body of at most `max_bytes`. Raises BodyError."""
    if is_plain(encoding):
        if len(body) > max_bytes:
            raise too_large(max_bytes)
        return body
    if encoding not in ("gzip", "deflate"):
        raise BodyError(Transient(f"The answer has the content encoding {encoding!a}.", "unknown_encoding"))
    decoded = body
    for _ in range(_MAX_LAYERS):
        decoded = _inflate_members(decoded, max_bytes)
        if not decoded.startswith(GZIP_MAGIC):
            break
    return decoded


def _inflate_members(body: bytes, max_bytes: int) -> bytes:
    # One more byte than the cap shows that the body is larger.
    stream = Decompressor(max_members=_MAX_MEMBERS, max_bytes=max_bytes + 1)
    try:
        decoded = b"".join(stream.content(body))
    except DamagedStreamError as error:
        raise BodyError(Transient(f"The compressed body is damaged: {error}.", "body_damaged")) from None
    if len(decoded) > max_bytes:
        raise too_large(max_bytes)
    if not stream.is_whole:
        # aiohttp does not notice a cut gzip stream.
        raise BodyError(Transient("The compressed body was cut.", "body_cut"))
    return decoded


def decompressed(file: BinaryIO, encoding: str | None, max_bytes: int) -> Iterator[bytes]:
    """Yield the decoded content of a file in chunks. Raises BodyError, also for bodies that need `decompress`."""
    received = 0
    for chunk in _chunks(file) if is_plain(encoding) else _inflated(file, encoding):
        received += len(chunk)
        if received > max_bytes:
            raise too_large(max_bytes)
        yield chunk


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _inflated(file: BinaryIO, encoding: str | None) -> Iterator[bytes]:
    irregular = BodyError(Transient("The compressed body is not one whole stream.", "body_damaged"))
    if encoding not in ("gzip", "deflate"):
        raise irregular
    stream = Decompressor(max_members=1, piece_bytes=_CHUNK_BYTES)
    try:
        for chunk in _chunks(file):
            yield from stream.content(chunk)
            if stream.is_followed:
                raise irregular
    except DamagedStreamError:
        raise irregular from None
    if not stream.is_whole:
        raise irregular


def contains(body: bytes, encoding: str | None, text: bytes) -> bool:
    """Return whether `text` occurs in the body; never raises.

    Cheap enough for the event loop: it decompresses at most 1 MiB of a compressed body, of a large one 64 KiB.
    """
    return text in body or contains_compressed(body, len(body), encoding, text)


def contains_compressed(beginning: bytes, size: int, encoding: str | None, text: bytes) -> bool:
    """Return whether `text` occurs in a compressed body of `size` bytes, as far as `contains` decompresses it."""
    if encoding not in ("gzip", "deflate"):
        return False
    return text in _beginning(beginning, GLANCE_BYTES if size > SMALL_BYTES else SMALL_BYTES)


def _beginning(body: bytes, max_bytes: int) -> bytes:
    """Return up to `max_bytes` of the decoded body, as far as it is undamaged."""
    stream = Decompressor(max_members=_MAX_MEMBERS, max_bytes=max_bytes)
    decoded = b""
    try:
        for piece in stream.content(body[:max_bytes]):
            decoded += piece
    except DamagedStreamError:
        pass
    return decoded


def beginning_id(body: bytes, encoding: str | None) -> str | None:
    """Return the `_id` at the beginning of a body; None if another field is first, or the body is damaged."""
    found = _FIRST_ID.match(_glance(body, encoding))
    return found[1].decode() if found else None


def begins_as_error(body: bytes, encoding: str | None) -> bool:
    """Return whether the first field of a body is one of an error."""
    return _FIRST_ERROR_FIELD.match(_glance(body, encoding)) is not None


def _glance(body: bytes, encoding: str | None) -> bytes:
    return body[:_GLANCED_BYTES] if is_plain(encoding) else _beginning(body[:GLANCE_BYTES], _GLANCED_BYTES)


def too_large(max_bytes: int) -> BodyError:
    """Return the error for a body over the cap."""
    message = f"The body is larger than api.max_body_bytes ({max_bytes})."
    return BodyError(Invalid(message, "body_too_large"))


def refuse_dense(text: bytes, max_bytes: int) -> None:
    """Raise BodyError if the parsed text would take more than MAX_GROWTH times the cap `max_bytes`.

    Parsing makes a text of `[],[],…` thirty times as large, and compressed it has a thousandth of its length.
    """
    limit = max(MAX_GROWTH * max_bytes, _NO_GROWTH_BYTES)
    if len(text) * _COLON_BYTES <= limit:
        return
    brackets = text.count(b"[") + text.count(b"{")
    if _COLON_BYTES * text.count(b":") + _COMMA_BYTES * text.count(b",") + _BRACKET_BYTES * brackets > limit:
        message = f"Parsed, the body would be larger than {MAX_GROWTH} times api.max_body_bytes ({max_bytes})."
        raise BodyError(Invalid(message, "body_too_large"))


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, without a UTF-8 mark before it and NULs after it. Raises BodyError."""
    text = body.removeprefix(codecs.BOM_UTF8)
    if text.endswith(b"\0"):
        text = text.rstrip(b"\0 \t\r\n")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BodyError(_syntax(body, text, error)) from None
    if not isinstance(document, dict):
        kind = "null" if document is None else f"a JSON {type(document).__name__}"
        raise BodyError(Transient(f"The answer is {kind}, not an object.", "not_an_object"))
    return document


def dump_json(value: Any) -> bytes:
    """Return the JSON text of a value that may contain AsWritten. Raises orjson.JSONEncodeError."""
    return orjson.dumps(value, default=_as_written)


def _as_written(value: AsWritten) -> orjson.Fragment:
    return orjson.Fragment(value.text)


def excerpt(body: bytes) -> str:
    """Return the beginning of a body for a message, safe to print."""
    text = body[: EXCERPT_CHARACTERS * 2].decode("utf-8", "replace")
    shown = ascii(text[:EXCERPT_CHARACTERS])
    return shown + "…" if len(text) > EXCERPT_CHARACTERS else shown


def _title(body: bytes) -> str | None:
    """Return the title of a page, which says in few words whose it is; None without one."""
    found = _TITLE.search(body[:_TITLE_WITHIN])
    return excerpt(b" ".join(found[1].split())) if found is not None and found[1].strip() else None


def _syntax(received: bytes, body: bytes, error: orjson.JSONDecodeError) -> Transient | Invalid:
    if not body.strip():
        return Transient("The body is empty.", "body_empty")
    if body.lstrip()[:1] == b"<":
        return Transient(f"The answer is a page, not JSON: {_title(body) or excerpt(body)}.", "not_json")
    if received.startswith(_WIDE_MARKS) or b"\0" in received[:4]:
        return Transient("The answer is a text in UTF-16 or UTF-32, not JSON in UTF-8.", "unknown_encoding")
    # error.pos counts characters; if it is the end of the text, the text was cut. Without error.doc it is not UTF-8.
    if (error.doc and error.pos >= len(error.doc)) or not body.rstrip().endswith((b"}", b"]")):
        return Transient(f"The body was cut after {len(body)} bytes.", "body_cut")
    if body.lstrip()[:1] != b"{":
        return Transient(f"The answer is not JSON: {excerpt(body)}.", "not_json")
    problem = _named_number(error) or error.msg
    return Invalid(f"The body is not valid JSON at character {error.pos}: {problem}.", "json_invalid")


def _named_number(error: orjson.JSONDecodeError) -> str | None:
    """Return a clause about the NaN or Infinity that the parser met; it only speaks of a character."""
    found = _NO_NUMBER.match(error.doc, error.pos)
    if found is None:
        return None
    sign = "-" if error.doc.endswith("-", 0, error.pos) else ""
    return f"{sign}{found[0]} is not a number in JSON"
