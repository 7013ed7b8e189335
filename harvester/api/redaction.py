"""Keep the API key, and the passwords of a proxy, out of everything that is shown or stored.

In a short text the guard replaces the secret; it drops an answer whose body contains the key. It searches bodies when
they arrive, but of a large compressed body only the first part, and not for a key with JSON escapes. So it searches
decoded results, and bodies that are kept because they could not be decoded, once more and completely.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from harvester.api.decode.body import dump_json
from harvester.api.response import Reply, is_success
from harvester.domain.decompression import DamagedStreamError, Decompressor
from harvester.domain.tasks.embeddings import TaskEmbeddings
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Outcome, Retrieved, Transient

HIDDEN_KEY = "[the API key]"
"""Replaces the key in texts."""

HIDDEN_PASSWORD = "[the proxy's password]"  # noqa: S105  # what is shown in its place

TELLING_CHARACTERS = 8
"""Characters: a beginning of the key of this length is hidden too, because a text may be cut inside the key."""

SECRET_CHARACTERS = 16
"""Characters: shorter keys, as in rehearsals, are not searched for, because good answers contain them by chance."""

KEY_ECHOED: Final = Transient("The answer repeats the API key.", "key_echoed")
"""The outcome of an answer that contains the key."""

MAX_TRACE_ID_CHARACTERS = 128

_ESCAPES = re.compile(rb"\\u00([0-7][0-9a-fA-F])|\\([/\"\\])")
_LONGEST_ESCAPE = 6
_PIECE_BYTES = 1024 * 1024


class SecretGuard:
    """Guards the key, which `key` returns at each use, and the `passwords` of a proxy."""

    def __init__(self, key: Callable[[], str], passwords: tuple[str, ...] = ()) -> None:
        self._key = key
        self._passwords = passwords

    def secret(self) -> bytes:
        """Return the key that must not occur in an answer; empty if it is shorter than SECRET_CHARACTERS."""
        key = self._key().encode()
        return key if len(key) >= SECRET_CHARACTERS else b""

    def reply(self, reply: Reply) -> Reply:
        """Return the reply in a form that may be shown and stored: UTF-8, without secrets and without error bodies.

        The client passes each reply through this. `size` stays the length of the body as sent.
        """
        key = self.secret()
        if not is_success(reply.status):
            # The outcome has everything that is used of an error.
            reply = reply.without_body()
        elif key and reply.repeats(key):
            reply = replace(reply.without_body(), outcome=KEY_ECHOED)
        trace_id = self.text(reply.trace_id)[:MAX_TRACE_ID_CHARACTERS] if reply.trace_id else None
        encoding = self.text(reply.encoding) if reply.encoding else None
        if reply.outcome is None and (trace_id, encoding) == (reply.trace_id, reply.encoding):
            return reply
        return replace(
            reply, outcome=reply.outcome and self.outcome(reply.outcome), trace_id=trace_id, encoding=encoding
        )

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
            # aiohttp, or the cap on messages, may have cut the text inside the key.
            for length in range(len(key) - 1, TELLING_CHARACTERS - 1, -1):
                clean = clean.replace(key[:length], HIDDEN_KEY)
        return clean

    def is_in_tasks(self, tasks: Iterable[ListedTask]) -> bool:
        """Return whether the list's entry for any of the tasks contains the key."""
        key = self.secret().decode()
        return bool(key) and any(key in repr(task) for task in tasks)

    def is_in_outcome(self, outcome: Outcome) -> bool:
        """Return whether any text that would be stored with this outcome contains the key."""
        key = self.secret()
        if not key:
            return False
        if isinstance(outcome, Retrieved):
            return any(_holds(text, key) for text in _texts(outcome.embeddings))
        return key.decode() in repr(outcome)

    def is_in_body(self, body: bytes, encoding: str | None, max_bytes: int) -> bool:
        """Return whether the first `max_bytes` of a body contain the key, plainly or with JSON escapes.

        The search takes little memory but as long as the decompression, so call it in a worker thread.
        """
        key, before = self.secret(), b""
        if not key:
            return False
        for piece in _pieces(body, encoding, max_bytes):
            text = before + piece
            if _holds(text, key):
                return True
            before = text[-_LONGEST_ESCAPE * len(key) :]
        return False


def _holds(text: bytes, wanted: bytes) -> bool:
    return wanted in text or (b"\\" in text and wanted in _ESCAPES.sub(_unescaped, text))


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)]) if found[1] else found[2]


def _texts(embeddings: TaskEmbeddings) -> Iterator[bytes]:
    yield embeddings.document
    yield (embeddings.received_id or "").encode()
    for column in (embeddings.options, embeddings.scopes):
        yield from (text.encode() for text in set(column) if text)
    yield from (name.encode() for layout in embeddings.layouts for name in layout)
    if embeddings.extras:
        yield dump_json(list(embeddings.extras.values()))


def _pieces(body: bytes, encoding: str | None, max_bytes: int) -> Iterator[bytes]:
    if encoding not in ("gzip", "deflate"):
        yield body
        return
    # Bytes after a stream are searched as a further stream, although the decoder would not decode them.
    stream, size = Decompressor(max_members=sys.maxsize, next_begins=b"", piece_bytes=_PIECE_BYTES), 0
    try:
        for piece in stream.content(body):
            yield piece
            size += len(piece)
            if size >= max_bytes:
                return
    except DamagedStreamError:
        return
