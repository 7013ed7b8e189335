"""Writes to the terminal: text for people on stderr, data on stdout, foreign text escaped.

File names, error messages of the API and lines of input files come from others. Control characters in them could
recolour, hide or overwrite text on the screen, and bidi marks could change its order.
"""

import codecs
import json
import shutil
import sys
import textwrap
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


def wrapped(text: str, width: int) -> str:
    """Return a line broken at words into lines of `width` characters; what continues it is indented by two more.

    Commands, ids and paths are words: they stay whole, even where they are longer than a line.
    """
    indent = " " * (len(text) - len(text.lstrip(" ")) + 2)
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def print_wrapped(line: str, console: "Console") -> None:
    """Write a line that is safe to print: broken at words on a terminal, as it is into a pipe or a file."""
    console.print(wrapped(line, console.width) if console.is_terminal else line, soft_wrap=True)


def print_error(text: str) -> None:
    """Write an error to stderr: in one line, which is broken at words on a terminal."""
    print_note(f"harvester: {text}")


def print_note(text: str) -> None:
    """Write a sentence for people to stderr: in one line, which is broken at words on a terminal."""
    line = printable(text)
    if sys.stderr is not None and sys.stderr.isatty():
        line = wrapped(line, shutil.get_terminal_size().columns)
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def print_data(line: str) -> None:
    """Write one line of data to stdout."""
    print(printable(line), flush=True)  # noqa: T201


def print_report(line: str) -> None:
    """Write one line of a report to stdout: broken at words on a terminal, as it is into a pipe or a file."""
    text = printable(line)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else len(text)
    print(wrapped(text, width) if len(text) > width else text, flush=True)  # noqa: T201


def print_json(value: Any) -> None:
    """Write `value` to stdout as indented JSON in ASCII; a value of no JSON type is written as its `str`."""
    print(json.dumps(value, indent=2, default=str), flush=True)  # noqa: T201


def stderr_console() -> "Console":
    """Return a rich console on stderr that prints every text literally: no markup, no emoji codes, no highlighting."""
    from rich.console import Console  # noqa: PLC0415  # 40 ms, needed only by commands that draw

    return Console(stderr=True, markup=False, emoji=False, highlight=False)
