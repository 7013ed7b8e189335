"""Copy the database while others write to it: a snapshot that gets its name only after all checks have passed."""

import errno
import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from harvester.domain.errors import StoreError, UsageError
from harvester.domain.tasks.task import TaskState
from harvester.ports.maintenance import Backup, Finding
from harvester.store.sqlite.connection import open_for_reading
from harvester.store.sqlite.counts import task_counts
from harvester.store.sqlite.maintenance.verify import verify, verify_structure
from harvester.store.sqlite.migrations import applied_versions, load_migrations
from harvester.store.sqlite.sqlite_errors import primary_code, store_error, translating_errors

STEP_PAGES = 512
"""Pages copied at a time (16 MB); Python handles signals in between."""

_WORKSHOP = ".harvester-backup-"
_LEFT_BESIDE = ("-wal", "-journal")
_BESIDE = (*_LEFT_BESIDE, "-shm")
_WRITING = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE, sqlite3.SQLITE_IOERR_FSYNC}


def back_up(database: Path, target: Path, *, replace: bool = False) -> Backup:
    """Copy `database` to `target`, which only its owner can read; the file gets that name after all checks.

    The copy is one file without a write-ahead log and a snapshot of one moment; writers go on meanwhile. Raises
    UsageError for an unusable target, StoreError for all other failures.
    """
    try:
        _check_target(database, target, replace=replace)
    except OSError as error:
        raise UsageError(f"{str(target)!a} cannot be had: {error.strerror}.", remedy="Give another file.") from error
    with closing(open_for_reading(database, any_age=True)) as source, _workshop(target) as folder:
        copy = folder / "copy.db"
        taken_at_ms = _copy(source, database, copy, target)
        version, counts = _checked(copy, database)
        size = copy.stat().st_size
        _sync(copy)
        _publish(copy, target, replace=replace)
    return Backup(target, taken_at_ms, size, version, counts)


def _reach(target: Path) -> None:
    """Raise OSError unless the target can be looked at: from Python 3.14 on, `is_dir` and `exists` do not."""
    try:
        target.stat()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            raise


def _check_target(database: Path, target: Path, *, replace: bool) -> None:
    _reach(target)
    if target.is_dir():
        raise UsageError(f"{str(target)!a} is a folder.", remedy="Give the name of a file in it.")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"The folder of {str(target)!a} does not exist.", remedy="Create it, or give another file.")
    if os.path.realpath(target) in {os.path.realpath(database) + suffix for suffix in ("", *_BESIDE)}:
        raise UsageError(f"{str(target)!a} is a file of the database itself.", remedy="Give another file.")
    if target.is_symlink() or target.exists():
        if not replace:
            raise _taken(target)
        if target.is_symlink() or not target.is_file():
            raise UsageError(f"{str(target)!a} is not a plain file.", remedy="Give another file.")
    for suffix in _LEFT_BESIDE:
        beside = target.with_name(target.name + suffix)
        # SQLite would write it into the copy when a program opens the copy.
        if beside.exists():
            raise UsageError(
                f"{str(beside)!a} belongs to a database of that name.",
                remedy="Give another file; or remove it, if no program uses that database.",
            )


def _taken(target: Path) -> UsageError:
    return UsageError(f"{str(target)!a} exists.", remedy="Give another file, or replace it with --force.")


@contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """Make a folder beside `target`, locked while in use: folders of killed processes have no lock."""
    parent = target.absolute().parent
    try:
        _sweep(parent)
        folder, lock = _locked_folder(parent)
    except OSError as error:
        raise _not_written(target, error) from error
    try:
        yield folder
    except OSError as error:
        raise _not_written(target, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_WORKSHOP, dir=parent))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):  # a file system without locks, where `_sweep` removes nothing either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        # Another backup removed the folder before it was locked.
        os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the folders of killed backups."""
    for left in parent.glob(f"{_WORKSHOP}*"):
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _copy(source: sqlite3.Connection, database: Path, copy: Path, target: Path) -> int:
    """Copy a snapshot of the database and return its time (Unix milliseconds)."""
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        # Hold a read transaction: without one each change by another connection would restart the copy.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM schema_migrations").fetchone()
        taken_at_ms = time.time_ns() // 1_000_000
        (page_bytes,) = source.execute("PRAGMA page_size").fetchone()
        (pages,) = source.execute("PRAGMA page_count").fetchone()
        _check_space(target, pages * page_bytes)
        with closing(sqlite3.connect(copy, isolation_level=None)) as sink:
            # The copy becomes durable at the end, as a whole; a partial copy is useless.
            sink.execute("PRAGMA journal_mode = OFF")
            sink.execute("PRAGMA synchronous = OFF")
            # Python handles signals when this is called.
            source.backup(sink, pages=STEP_PAGES, progress=lambda *_: None)
            # Make it one file, without the log and the shared memory that the header of the original names.
            sink.execute("PRAGMA locking_mode = EXCLUSIVE")
            sink.execute("PRAGMA journal_mode = DELETE")
        source.execute("ROLLBACK")
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_FULL or error.sqlite_errorcode in _WRITING:
            raise StoreError(
                f"The backup {str(target)!a} cannot be written: {error}.",
                remedy="Free some space, or use another disk.",
            ) from error
        raise store_error(database, error) from error
    return taken_at_ms


def _check_space(target: Path, needed_bytes: int) -> None:
    """Fail before the copy, not half-way: the daemon may be writing to the same disk."""
    free_bytes = shutil.disk_usage(target.absolute().parent).free
    if free_bytes < needed_bytes:
        raise StoreError(
            f"The backup {str(target)!a} needs {needed_bytes} bytes, and {free_bytes} are free there.",
            remedy="Free some space, or use another disk.",
        )


def _checked(copy: Path, database: Path) -> tuple[int, dict[TaskState, int]]:
    """Return schema version and counts of the copy. Raises StoreError with the first thing that is wrong with it."""
    with translating_errors(database), closing(open_for_reading(copy, any_age=True)) as connection:
        version = max(applied_versions(connection))
        is_current = version == max(migration.version for migration in load_migrations())
        # The promises are those of the newest schema; an index or a view that was changed is copied as it is.
        findings = verify(connection, schema=False) if is_current else verify_structure(connection)
        wrong = next((finding for finding in findings if not finding.is_warning), None)
        if wrong is not None:
            raise _unsound(database, wrong)
        return version, task_counts(connection)


def _unsound(database: Path, finding: Finding) -> StoreError:
    about = f"{finding.task_id}: " if finding.task_id else ""
    return StoreError(
        f"There is no backup, since the copy of {str(database)!a} fails its check: {about}{finding.text}.",
        remedy="`harvester verify` on the database lists what is wrong; keep the last good backup.",
    )


def _publish(copy: Path, target: Path, *, replace: bool) -> None:
    if replace:
        copy.replace(target)
    else:
        _rename_to_new(copy, target)
    _sync(target.absolute().parent)


def _rename_to_new(copy: Path, target: Path) -> None:
    """Rename without replacing a file that was created since the first check."""
    try:
        # A second name for the file fails where the name is taken; a rename would replace it.
        os.link(copy, target)
    except FileExistsError:
        raise _taken(target) from None
    except OSError:
        # A file system without hard links.
        if target.exists():
            raise _taken(target) from None
        copy.rename(target)
    else:
        copy.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_written(target: Path, error: OSError) -> StoreError:
    return StoreError(
        f"The backup {str(target)!a} cannot be written: {error.strerror or error}.",
        remedy="Check the permissions and the space of its folder.",
    )
