"""Writes to the terminal: text for people on stderr, data on stdout, foreign text escaped.

File names, error messages of the API and lines of input files come from others. Control characters in them could
recolour, hide or overwrite text on the screen, and bidi marks could change its order.
"""

import codecs
import json
import sys
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

# Control characters, format characters (bidi marks, zero-width ones), lone surrogates, line and paragraph breaks.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    r"""Return `text` with a visible escape for every character that acts on a terminal: `\x1b`, `\n`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii") if unicodedata.category(character) in _HARMFUL else character
        for character in text
    )


def write_foreign_bytes(pieces: Iterable[bytes]) -> None:
    """Write foreign bytes to stdout: unchanged into a pipe or a file, escaped on a terminal."""
    if not sys.stdout.isatty():
        sys.stdout.flush()
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    try:
        for piece in pieces:
            sys.stdout.write(_printable_lines(decoder.decode(piece)))
    finally:
        sys.stdout.write(_printable_lines(decoder.decode(b"", final=True)) + "\n")


def _printable_lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def print_error(text: str) -> None:
    """Write an error to stderr, in one line."""
    print(f"harvester: {printable(text)}", file=sys.stderr, flush=True)  # noqa: T201


def print_data(line: str) -> None:
    """Write one line of data to stdout."""
    print(printable(line), flush=True)  # noqa: T201


def print_json(value: Any) -> None:
    """Write `value` to stdout as indented JSON in ASCII; a value of no JSON type is written as its `str`."""
    print(json.dumps(value, indent=2, default=str), flush=True)  # noqa: T201


def stderr_console() -> "Console":
    """Return a rich console on stderr that prints every text literally: no markup, no emoji codes, no highlighting."""
    from rich.console import Console  # noqa: PLC0415  # 40 ms, needed only by commands that draw

    return Console(stderr=True, markup=False, emoji=False, highlight=False)
