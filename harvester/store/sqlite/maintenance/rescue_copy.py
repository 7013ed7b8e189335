"""Copy a database that has lost its name, because its content would be lost when the process ends."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

STEP_PAGES = 256


def save_copy(connection: sqlite3.Connection, path: Path) -> Path | None:
    """Copy all committed content to a new file beside `path`, which only its owner can read; return the file.

    If that folder is gone or full, use the current folder, else the one for temporary files. Return None if all fail.
    """
    name = f"{path.name}.saved-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
    for folder in _folders(path):
        target = folder / name
        with suppress(sqlite3.Error, OSError):
            _copy(connection, target)
            return target
    return None


def _folders(path: Path) -> Iterator[Path]:
    yield path.parent
    with suppress(OSError):
        yield Path.cwd()
    yield Path(tempfile.gettempdir())


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(sqlite3.connect(partial)) as copy:
            connection.backup(copy, pages=STEP_PAGES)
            # Make it one file without a log.
            copy.execute("PRAGMA journal_mode = DELETE")
            (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        partial.rename(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
