"""Read one file, compressed or not, into a body that the decoder takes, and name it by its content."""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harvester.domain.decompression import GZIP_MAGIC, DamagedStreamError, Decompressor
from harvester.ports.spooled_body import IN_MEMORY_BYTES, SpooledBody

STDIN = Path("-")

_CHUNK_BYTES = 256 * 1024

_MAX_MEMBERS = 1000
"""Members of a gzip stream (RFC 1952, 2.2) that are read, because each costs a copy of the rest of its chunk."""


class UnusableBodyError(Exception):
    """A file holds no result that can be stored; the message is a sentence about it."""


@dataclass(frozen=True, slots=True)
class ReadBody:
    """A decompressed body. `file_bytes` is the size of the file, `sha256` that of the content, hexadecimal."""

    content: bytes | SpooledBody
    sha256: str
    file_bytes: int

    @property
    def beginning(self) -> bytes:
        """The first bytes of the content."""
        return self.content if isinstance(self.content, bytes) else self.content.beginning(_CHUNK_BYTES)


@dataclass(frozen=True, slots=True)
class BodyFile:
    """A file to import. `problem` is why it cannot be read; `body` its content if it has been read already."""

    path: Path
    problem: str | None = None
    body: ReadBody | None = None


def read_body(path: Path, max_bytes: int) -> ReadBody:
    """Read the file, or stdin, in pieces; a long body goes into a file in memory. Raises UnusableBodyError."""
    try:
        if path == STDIN:
            return _read(sys.stdin.buffer, max_bytes)
        with path.open("rb", buffering=0) as file:
            return _read(file, max_bytes)
    except OSError as error:
        raise UnusableBodyError(f"It cannot be read: {error.strerror or error}.") from error


def _read(file: BinaryIO, max_bytes: int) -> ReadBody:
    digest, received = hashlib.sha256(), _Counted(file)
    content: bytes | SpooledBody = b""
    for piece in received.content():
        if len(content) + len(piece) > max_bytes:
            raise UnusableBodyError(f"It is larger than api.max_body_bytes ({max_bytes}): raise that setting.")
        digest.update(piece)
        content = _with_piece(content, piece)
    if not content:
        raise UnusableBodyError("It is empty.")
    return ReadBody(content, digest.hexdigest(), received.bytes)


def _with_piece(content: bytes | SpooledBody, piece: bytes) -> bytes | SpooledBody:
    """Return the content with one more piece; what is too long for memory moves into a file."""
    if isinstance(content, bytes):
        if len(content) + len(piece) <= IN_MEMORY_BYTES:
            return content + piece
        content = SpooledBody.of(content)
    content.write(piece)
    return content


class _Counted:
    """Reads a file in chunks, and counts its bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes = 0

    def content(self) -> Iterator[bytes]:
        """Yield the content in pieces, decompressed if it is gzip. Raises UnusableBodyError for damaged gzip."""
        chunks = self._chunks()
        first = next(chunks, b"")
        # The name says nothing certain: a browser or a sync tool may have unpacked the file.
        if not first.startswith(GZIP_MAGIC):
            yield first
            yield from chunks
            return
        stream = Decompressor(max_members=_MAX_MEMBERS, piece_bytes=_CHUNK_BYTES)
        try:
            yield from stream.content(first)
            for chunk in chunks:
                yield from stream.content(chunk)
        except DamagedStreamError as error:
            raise UnusableBodyError(f"Its gzip stream is damaged: {error}.") from None
        if not stream.is_whole:
            raise UnusableBodyError("Its gzip stream was cut.")

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self._file.read(_CHUNK_BYTES):
            self.bytes += len(chunk)
            yield chunk
