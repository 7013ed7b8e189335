"""The database file that a connection has opened, and whether its path still leads to it.

SQLite keeps working on a file that was removed, moved or replaced: every commit would succeed, and be lost when the
process ends. It keeps the write-ahead log beside the name by which it opened the file: a file with two names has two
logs, and commits to one are not visible through the other (https://www.sqlite.org/howtocorrupt.html, section 1).
"""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from harvester.domain.errors import MovedFileError, StoreError
from harvester.store.sqlite.maintenance.file_systems import mount_of
from harvester.store.sqlite.write_ahead_log import log_bytes

_BESIDE = {"-wal": "write-ahead log", "-shm": "index of the write-ahead log"}
_CUT = "was cut"
_ONE_NAME = "Use the database by one name, in one folder, that all its programs share."


class OpenedFile:
    """Device, inode and size of the database at `path` and of its log, as they were opened.

    Make it before SQLite opens the file, and call `note_log` once SQLite has opened the log. Raises StoreError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._log_beside = os.path.realpath(path)
        try:
            opened = self.path.stat()
        except OSError as error:
            raise StoreError(
                f"The database {str(path)!a} cannot be reached: {error.strerror}.",
                remedy="Check the permissions of its folders, or give another file with --db or store.path.",
            ) from error
        self._identity, self._bytes = _identity(opened), opened.st_size
        self._log: dict[str, tuple[int, int]] = {}
        self._page_bytes = 0
        self.database_bytes = 0
        """Bytes of the file after all of the log has been copied into it."""

    def note_log(self, connection: sqlite3.Connection) -> None:
        """Record the files of the log, which stay the same while any connection is open."""
        (self._page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        self._log = {
            ending: _identity(os.lstat(self._log_beside + ending))
            for ending in _BESIDE
            if os.path.lexists(self._log_beside + ending)
        }

    def check(self, connection: sqlite3.Connection | None = None) -> None:
        """Raise MovedFileError if the path does not lead to the opened file and its log any more.

        With a connection, also if the file was truncated.
        """
        problem = self._problem(connection)
        if problem == _CUT:
            # VACUUM by another process may have shortened the file after its pages were counted.
            problem = self._problem(connection)
        if problem is not None:
            raise MovedFileError(
                f"The database {str(self.path)!a} {problem} while it was in use. Nothing more is stored.",
                remedy="Stop every process on it, put one file there with no old -wal and -shm beside it, and start "
                "again (docs/howto/operations.md, Restoring).",
            )

    def _problem(self, connection: sqlite3.Connection | None) -> str | None:
        if connection is not None:
            self.database_bytes = connection.execute("PRAGMA page_count").fetchone()[0] * self._page_bytes
        return self._problem_of_file(is_sure=connection is not None) or self._problem_of_log()

    def _problem_of_file(self, *, is_sure: bool) -> str | None:
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return "was removed or moved"
        except OSError as error:
            return f"cannot be reached any more ({error.strerror})"
        if _identity(found) != self._identity:
            return "was replaced by another file"
        # VACUUM makes the file shorter too, and the database with it.
        if found.st_size == 0 < self._bytes:
            return "was emptied"
        if is_sure:
            if found.st_size < self._bytes and found.st_size + log_bytes(self.path) < self.database_bytes:
                return _CUT
            self._bytes = found.st_size
        return None

    def _problem_of_log(self) -> str | None:
        for ending, identity in self._log.items():
            try:
                found = os.lstat(self._log_beside + ending)
            except OSError:
                return f"has lost its {_BESIDE[ending]} ({ending})"
            if _identity(found) != identity:
                return f"has another {_BESIDE[ending]} ({ending})"
        return None


def refuse_second_names(path: Path, *, reading: bool = False) -> None:
    """Raise StoreError for a file with several names, each of which would have its own log.

    With `reading` only if it has a log at all: a finished copy is the same by every name.
    """
    try:
        names = path.stat().st_nlink
    except OSError:
        return
    mount = mount_of(path)
    is_mount = mount is not None and mount.point == Path(os.path.realpath(path))
    if not (names > 1 or is_mount) or (reading and not _has_log(path)):
        return
    if names > 1:
        raise StoreError(
            f"The database {str(path)!a} has {names} names (hard links), and SQLite would keep a write-ahead "
            "log beside each of them.",
            remedy=f"{_ONE_NAME} Remove the other names, or copy the file and use the copy.",
        )
    raise StoreError(
        f"The database {str(path)!a} is mounted as a single file, and its write-ahead log would be in another "
        "folder than that of the file itself.",
        remedy=f"{_ONE_NAME} Mount the folder instead: -v FOLDER:/data, not -v FOLDER/harvester.db:/data/….",
    )


def refuse_strange_log(path: Path) -> None:
    """Raise StoreError for a log that is a link or no file: other programs would read another one."""
    beside = os.path.realpath(path)
    for ending, name in _BESIDE.items():
        try:
            found = os.lstat(beside + ending)
        except OSError:
            continue
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise StoreError(
                f"The {name} of the database, {beside + ending!a}, is a link or no file.",
                remedy="Stop every process on the database, and put the file itself there, or remove what is there.",
            )


def _has_log(path: Path) -> bool:
    """Return whether the database has a write-ahead log.

    Ask SQLite: to open and close the file directly would release the locks of every connection of this process, and
    another process would remove the log (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal")
    except sqlite3.Error:
        return True


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
