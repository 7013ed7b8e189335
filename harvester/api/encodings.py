"""Content encodings as servers and proxies spell them, and the actual encoding of a body, whatever its header says."""

import re

from multidict import CIMultiDictProxy

from harvester.domain.decompression import GZIP_MAGIC

_SPELLINGS = {"x-gzip": "gzip", "x-deflate": "deflate", "zlib": "deflate"}
_NO_ENCODINGS = {"", "identity", "none", "utf-8", "utf8", "binary", "8bit", "aws-chunked"}
"""Names that do not change the bytes; some are not content encodings at all, but servers send them."""

_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]\d-]|<)")
"""The beginning of JSON and of pages, which no compressed body has."""


def content_encoding(headers: CIMultiDictProxy[str]) -> str | None:
    """Return the content encoding in the usual spelling, several joined by commas; None without one."""
    if "content-encoding" not in headers:
        return None
    named = [one.strip().lower() for value in headers.getall("content-encoding", ()) for one in value.split(",")]
    known = [_SPELLINGS.get(one, one) for one in named if one not in _NO_ENCODINGS]
    # The decoder removes all layers of one encoding, however often the header names it.
    return ", ".join(dict.fromkeys(known)) or None


def actual_encoding(declared: str | None, beginning: bytes) -> str | None:
    """Return the encoding of a body with that beginning: proxies unpack bodies and keep the header, or drop it."""
    if beginning.startswith(GZIP_MAGIC):
        return "gzip"
    return None if _TEXT.match(beginning) else declared
