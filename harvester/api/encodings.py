"""Content encodings as servers and proxies spell them, and what a body is in truth, whatever its header says."""

import re
import zlib

from multidict import CIMultiDictProxy

GZIP_MAGIC = b"\x1f\x8b"

_SPELLINGS = {"x-gzip": "gzip", "x-deflate": "deflate", "zlib": "deflate"}
_NO_ENCODINGS = {"", "identity", "none", "utf-8", "utf8", "binary", "8bit", "aws-chunked"}
"""Names that say nothing about the bytes; some are no content encodings at all, but are sent."""

_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]\d-]|<)")
"""How JSON and pages begin, and compressed bodies do not."""

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
"""Lets zlib look at the header itself."""

_RAW_DEFLATE = -zlib.MAX_WBITS


def content_encoding(headers: CIMultiDictProxy[str]) -> str | None:
    """Return the content encoding in the usual spelling; None for none, several with commas between them."""
    named = [one.strip().lower() for value in headers.getall("content-encoding", ()) for one in value.split(",")]
    known = [_SPELLINGS.get(one, one) for one in named if one not in _NO_ENCODINGS]
    # Layers of one encoding are taken off one after the other, however often the header names it.
    return ", ".join(dict.fromkeys(known)) or None


def actual_encoding(declared: str | None, beginning: bytes) -> str | None:
    """Return how a body that begins like that is encoded: proxies unpack bodies and leave the header, or lose it."""
    if beginning.startswith(GZIP_MAGIC):
        return "gzip"
    return None if _TEXT.match(beginning) else declared


def inflater(beginning: bytes) -> "zlib._Decompress":
    """Return what decompresses a gzip, zlib or raw deflate stream that begins like that."""
    is_zlib = len(beginning) > 1 and beginning[0] & 15 == zlib.DEFLATED and int.from_bytes(beginning[:2]) % 31 == 0
    is_raw = len(beginning) > 1 and not is_zlib and not beginning.startswith(GZIP_MAGIC)
    return zlib.decompressobj(_RAW_DEFLATE if is_raw else _GZIP_OR_ZLIB)
