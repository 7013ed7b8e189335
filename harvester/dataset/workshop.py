"""Files that are complete or not there: they are made in a locked folder beside their place, then get their names."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = ".harvester-export-"


@contextmanager
def workshop(parent: Path) -> Iterator[Path]:
    """Make a locked folder in `parent` and remove it at the end. Raises OSError."""
    folder, lock = _locked_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(parent: Path) -> None:
    """Remove the folders of killed exports, which have no lock."""
    for left in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def is_workshop(path: Path) -> bool:
    """Return whether the name is one of a folder that this module makes."""
    return path.name.startswith(_PREFIX)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):  # a file system without locks, where `sweep` removes nothing either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        # Another export removed the folder before it was locked.
        os.close(lock)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Lock a file or folder during the block; yield whether it could be locked and is still at its path.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks
            pass
        yield os.path.samestat(os.fstat(descriptor), path.stat())
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Wait until the folder or file is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def name_new_file(made: Path, target: Path) -> None:
    """Give the file its name. Raises FileExistsError if another file has got it meanwhile, OSError."""
    try:
        # A second name for the file fails where the name is taken; a rename would replace it.
        os.link(made, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links.
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        made.rename(target)
    else:
        made.unlink()
    sync(target.absolute().parent)


def replace_file(made: Path, target: Path) -> None:
    """Put the file in place of another one. Raises OSError."""
    made.replace(target)
    sync(target.absolute().parent)
