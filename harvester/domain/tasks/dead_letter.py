"""Bodies of rejected answers, kept as gzip, so that users can read them and a later version can decode them.

Nothing here trusts such a body: it is unpacked piece by piece, and a body over the cap is cut and marked.
"""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harvester.domain.decompression import GZIP_MAGIC, DamagedStreamError, Decompressor
from harvester.domain.tasks.task import TaskState

MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
"""Bytes: longer bodies are cut. A video of four hours is 46 MB of JSON."""


PIECE_BYTES = 256 * 1024


MAX_MEMBERS = 1000
"""Members of a gzip stream (RFC 1952, 2.2) that are read, because each costs a copy of the rest of its piece."""


_COMPRESS_LEVEL = 1
"""Compresses 46 MB of numbers in one second; level 6 takes six, inside a transaction, and saves only a tenth."""


class PayloadError(ValueError):
    """The kept body cannot be unpacked to its end."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A kept body, as gzip; its content still has the encoding `encoding`, if any. `is_cut`: it was over the cap."""

    received_at_ms: int
    body: bytes
    is_cut: bool = False
    encoding: str | None = None

    def as_received(self) -> tuple[bytes, str]:
        """Return the body and its content encoding, as received or as gzip. Raises PayloadError."""
        if self.encoding is None:
            return self.body, "gzip"
        # This program made the gzip, so its content is no longer than MAX_PAYLOAD_BYTES.
        return b"".join(_inflated(_slices(self.body))), self.encoding

    def pieces(self) -> Iterator[bytes]:
        """Yield the decompressed body. Raises PayloadError, also at the end of a cut body."""
        unpacked = _inflated(_slices(self.body))
        return unpacked if self.encoding is None else _inflated(unpacked)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An ended task, not `harvested`, whose body is kept; `key` is its row id."""

    key: int
    task_id: str
    state: TaskState
    is_cut: bool


def packed(body: bytes, encoding: str | None, received_at_ms: int) -> Payload:
    """Return the payload to keep for a body; `encoding` is its content encoding as received."""
    kept, is_cut = body[:MAX_PAYLOAD_BYTES], len(body) > MAX_PAYLOAD_BYTES
    if encoding in ("gzip", "deflate") and kept.startswith(GZIP_MAGIC):
        return Payload(received_at_ms, kept, is_cut)
    inner = "deflate" if encoding in ("gzip", "deflate") else None
    return Payload(received_at_ms, gzip.compress(kept, _COMPRESS_LEVEL), is_cut, inner)


def _slices(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a stream of gzip or zlib members, a bounded piece at a time."""
    # A piece may be as short as one byte, so one byte shows that a member follows.
    stream = Decompressor(
        max_members=MAX_MEMBERS, piece_bytes=PIECE_BYTES, next_begins=GZIP_MAGIC[:1], allows_raw=False
    )
    try:
        for piece in pieces:
            yield from stream.content(piece)
            if stream.is_followed:
                # As with the decoder: what follows the last member says nothing.
                return
    except DamagedStreamError as error:
        raise PayloadError(f"The kept body is damaged: {error}.") from None
    if not stream.is_whole:
        raise PayloadError("The kept body ends in the middle.")
