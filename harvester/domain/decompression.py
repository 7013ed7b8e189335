"""Decompress gzip, zlib and raw deflate in bounded pieces; no other module decompresses."""

import sys
import zlib
from collections.abc import Iterator

GZIP_MAGIC = b"\x1f\x8b"

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
"""zlib reads from the header which of the two it is."""

_RAW_DEFLATE = -zlib.MAX_WBITS


class DamagedStreamError(ValueError):
    """The bytes are not a compressed stream; the message is zlib's."""


class Decompressor:
    """Decompresses one stream, which arrives in chunks of any length.

    A gzip stream may have several members (RFC 1952, 2.2). It reads at most `max_members`, and after the first one only
    those that begin with `next_begins`. It yields at most `max_bytes` of content in all, at most `piece_bytes` at a
    time. The first bytes decide between gzip, zlib and, if `allows_raw`, deflate without a header.
    """

    def __init__(
        self,
        *,
        max_members: int,
        max_bytes: int = sys.maxsize,
        piece_bytes: int = sys.maxsize,
        next_begins: bytes = GZIP_MAGIC,
        allows_raw: bool = True,
    ) -> None:
        self._members_left = max_members
        self._bytes_left = max_bytes
        self._piece_bytes = piece_bytes
        self._next_begins = next_begins
        self._allows_raw = allows_raw
        self._member: zlib._Decompress | None = None
        self.is_followed = False
        """Whether bytes have arrived after the last member that it reads."""

    @property
    def is_whole(self) -> bool:
        """Whether the content so far ends with the end of a member."""
        return self._member is not None and self._member.eof

    def content(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the content of the next chunk. Raises DamagedStreamError."""
        rest = chunk
        while rest and self._bytes_left:
            if self._member is None or self._member.eof:
                if not self._may_begin_member(rest):
                    self.is_followed = True
                    return
                self._member = self._begin_member(rest)
            yield from self._content(self._member, rest)
            # zlib copies all that follows a member, so many members would cost quadratic time: hence `max_members`.
            rest = self._member.unused_data

    def _may_begin_member(self, rest: bytes) -> bool:
        return self._members_left > 0 and (self._member is None or rest.startswith(self._next_begins))

    def _begin_member(self, beginning: bytes) -> "zlib._Decompress":
        self._members_left -= 1
        is_raw = self._allows_raw and _is_raw_deflate(beginning)
        return zlib.decompressobj(_RAW_DEFLATE if is_raw else _GZIP_OR_ZLIB)

    def _content(self, member: "zlib._Decompress", rest: bytes) -> Iterator[bytes]:
        """Yield the content of `rest`, up to the end of the member."""
        while not member.eof and self._bytes_left:
            limit = min(self._piece_bytes, self._bytes_left)
            try:
                piece = member.decompress(rest, limit)
            except zlib.error as error:
                raise DamagedStreamError(str(error)) from None
            rest = member.unconsumed_tail
            if piece:
                self._bytes_left -= len(piece)
                yield piece
            if not rest and len(piece) < limit:
                return


def _is_raw_deflate(beginning: bytes) -> bool:
    is_zlib = len(beginning) > 1 and beginning[0] & 15 == zlib.DEFLATED and int.from_bytes(beginning[:2]) % 31 == 0
    return len(beginning) > 1 and not is_zlib and not beginning.startswith(GZIP_MAGIC)
