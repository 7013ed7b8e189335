"""The file at the database's path: whether it is there and can be used, and its creation."""

import errno
import os
from pathlib import Path

from harvester.domain.errors import StoreError


def exists(path: Path) -> bool:
    """Whether there is a file at the path.

    Raises StoreError if the path cannot be checked: another user's folder, or a name too long for the file system.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreError(
            f"The database {str(path)!a} cannot be reached: {error.strerror}.",
            remedy="Check the permissions of its folders, or give another file with --db or store.path.",
        ) from error
    return True


def check_place(path: Path) -> None:
    """Raise StoreError if no database can be at the path: it is a folder, or its folder is missing."""
    if exists(path) and path.is_dir():
        raise StoreError(f"{str(path)!a} is a folder.", remedy="Give a file with --db or store.path.")
    if not path.absolute().parent.is_dir():
        raise StoreError(
            f"The folder of the database {str(path)!a} does not exist.",
            remedy="Create it, or give another --db.",
        )


def check_creatable(path: Path) -> None:
    """Raise StoreError if no database can be made at the path; nothing is written."""
    check_place(path)
    if not exists(path) and not may_write(path.resolve().parent):
        raise _not_creatable(path, os.strerror(errno.EACCES))


def check_exists(path: Path) -> None:
    """Raise StoreError if there is no file that could be a database."""
    check_place(path)
    if not exists(path):
        raise StoreError(
            f"There is no database at {str(path)!a}.",
            remedy="Name it with --db or store.path, or queue tasks first: `harvester add --file ids.txt`.",
        )


def create_private(path: Path) -> None:
    """Create the file for its owner only, unless it exists; SQLite gives its -wal and -shm files the same mode.

    Raises StoreError.
    """
    try:
        # Resolved, because O_EXCL treats a link to a missing file as an existing file.
        os.close(os.open(path.resolve(), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise _not_creatable(path, error.strerror) from error


def _not_creatable(path: Path, why: str | None) -> StoreError:
    return StoreError(
        f"The database {str(path)!a} cannot be created: {why}.",
        remedy="Check the permissions and the space of its folder.",
    )


def is_unchanging(path: Path) -> bool:
    """Return whether the folder is read-only and the database has no log, so that SQLite must create no files.

    Raises StoreError if there is a log: to read it, SQLite would have to write its index.
    """
    log, index = (path.resolve().with_name(path.resolve().name + suffix) for suffix in ("-wal", "-shm"))
    if index.exists() or may_write(log.parent):
        return False
    if not log.exists() or log.stat().st_size == 0:
        return True
    raise StoreError(
        f"The database {str(path)!a} has a write-ahead log with what was stored last, and its folder is read-only.",
        remedy=f"Copy {path.name!a} and {log.name!a} to one folder that can be written, and use them there.",
    )


def may_write(folder: Path) -> bool:
    """Whether this process may create files in the folder."""
    return os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
