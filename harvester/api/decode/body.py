"""Received bytes to a JSON object: decompression under a cap, and telling a cut body from a wrong one.

The two differ in what is done about them. A body that was cut, or is a proxy's page, will be whole next time; a
complete answer that is not acceptable will be the same next time.
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
"""What begins texts of two and four bytes a character; that of UTF-32 LE begins with that of UTF-16 LE."""

_MAX_LAYERS = 3
"""A proxy may compress what was compressed; JSON never begins as gzip does."""

_MAX_MEMBERS = 16
"""A gzip stream may have several members (RFC 1952, 2.2); each costs a copy of the rest."""

_CHUNK_BYTES = 256 * 1024
"""As much as the processor's cache holds."""

MAX_GROWTH = 4
"""So many times the cap may a body take as Python objects; vectors take two to three times their text."""

_COLON_BYTES, _COMMA_BYTES, _BRACKET_BYTES = 96, 32, 64
"""What a key, a value, and an empty list or object take, about."""

_NO_GROWTH_BYTES = 64 * 1024 * 1024
"""So much is spent on any body."""

_GLANCED_BYTES = 256
_FIRST_ID = re.compile(rb'\s*\{\s*"_id"\s*:\s*"([A-Za-z0-9_-]{1,128})"')
_FIRST_ERROR_FIELD = re.compile(rb'\s*\{\s*"(?:code|message|error|retry[A-Za-z_-]{1,20})"\s*:')

SMALL_BYTES = 1024 * 1024
GLANCE_BYTES = 64 * 1024


class BodyError(Exception):
    """The body cannot be read as a JSON object; `outcome` says what that means for the task."""

    def __init__(self, outcome: Transient | Invalid) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def is_plain(encoding: str | None) -> bool:
    """Whether a body with that content encoding is sent as it is."""
    return encoding in (None, "", "identity")


def decompress(body: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """Return the decoded body, or raise BodyError; never holds more than `max_bytes` of it."""
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
    # One more byte than the cap shows that there is more.
    stream = Decompressor(max_members=_MAX_MEMBERS, max_bytes=max_bytes + 1)
    try:
        decoded = b"".join(stream.content(body))
    except DamagedStreamError as error:
        raise BodyError(Transient(f"The compressed body is damaged: {error}.", "body_damaged")) from None
    if len(decoded) > max_bytes:
        raise too_large(max_bytes)
    if not stream.is_whole:
        # aiohttp reports nothing here: a gzip stream that was cut looks like a short one.
        raise BodyError(Transient("The compressed body was cut.", "body_cut"))
    return decoded


def decompressed(file: BinaryIO, encoding: str | None, max_bytes: int) -> Iterator[bytes]:
    """Yield the decoded content of a file in chunks; raise BodyError for what `decompress` would look at as a whole."""
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


def holds(body: bytes, encoding: str | None, text: bytes) -> bool:
    """Return whether `text` occurs in the body; never raises.

    It is cheap enough for the event loop: a compressed body is decompressed up to 1 MiB, a large one up to 64 KiB.
    """
    return text in body or holds_compressed(body, len(body), encoding, text)


def holds_compressed(beginning: bytes, size: int, encoding: str | None, text: bytes) -> bool:
    """Return whether `text` occurs in a compressed body of that size, as far as `holds` looks into one."""
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
    """Return the `_id` that a body begins with; None where it does not, or cannot be read so far."""
    found = _FIRST_ID.match(_glance(body, encoding))
    return found[1].decode() if found else None


def begins_as_error(body: bytes, encoding: str | None) -> bool:
    """Return whether a body begins with a field of errors."""
    return _FIRST_ERROR_FIELD.match(_glance(body, encoding)) is not None


def _glance(body: bytes, encoding: str | None) -> bytes:
    return body[:_GLANCED_BYTES] if is_plain(encoding) else _beginning(body[:GLANCE_BYTES], _GLANCED_BYTES)


def too_large(max_bytes: int) -> BodyError:
    """Return the error for a body over the cap."""
    message = f"The body is larger than api.max_body_bytes ({max_bytes})."
    return BodyError(Invalid(message, "body_too_large"))


def refuse_dense(text: bytes, max_bytes: int) -> None:
    """Raise BodyError if so much would become of the text by parsing it that the cap `max_bytes` means nothing.

    A text of `[],[],…` becomes thirty times as large, and a compressed one is a thousandth before.
    """
    limit = max(MAX_GROWTH * max_bytes, _NO_GROWTH_BYTES)
    if len(text) * _COLON_BYTES <= limit:
        return
    brackets = text.count(b"[") + text.count(b"{")
    if _COLON_BYTES * text.count(b":") + _COMMA_BYTES * text.count(b",") + _BRACKET_BYTES * brackets > limit:
        message = f"Parsed, the body would be larger than {MAX_GROWTH} times api.max_body_bytes ({max_bytes})."
        raise BodyError(Invalid(message, "body_too_large"))


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, or raise BodyError. A UTF-8 mark before it and NULs behind it are dropped."""
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
    """Return the JSON text of a value that may hold AsWritten. Raises orjson.JSONEncodeError."""
    return orjson.dumps(value, default=_as_written)


def _as_written(value: AsWritten) -> orjson.Fragment:
    return orjson.Fragment(value.text)


def excerpt(body: bytes) -> str:
    """Return the beginning of a body for a message, safe to print."""
    text = body[: EXCERPT_CHARACTERS * 2].decode("utf-8", "replace")
    shown = ascii(text[:EXCERPT_CHARACTERS])
    return shown + "…" if len(text) > EXCERPT_CHARACTERS else shown


def _syntax(received: bytes, body: bytes, error: orjson.JSONDecodeError) -> Transient | Invalid:
    if not body.strip():
        return Transient("The body is empty.", "body_empty")
    if body.lstrip()[:1] == b"<":
        return Transient(f"The answer is a page, not JSON: {excerpt(body)}.", "not_json")
    if received.startswith(_WIDE_MARKS) or b"\0" in received[:4]:
        return Transient("The answer is a text in UTF-16 or UTF-32, not JSON in UTF-8.", "unknown_encoding")
    # error.pos counts characters; at the end of the text the parser wanted more of it. Without a text it is not UTF-8.
    if (error.doc and error.pos >= len(error.doc)) or not body.rstrip().endswith((b"}", b"]")):
        return Transient(f"The body was cut after {len(body)} bytes.", "body_cut")
    if body.lstrip()[:1] != b"{":
        return Transient(f"The answer is not JSON: {excerpt(body)}.", "not_json")
    return Invalid(f"The body is not valid JSON at character {error.pos}: {error.msg}.", "json_invalid")
