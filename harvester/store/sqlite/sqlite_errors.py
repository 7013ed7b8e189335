"""Translate each failure of SQLite into a clear sentence with a remedy."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harvester.domain.errors import NotOursError, StoreBusyError, StoreError
from harvester.store.sqlite.foreign_triggers import TRIGGERS_REMEDY

# SQLite codes that describe the file, not the moment; https://www.sqlite.org/rescode.html
_FILE_PROBLEMS = {
    sqlite3.SQLITE_NOTADB: ("is not a SQLite database", "Give another file with --db or store.path."),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "Restore a backup, or save what is readable: `sqlite3 FILE '.clone new.db'`; see docs/howto/operations.md.",
    ),
    sqlite3.SQLITE_READONLY: (
        "cannot be written",
        "Give write permission to the file and its folder, or use another file with --db or store.path.",
    ),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "Check the permissions of the file and its folder."),
    sqlite3.SQLITE_PERM: ("cannot be used", "Check the permissions of the file and its folder."),
    sqlite3.SQLITE_BUSY: (
        "is kept locked by another program",
        "End that program's transaction, then try again.",
    ),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "Free some space, then try again."),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written (I/O error)",
        "Check the disk, then run `harvester verify`.",
    ),
}

PASSING_PROBLEMS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""Problems that end by themselves, or when the user frees disk space: a running harvest waits for that."""


def primary_code(error: sqlite3.Error | UnicodeDecodeError) -> int:
    """Return SQLite's primary result code: the low byte of the extended one."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def store_error(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> StoreError:
    """Translate an error of SQLite into a sentence with a remedy: StoreBusyError for PASSING_PROBLEMS.

    With a damaged schema SQLite's message may not be UTF-8; then Python raises UnicodeDecodeError instead.
    """
    code = sqlite3.SQLITE_CORRUPT if isinstance(error, UnicodeDecodeError) else primary_code(error)
    if isinstance(error, sqlite3.Error) and code in (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR):
        return _refused_statement(path, error)
    sentence, remedy = _FILE_PROBLEMS.get(code, (f"cannot be used: {error}", "Run `harvester verify`."))
    text = f"The database {str(path)!a} {sentence}."
    if code in PASSING_PROBLEMS:
        return StoreBusyError(text, reason=str(error), remedy=remedy)
    kind = NotOursError if code == sqlite3.SQLITE_NOTADB else StoreError
    return kind(text, remedy=remedy)


def _refused_statement(path: Path, error: sqlite3.Error) -> StoreError:
    """Return the error if a trigger, index or table that another program has added refuses a statement."""
    if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_TRIGGER:
        sentence, remedy = f"refuses a change by a trigger of another program: {str(error)!a}", TRIGGERS_REMEDY
    elif primary_code(error) == sqlite3.SQLITE_CONSTRAINT:
        sentence = f"refuses a row: {error}"
        remedy = "Drop or change the index, trigger or table that another program has added; `harvester verify` helps."
    else:
        sentence = f"cannot be used: {error}"
        remedy = "Run `harvester verify`; if that finds nothing, look at the triggers and views of other programs."
    return StoreError(f"The database {str(path)!a} {sentence}.", remedy=remedy)


@contextmanager
def translating_errors(path: Path) -> Iterator[None]:
    """Translate SQLite's errors in the block: damage often shows only when the damaged page is read."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise store_error(path, error) from error
