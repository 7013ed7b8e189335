"""Bodies of answers that could not be stored, kept as gzip: people can read them, and a later version decode them.

What is kept was rejected for being odd, so nothing here trusts it: it is unpacked piece by piece, and a body that is
longer than the cap is cut and says so.
"""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harvester.domain.decompression import GZIP_MAGIC, DamagedStreamError, Decompressor
from harvester.domain.tasks.task import TaskState

MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
"""Longer bodies are cut. A video of four hours is 46 MB of JSON."""


PIECE_BYTES = 256 * 1024


MAX_MEMBERS = 1000
"""A gzip stream may have several members (RFC 1952, 2.2); each costs a copy of the rest of its piece."""


_COMPRESS_LEVEL = 1
"""One second for 46 MB of numbers; level 6 takes six, all in a transaction, and makes them a tenth smaller."""


class PayloadError(ValueError):
    """The kept body cannot be unpacked to its end."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A kept body: gzip, of what still has the content encoding `encoding`. `is_cut` where it was longer."""

    received_at_ms: int
    body: bytes
    is_cut: bool = False
    encoding: str | None = None

    def as_received(self) -> tuple[bytes, str]:
        """Return the body and its content encoding, as they came or as gzip. Raises PayloadError."""
        if self.encoding is None:
            return self.body, "gzip"
        # The gzip is our own here: what it holds is no longer than MAX_PAYLOAD_BYTES.
        return b"".join(_inflated(_slices(self.body))), self.encoding

    def pieces(self) -> Iterator[bytes]:
        """Yield what the API sent, without its encodings. Raises PayloadError, at the end of a cut body too."""
        unpacked = _inflated(_slices(self.body))
        return unpacked if self.encoding is None else _inflated(unpacked)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that ended other than `harvested`, and whose body is kept."""

    key: int
    task_id: str
    state: TaskState
    is_cut: bool


def packed(body: bytes, encoding: str | None, received_at_ms: int) -> Payload:
    """Return a body as it is kept; `encoding` is the content encoding that it came with."""
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
