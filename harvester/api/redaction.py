"""Guards the API key, and the passwords of a proxy: nothing of an answer that repeats one is shown or stored.

In a short text the secret is replaced; an answer whose body holds the key is thrown away. Bodies are searched when they
arrive, but neither behind the first part of a large compressed one, nor for a key that is written with JSON escapes. So
what comes out of decoding, or is kept because it could not be stored, is searched once more, as a whole.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from harvester.api.body_checks import is_success, repeats
from harvester.api.decode.body import dump_json
from harvester.domain.decompression import DamagedStreamError, Decompressor
from harvester.domain.tasks.embeddings import TaskEmbeddings
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Outcome, Retrieved, Transient
from harvester.ports.api import Answered, Body, Response

HIDDEN_KEY = "[the API key]"
"""Stands where an answer repeats the key."""

HIDDEN_PASSWORD = "[the proxy's password]"  # noqa: S105  # what is shown in its place

TELLING_CHARACTERS = 8
"""A beginning of the key as long as this is hidden too: a text may have been cut in its middle."""

SECRET_CHARACTERS = 16
"""Answers are searched for keys from this length on: a shorter one, like a rehearsal's, is in good ones by chance."""

KEY_ECHOED: Final = Transient("The answer repeats the API key.", "key_echoed")
"""The outcome in place of one that repeats the key."""

MAX_TRACE_ID_CHARACTERS = 128

_ESCAPES = re.compile(rb"\\u00([0-7][0-9a-fA-F])|\\([/\"\\])")
_LONGEST_ESCAPE = 6
_PIECE_BYTES = 1024 * 1024


class SecretGuard:
    """Guards the key, as `key` gives it at the moment, and the `passwords` of a proxy."""

    def __init__(self, key: Callable[[], str], passwords: tuple[str, ...] = ()) -> None:
        self._key = key
        self._passwords = passwords

    def secret(self) -> bytes:
        """Return what must not occur in an answer; nothing if good answers hold so short a key by chance."""
        key = self._key().encode()
        return key if len(key) >= SECRET_CHARACTERS else b""

    def response(self, response: Response, body: Body | None = None) -> Response:
        """Return the response as it may be shown and stored: UTF-8 and without secrets.

        Each response passes here. `body` is what it was read from; that of an error is not searched, as its outcome
        says all that is used.
        """
        key, content = self.secret(), response.content
        if key and body is not None and is_success(response.status) and repeats(body, key):
            body.close()
            content = Answered(KEY_ECHOED)
        if isinstance(content, Answered):
            content = Answered(self.outcome(content.outcome))
        elif content.encoding is not None and (encoding := self.text(content.encoding)) != content.encoding:
            content = Body(content.data, encoding or None)
        trace_id = self.text(response.trace_id)[:MAX_TRACE_ID_CHARACTERS] if response.trace_id else None
        if content is response.content and trace_id == response.trace_id:
            return response
        return replace(response, content=content, trace_id=trace_id)

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return the outcome with clean texts."""
        texts = {name: getattr(outcome, name, None) for name in ("message", "code", "status", "received_id")}
        changes: dict[str, Any] = {name: self.text(text) for name, text in texts.items() if isinstance(text, str)}
        return replace(outcome, **changes)

    def text(self, text: str) -> str:
        """Return the text in UTF-8 and without secrets."""
        # Bytes of a header that are not UTF-8 arrive as surrogates, which SQLite refuses.
        clean = text.encode("utf-8", "replace").decode()
        key = self._key()
        clean = clean.replace(key, HIDDEN_KEY)
        for password in self._passwords:
            clean = clean.replace(password, HIDDEN_PASSWORD)
        if key[:TELLING_CHARACTERS] in clean:
            # The text was cut in the middle of the key: by aiohttp's messages, or by the cap on a message.
            for length in range(len(key) - 1, TELLING_CHARACTERS - 1, -1):
                clean = clean.replace(key[:length], HIDDEN_KEY)
        return clean

    def is_in_tasks(self, tasks: Iterable[ListedTask]) -> bool:
        """Return whether anything that the list says about a task holds the key."""
        key = self.secret().decode()
        return bool(key) and any(key in repr(task) for task in tasks)

    def is_in_outcome(self, outcome: Outcome) -> bool:
        """Return whether any text that would be stored with this outcome holds the key."""
        key = self.secret()
        if not key:
            return False
        if isinstance(outcome, Retrieved):
            return any(_contains_unescaped(text, key) for text in _texts(outcome.embeddings))
        return key.decode() in repr(outcome)

    def is_in_body(self, body: bytes, encoding: str | None, max_bytes: int) -> bool:
        """Return whether the first `max_bytes` of a body hold the key, plainly or with JSON escapes.

        The body is searched piece by piece, in little memory; that takes as long as decompressing it: for a worker
        thread.
        """
        key, before = self.secret(), b""
        if not key:
            return False
        for piece in _pieces(body, encoding, max_bytes):
            text = before + piece
            if _contains_unescaped(text, key):
                return True
            before = text[-_LONGEST_ESCAPE * len(key) :]
        return False


def _contains_unescaped(text: bytes, wanted: bytes) -> bool:
    """Return whether the text contains `wanted`, plainly or with JSON escapes."""
    return wanted in text or (b"\\" in text and wanted in _ESCAPES.sub(_unescaped, text))


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)]) if found[1] else found[2]


def _texts(embeddings: TaskEmbeddings) -> Iterator[bytes]:
    yield embeddings.document
    yield (embeddings.received_id or "").encode()
    for column in (embeddings.options, embeddings.scopes, embeddings.quadrants):
        yield from (text.encode() for text in set(column) if text)
    yield from (name.encode() for layout in embeddings.layouts for name in layout)
    if embeddings.extras:
        yield dump_json(list(embeddings.extras.values()))


def _pieces(body: bytes, encoding: str | None, max_bytes: int) -> Iterator[bytes]:
    if encoding not in ("gzip", "deflate"):
        yield body
        return
    # Whatever follows a stream is tried as a further one: more is searched than would be decoded.
    stream, size = Decompressor(max_members=sys.maxsize, next_begins=b"", piece_bytes=_PIECE_BYTES), 0
    try:
        for piece in stream.content(body):
            yield piece
            size += len(piece)
            if size >= max_bytes:
                return
    except DamagedStreamError:
        return
