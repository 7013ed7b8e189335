"""Reads where a medium comes from: a URL, base64 text or an asset, exactly one of them."""

import binascii
import hashlib
from base64 import b64decode
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from harvester.simulator.models import Medium
from harvester.simulator.object_ids import is_object_id
from harvester.simulator.requests import EXTENSIONS, FileFormat
from harvester.simulator.v2.fields import Fields

MEBIBYTE = 1 << 20
MAX_BASE64_MB = 36
_KINDS = ("url", "base64_string", "asset_id")
_FORMATS: dict[str, FileFormat] = {".txt": "text", ".md": "markdown", ".pdf": "pdf"}


@dataclass(frozen=True, slots=True)
class Source:
    """A medium: its URL or file name, or what names its content; `size` in bytes where it was sent."""

    url: str = ""
    filename: str = ""
    content: str = ""
    size: int | None = None
    file_format: FileFormat = "pdf"


def read_source(fields: Fields, medium: Medium) -> Source:
    """Return the source in an object with one of `url`, `base64_string` and `asset_id`; ApiProblem (400) else."""
    if sum(kind in fields for kind in _KINDS) != 1:
        raise fields.wrong("url", f"Give exactly one of {', '.join(_KINDS)}.")
    if "url" in fields:
        return _of_url(fields)
    if "asset_id" in fields:
        asset_id = fields.text("asset_id")
        if not is_object_id(asset_id):
            raise fields.wrong("asset_id", "The value must be the id of an asset that is ready.")
        return Source(filename=f"asset-{asset_id}.{EXTENSIONS[medium]}")
    return _of_base64(fields)


def _of_url(fields: Fields) -> Source:
    url = fields.text("url")
    if not url.startswith(("http://", "https://")):
        raise fields.wrong("url", "The value must be a publicly accessible URL.")
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    return Source(url=url, file_format=_FORMATS.get(suffix, "pdf"))


def _of_base64(fields: Fields) -> Source:
    try:
        content = b64decode(fields.text("base64_string"), validate=True)
    except (binascii.Error, ValueError):
        raise fields.wrong("base64_string", "The value is not base64.") from None
    name = hashlib.blake2b(content, digest_size=16).hexdigest()
    return Source(content=name, size=len(content), file_format="pdf" if content.startswith(b"%PDF") else "text")
