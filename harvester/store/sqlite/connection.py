"""Open the database: set pragmas and the file mode, and translate each failure into a clear sentence."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

from harvester.domain.errors import NotOursError, StoreBusyError, StoreError
from harvester.store.sqlite.foreign_triggers import TRIGGERS_REMEDY
from harvester.store.sqlite.maintenance.file_systems import LOCAL_DISK, refuse_network
from harvester.store.sqlite.migrations import check_ours, load_migrations, migrate
from harvester.store.sqlite.opened_file import OpenedFile, refuse_second_names, refuse_strange_log
from harvester.store.sqlite.write_ahead_log import limit_log

T = TypeVar("T")
C = TypeVar("C", bound=sqlite3.Connection)

PAGE_SIZE_BYTES = 32768
"""Bytes. With this page size vectors of 2 KB take 1.12 times their raw bytes, and those of 4 KB 1.17 times.

With 16384 they would take 1.18 and 1.35 times; the default, 4096, doubles the file.
"""

BUSY_TIMEOUT_S = 30.0
CACHE_KIB = 16 * 1024

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


class Connection(sqlite3.Connection):
    """A connection that knows which file it has opened; `file` is None if it only reads."""

    file: OpenedFile | None = None


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


def in_transaction(connection: C, body: Callable[[C], T]) -> T:
    """Run `body` between BEGIN IMMEDIATE and COMMIT; roll back on any error.

    Raises MovedFileError if the file is not at its path any more. It checks before the commit, so that the opened file
    has nothing that was not acknowledged, and after it, because only then the answer is certain.
    """
    file = connection.file if isinstance(connection, Connection) else None
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = body(connection)
        if file is not None:
            file.check(connection)
        connection.execute("COMMIT")
    except BaseException:
        # After a failed COMMIT SQLite may have rolled back by itself.
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise
    if file is not None:
        file.check(connection)
    return result


def open_for_writing(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Connection:
    """Open or create the database at the newest schema; statements wait `busy_timeout_s` for other writers.

    Only the file's owner can read it. Raises StoreError.
    """
    _check_place(path)
    refuse_network(path)
    refuse_second_names(path)
    refuse_strange_log(path)
    try:
        _create_private(path)
        file = OpenedFile(path)
        connection = _connect(path, "rwc")
        try:
            # Affects an empty file only. A process that was killed while creating the file leaves a journal that
            # empties it at the next read.
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE_BYTES}")
            check_ours(connection, load_migrations())
            _set_write_pragmas(connection, path)
            migrate(connection)
            # Opening succeeds on a read-only file, and so does BEGIN IMMEDIATE: only a statement that may write fails.
            connection.execute("UPDATE schema_migrations SET version = version WHERE FALSE")
            _limit_cache(connection)
            connection.execute(f"PRAGMA busy_timeout = {round(busy_timeout_s * 1000)}")
            file.note_log(connection)
            file.check(connection)
            connection.file = file
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if primary_code(error) == sqlite3.SQLITE_CANTOPEN and not _may_write(path.resolve().parent):
            raise StoreError(
                f"The database {str(path)!a} is in a folder that can only be read.",
                remedy="Copy it to another folder, or use another file with --db or store.path.",
            ) from error
        raise store_error(path, error) from error
    return connection


def open_existing(path: Path) -> Connection:
    """Open for writing a database that must be there already. Raises StoreError."""
    check_exists(path)
    return open_for_writing(path)


@contextmanager
def translating_errors(path: Path) -> Iterator[None]:
    """Translate SQLite's errors in the block: damage often shows only when the damaged page is read."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise store_error(path, error) from error


def open_for_reading(path: Path, *, any_age: bool = False) -> Connection:
    """Open an existing database read-only; with `any_age` also at an older schema. Raises StoreError."""
    check_exists(path)
    refuse_second_names(path, reading=True)
    try:
        connection = _connect(path, "ro", is_immutable=_is_still(path))
        try:
            applied = check_ours(connection, load_migrations())
            if not applied:
                raise NotOursError(
                    f"The database {str(path)!a} is empty.",
                    remedy="Run `harvester migrate` or `harvester add`.",
                )
            if not any_age and max(applied) < max(migration.version for migration in load_migrations()):
                raise StoreError(f"The database {str(path)!a} has an older schema.", remedy="Run `harvester migrate`.")
            _limit_cache(connection)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise store_error(path, error) from error
    return connection


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


def _check_place(path: Path) -> None:
    if exists(path) and path.is_dir():
        raise StoreError(f"{str(path)!a} is a folder.", remedy="Give a file with --db or store.path.")
    if not path.absolute().parent.is_dir():
        raise StoreError(
            f"The folder of the database {str(path)!a} does not exist.",
            remedy="Create it, or give another --db.",
        )


def check_exists(path: Path) -> None:
    """Raise StoreError if there is no file that could be a database."""
    _check_place(path)
    if not exists(path):
        raise StoreError(
            f"There is no database at {str(path)!a}.",
            remedy="Name it with --db or store.path, or queue tasks first: `harvester add --file ids.txt`.",
        )


def _create_private(path: Path) -> None:
    """Create the file for its owner only; SQLite gives its -wal and -shm files the same mode."""
    try:
        # Resolved, because O_EXCL treats a link to a missing file as an existing file.
        os.close(os.open(path.resolve(), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(
            f"The database {str(path)!a} cannot be created: {error.strerror}.",
            remedy="Check the permissions and the space of its folder.",
        ) from error


def _is_still(path: Path) -> bool:
    """Return whether the folder is read-only and the database has no log, so that SQLite must create no files.

    Raises StoreError if there is a log: to read it, SQLite would have to write its index.
    """
    log, index = (path.resolve().with_name(path.resolve().name + suffix) for suffix in ("-wal", "-shm"))
    if index.exists() or _may_write(log.parent):
        return False
    if not log.exists() or log.stat().st_size == 0:
        return True
    raise StoreError(
        f"The database {str(path)!a} has a write-ahead log with what was stored last, and its folder is read-only.",
        remedy=f"Copy {path.name!a} and {log.name!a} to one folder that can be written, and use them there.",
    )


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _connect(path: Path, mode: Literal["rwc", "ro"], *, is_immutable: bool = False) -> Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}{'&immutable=1' if is_immutable else ''}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )
    # An id that is not UTF-8, inserted by another program, must not make the whole table unreadable.
    connection.text_factory = _lenient_text
    try:
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _limit_cache(connection: sqlite3.Connection) -> None:
    """Limit the cache after the first read: before it, SQLite assumes pages of 4 KB and allows four times as many."""
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def _lenient_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _set_write_pragmas(connection: sqlite3.Connection, path: Path) -> None:
    _switch_to_wal(connection, path)
    # FULL makes each commit durable, not only consistent: acknowledged commits survive a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    limit_log(connection)


def _switch_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch to WAL, and retry: SQLite fails at once if two processes switch a new file at the same time."""
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up_at:
                raise
            time.sleep(0.01)
        else:
            break
    if mode != "wal":
        # If memory cannot be shared, SQLite keeps the old journal without an error.
        raise StoreError(f"The file system of {str(path)!a} cannot hold SQLite's write-ahead log.", remedy=LOCAL_DISK)
