"""Names what a file is that was given for a list of ids and is none, by its first bytes; and the remedy."""

from dataclasses import dataclass

from harvester.domain.errors import UsageError

LOOKED_AT = 512
"""Bytes from the beginning."""

_AS_TEXT = "Save the ids as a text or CSV file in UTF-8."
_NO_IDS = "Give a text file with ids as the API returned them, one per line."


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of file: bytes at a place near its beginning, its name, and the remedy, in which {file} stands for it."""

    magic: bytes
    name: str
    remedy: str = _NO_IDS
    at: int = 0


_KINDS = (
    _Kind(b"%PDF-", "a PDF document", _AS_TEXT),
    _Kind(b"\x1f\x8b", "compressed with gzip", "Unpack it: `gzip -dc {file} | harvester add --file -`."),
    _Kind(b"BZh", "compressed with bzip2", "Unpack it: `bzip2 -dc {file} | harvester add --file -`."),
    _Kind(b"\xfd7zXZ\x00", "compressed with xz", "Unpack it: `xz -dc {file} | harvester add --file -`."),
    _Kind(b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it: `zstd -dc {file} | harvester add --file -`."),
    _Kind(b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it, and give the list that is in it."),
    _Kind(b"Rar!\x1a\x07", "a RAR archive", "Unpack it, and give the list that is in it."),
    _Kind(b"ustar", "a tar archive", "Unpack it, and give the list that is in it.", at=257),
    _Kind(b"\xd0\xcf\x11\xe0", "an old Excel or Word file", _AS_TEXT),
    _Kind(b"{\\rtf", "a formatted text (RTF)", _AS_TEXT),
    _Kind(b"SQLite format 3\x00", "a SQLite database", "Take ids out of it: `harvester list --ids --db {file}`."),
    _Kind(b"PAR1", "a Parquet file", "Write its ids to a text file, one per line."),
    _Kind(b"ARROW1", "an Arrow file", "Write its ids to a text file, one per line."),
    _Kind(b"\x93NUMPY", "a numpy array", "Write its ids to a text file, one per line."),
    _Kind(b"\x89PNG", "an image (PNG)"),
    _Kind(b"\xff\xd8\xff", "an image (JPEG)"),
    _Kind(b"GIF8", "an image (GIF)"),
    _Kind(b"WEBP", "an image (WebP)", at=8),
    _Kind(b"ftyp", "a video or image (MP4, MOV or HEIC)", at=4),
    _Kind(b"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
    _Kind(b"ID3", "a sound file (MP3)"),
    _Kind(b"WAVE", "a sound file (WAV)", at=8),
    _Kind(b"\x7fELF", "a program"),
)

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_ARCHIVE = b"PK\x03\x04"
_OFFICE = (b"[Content_Types].xml", b"xl/", b"word/", b"mimetype")


def refuse_other_kind(beginning: bytes, source: str) -> None:
    """Raise UsageError if a file that begins so is certainly no list of ids; `source` is its path, or stdin."""
    found = _kind(beginning)
    if found is not None:
        name, remedy = found
        is_path = source != "stdin"
        shown = source if source.isprintable() and " " not in source else "FILE"
        raise UsageError(
            f"{source} is {name}, not a list of ids.",
            remedy=remedy.replace("{file}", shown if is_path else "FILE"),
        )


def is_binary(line: bytes) -> bool:
    """Return whether the line has bytes that no list of ids has: control characters, or parts of no ASCII character."""
    return not line.rstrip(b"\r\n").isascii() or any(byte < 32 and byte != 9 for byte in line.rstrip(b"\r\n"))


def _kind(beginning: bytes) -> tuple[str, str] | None:
    if beginning.startswith(_ARCHIVE):
        return _archive(beginning)
    if beginning.startswith(_UTF_16) or _is_wide(beginning):
        return "text in UTF-16", "Convert it: `iconv -f UTF-16 -t UTF-8 {file} | harvester add --file -`."
    for kind in _KINDS:
        if beginning[kind.at : kind.at + len(kind.magic)] == kind.magic:
            return kind.name, kind.remedy
    return None


def _archive(beginning: bytes) -> tuple[str, str]:
    if any(name in beginning for name in _OFFICE):
        return "an Excel, Word or OpenDocument file", _AS_TEXT
    return "a ZIP archive", "Unpack it: `unzip -p {file} | harvester add --file -`."


def _is_wide(beginning: bytes) -> bool:
    """Return whether every second byte is zero and the others are text, as in UTF-16 without a mark of its order."""
    first, second = beginning[:32:2], beginning[1:32:2]
    text, zeros = (second, first) if beginning.startswith(b"\x00") else (first, second)
    return len(zeros) >= 8 and not any(zeros) and text.isascii() and all(byte >= 9 for byte in text)
