"""Content encodings as servers and proxies spell them, and what a body is in truth, whatever its header says."""

import re

from multidict import CIMultiDictProxy

from harvester.domain.decompression import GZIP_MAGIC

_SPELLINGS = {"x-gzip": "gzip", "x-deflate": "deflate", "zlib": "deflate"}
_NO_ENCODINGS = {"", "identity", "none", "utf-8", "utf8", "binary", "8bit", "aws-chunked"}
"""Names that say nothing about the bytes; some are no content encodings at all, but are sent."""

_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]\d-]|<)")
"""How JSON and pages begin, and compressed bodies do not."""


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
