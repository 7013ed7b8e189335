"""Writes the man page from the help of the commands: `make man` stores it as docs/harvester.1, for the wheel.

click-man, the usual tool for this, knows neither typer's own classes of options nor commands that are loaded when used.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

from harvester._version import __version__
from harvester.cli.commands import COMMANDS, load_command

_DESCRIPTION = """harvester fetches the embeddings that TwelveLabs computes, and stores them in one SQLite file. The
platform keeps embeddings for seven days. A task is either still open or completely stored, whatever happens."""

_EXIT_CODES = {
    "0": "Every task asked for is harvested, or the command has done its work.",
    "1": "Finished, and some tasks ended otherwise or are still open; refused lines; findings of verify and doctor.",
    "2": "Wrong arguments or settings.",
    "3": "The API refuses the key; no task was touched.",
    "4": "The database cannot be used, or this machine refuses threads, files, memory or space.",
    "70": "A bug: run again with --debug, and report what it prints.",
    "130, 143, 129": "SIGINT, SIGTERM, SIGHUP, after finishing what was under way.",
    "141": "The reader of the output has closed it.",
}

_ENVIRONMENT = {
    "TWELVELABS_API_KEY": "The API key; it overrides the file that api.key_file names.",
    "HARVESTER_CONFIG": "The settings file, unless --config names one.",
    "HARVESTER_SECTION__KEY": "A setting, such as HARVESTER_STORE__PATH for store.path. It overrides the file.",
}

_FILES = {
    "harvester.toml": "The settings, in the current folder.",
    "harvester.db": "The database, with harvester.db-wal and harvester.db-shm beside it while it is in use.",
}


def man_page() -> str:
    """Return the page in the macros of man(7). It has no date: one program gives one page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield '.\\" Written by `make man` from the help of the commands.'
    yield f'.TH HARVESTER 1 "" "harvester {__version__}" "User Commands"'
    yield from (".SH NAME", _text("harvester - fetch TwelveLabs embeddings into SQLite"))
    yield from (".SH SYNOPSIS", ".B harvester", _text("[--version] [--debug] COMMAND [OPTION]... [ARGUMENT]..."))
    yield from (".SH DESCRIPTION", *_paragraphs(_DESCRIPTION))
    yield ".SH COMMANDS"
    for name in COMMANDS:
        yield from _command(name)
    for title, entries in (("EXIT STATUS", _EXIT_CODES), ("ENVIRONMENT", _ENVIRONMENT), ("FILES", _FILES)):
        yield f".SH {title}"
        for term, meaning in entries.items():
            yield from (".TP", f".B {_text(term)}", _text(meaning))


def _command(name: str) -> Iterator[str]:
    command = load_command(name)
    context = command.context_class(command, info_name=f"harvester {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f".SS {_text(f'harvester {name} {usage}')}", *_paragraphs(command.help))
    for parameter in command.params:
        record: Any = parameter.get_help_record(context) if parameter.param_type_name == "option" else None
        if record is not None:
            yield from (".TP", f".B {_text(record[0])}", _text(record[1]))


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        yield _text(" ".join(paragraph.split()))


def _text(text: str) -> str:
    """Return text in which nothing is a macro or an escape, and a hyphen is the one that people type."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.stdout.write(man_page())
