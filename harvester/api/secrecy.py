"""Whether something that is about to be stored repeats the API key.

The client searches bodies as they come in, but neither behind the first part of a large compressed one, nor for a key
that is written with JSON escapes. What comes out of decoding is small and plain, so it is searched as a whole.
"""

import re
import sys
from collections.abc import Iterable, Iterator

from harvester.api.decode.body import dump_json
from harvester.domain.decompression import DamagedStreamError, Decompressor
from harvester.domain.planning.list_reader import ListedTask
from harvester.domain.tasks.embeddings import TaskEmbeddings

_ESCAPES = re.compile(rb"\\u00([0-7][0-9a-fA-F])|\\([/\"\\])")
_LONGEST_ESCAPE = 6
_PIECE_BYTES = 1024 * 1024


def embeddings_repeat(embeddings: TaskEmbeddings, key: str) -> bool:
    """Return whether any text that would be stored with these embeddings holds the key."""
    return any(_holds(text, key.encode()) for text in _texts(embeddings))


def listed_repeat(tasks: Iterable[ListedTask], key: str) -> bool:
    """Return whether anything that the list says about a task holds the key."""
    return any(key in repr(task) for task in tasks)


def body_repeats(body: bytes, encoding: str | None, key: str, max_bytes: int) -> bool:
    """Return whether the first `max_bytes` of a body that would be kept hold the key, plainly or with JSON escapes.

    It is searched piece by piece, in little memory; that takes as long as decompressing it: for a worker thread.
    """
    wanted, before = key.encode(), b""
    for piece in _pieces(body, encoding, max_bytes):
        text = before + piece
        if _holds(text, wanted):
            return True
        before = text[-_LONGEST_ESCAPE * len(wanted) :]
    return False


def _holds(text: bytes, wanted: bytes) -> bool:
    return wanted in text or (b"\\" in text and wanted in _ESCAPES.sub(_unescaped, text))


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


def _texts(embeddings: TaskEmbeddings) -> Iterator[bytes]:
    yield embeddings.document
    yield (embeddings.received_id or "").encode()
    for column in (embeddings.options, embeddings.scopes):
        yield from (text.encode() for text in set(column) if text)
    yield from (name.encode() for layout in embeddings.layouts for name in layout)
    if embeddings.extras:
        yield dump_json(list(embeddings.extras.values()))


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)]) if found[1] else found[2]
