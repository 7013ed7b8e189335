"""The three questions of `harvester init`, and the checks of their answers, which flags may give as well."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harvester.app.stores import open_maintenance
from harvester.cli.console import print_note
from harvester.domain.errors import UsageError
from harvester.ports.check_result import Verdict
from harvester.settings.api_key import KEY_VARIABLE, resolve_api_key
from harvester.settings.model import Settings, check_setting

T = TypeVar("T")

_ANSWER = "your answer"


@dataclass(frozen=True, slots=True)
class Answers:
    """`key_file` is None where the key is in the environment variable."""

    key_file: Path | None
    database: Path
    requests_per_minute: float


def collect_answers(key_file: str | None, database: str | None, requests_per_minute: str | None) -> Answers:
    """Return what the flags say, and ask for the rest.

    Raises UsageError for a flag that cannot be used, and where a question cannot be asked because there is no terminal.
    """
    if not _is_terminal():
        _refuse_questions(key_file, database, requests_per_minute)
    elif None in (key_file, database, requests_per_minute):
        _say("Enter takes the answer in brackets, Ctrl-C ends this and writes nothing.")
    usual = Settings()
    return Answers(
        _given_or_asked(
            key_file, "--key-file", _key_file, f"File that holds the API key, or {KEY_VARIABLE}", KEY_VARIABLE
        ),
        _given_or_asked(database, "--db", _database, "Database file", str(usual.store.path)),
        _given_or_asked(
            requests_per_minute,
            "--requests-per-minute",
            _rate,
            "Requests per minute, 0 for no limit",
            f"{usual.rate.requests_per_minute:g}",
        ),
    )


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _refuse_questions(key_file: str | None, database: str | None, requests_per_minute: str | None) -> None:
    lacking = [
        *(
            ["--key-file FILE (or set TWELVELABS_API_KEY)"]
            if key_file is None and KEY_VARIABLE not in os.environ
            else []
        ),
        *(["--db FILE"] if database is None else []),
        *(["--requests-per-minute NUMBER"] if requests_per_minute is None else []),
    ]
    if lacking:
        raise UsageError("There is no terminal to ask questions on.", remedy=f"Give {', '.join(lacking)}.")


def _given_or_asked(given: str | None, flag: str, check: Callable[[str, str], T], question: str, usual: str) -> T:
    if given is not None:
        return check(given, flag)
    if not _is_terminal():
        return check(usual, flag)
    while True:
        try:
            return check(_ask(f"{question} [{usual}]: ") or usual, _ANSWER)
        except UsageError as error:
            # The remedy is about settings and flags; here the question comes again.
            _say(error.sentence)


def _ask(question: str) -> str:
    """Return the answer without the spaces around it. Raises EndOfInput at the end of the input."""
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.buffer.readline()
    if not line:
        _say("")
        raise EndOfInput
    return line.decode("utf-8", "replace").strip()


class EndOfInput(Exception):  # noqa: N818  # it is no error of the program
    """The user has ended the input (Ctrl-D) in place of an answer."""


def _key_file(answer: str, origin: str) -> Path | None:
    """Return the file of the key, or None for the environment variable. No message repeats what may be a key."""
    if answer.removeprefix("$") == KEY_VARIABLE and not Path(answer).exists():
        if KEY_VARIABLE in os.environ:
            resolve_api_key(Settings(), os.environ)
        return None
    settings = check_setting("api.key_file", answer, origin)
    path = settings.api.key_file
    if path is None or not path.exists():
        raise UsageError(f"The file that {origin} names does not exist.", remedy="It takes the path of a file.")
    resolve_api_key(settings, {})
    return path


def _database(answer: str, origin: str) -> Path:
    if not answer.isprintable():
        raise UsageError(f"The path in {origin} contains control characters.", remedy="It takes the path of a file.")
    path = check_setting("store.path", answer, origin).store.path
    for found in open_maintenance(path).diagnose():
        if found.verdict is Verdict.FAILURE and found.name in {"database", "file system"}:
            raise UsageError(found.text, remedy=found.remedy)
    return path


def _rate(answer: str, origin: str) -> float:
    return check_setting("rate.requests_per_minute", answer, origin).rate.requests_per_minute


def _say(text: str) -> None:
    print_note(text)
