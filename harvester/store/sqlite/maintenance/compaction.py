"""Give space back: drop what is no longer needed, and rewrite the file without its free pages.

VACUUM holds the write lock from its first page to its commit. Readers go on; the writer of a harvest
waits, and tries again after a time-out. The inode stays, because the new pages go through the write-ahead log. The mode
`incremental_vacuum` would work in small steps, but an existing file needs a VACUUM before it has that mode, and then
each write of a vector also writes the map of pages.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from harvester.domain.errors import StoreError
from harvester.ports.maintenance import Compacted, CompactionProgress, Compactness
from harvester.ports.space import LOG_BYTES
from harvester.reports.formats import shown_bytes
from harvester.store.sqlite.connection import BUSY_TIMEOUT_S, Connection, open_existing, open_for_reading
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.sqlite_errors import primary_code, translating_errors
from harvester.store.sqlite.transaction import in_transaction
from harvester.store.sqlite.write_ahead_log import free_bytes, log_bytes, shrink_log

BATCH = 1000
"""Rows that one transaction removes."""

_FRAME_HEADER_BYTES = 24
"""Bytes that the write-ahead log adds to each page."""

_BUSY_STEP_MS = 500
"""Milliseconds that SQLite waits for a lock before Python can handle Ctrl-C."""

_TELL_EVERY_S = 0.2

_READER_S = 2.0


def measure(path: Path, attempts_before_ms: int) -> Compactness:
    """Return what a compaction would give back, and what it needs. Writes nothing. Raises StoreError."""
    with translating_errors(path), closing(open_for_reading(path)) as connection:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free_pages,) = connection.execute("PRAGMA freelist_count").fetchone()
        bodies, body_bytes = connection.execute(query("count_unneeded_payloads")).fetchone()
        (attempts,) = connection.execute(query("count_old_attempts"), {"before": attempts_before_ms}).fetchone()
    copied = pages - free_pages
    folder = copy_folder(path)
    is_beside = _device(folder) == _device(_folder(path))
    written = copied * (page_bytes + _FRAME_HEADER_BYTES) + LOG_BYTES
    return Compactness(
        database_bytes=pages * page_bytes,
        free_inside_bytes=free_pages * page_bytes,
        log_bytes=log_bytes(path),
        unneeded_bodies=bodies,
        unneeded_body_bytes=body_bytes,
        old_attempts=attempts,
        copy_bytes=copied * page_bytes,
        needed_bytes=written + (copied * page_bytes if is_beside else 0),
        volume_free_bytes=free_bytes(path),
        copy_folder=folder,
        copy_free_bytes=None if is_beside else free_bytes(folder / "copy"),
    )


def check_room(path: Path, found: Compactness) -> None:
    """Raise StoreError if the volume of the database, or that of the copy, has too little space."""
    if found.volume_free_bytes is not None and found.volume_free_bytes < found.needed_bytes:
        raise StoreError(
            f"To compact {str(path)!a} needs {shown_bytes(found.needed_bytes)} on its volume, and "
            f"{shown_bytes(found.volume_free_bytes)} are free there. Nothing was changed.",
            remedy="Free some space; or name a folder on another volume with SQLITE_TMPDIR, which then holds "
            f"the copy of {shown_bytes(found.copy_bytes)}.",
        )
    if found.copy_free_bytes is not None and found.copy_free_bytes < found.copy_bytes:
        raise StoreError(
            f"To compact {str(path)!a} needs {shown_bytes(found.copy_bytes)} in {str(found.copy_folder)!a} for a copy, "
            f"and {shown_bytes(found.copy_free_bytes)} are free there. Nothing was changed.",
            remedy="Free some space there, or name another folder with SQLITE_TMPDIR.",
        )


def compact(path: Path, attempts_before_ms: int, listener: Callable[[CompactionProgress], None]) -> Compacted:
    """Drop what is not needed, rewrite the file, and cut the log; `listener` is called a few times each second.

    Raises StoreError, and KeyboardInterrupt when SQLite has stopped.
    """
    found = measure(path, attempts_before_ms)
    if found.is_compact:
        return _cut_log_alone(path, found)
    check_room(path, found)
    with translating_errors(path), closing(open_existing(path)) as connection:
        bodies = _in_batches(connection, "drop_unneeded_payloads", {})
        attempts = _in_batches(connection, "prune_attempts", {"before": attempts_before_ms})
        started = time.monotonic()
        try:
            with _copying_to(connection, found.copy_folder):
                _vacuum(connection, lambda: listener(_progress(path, found, started)))
        finally:
            # Also after a full disk or Ctrl-C, when the log holds pages that were never committed.
            is_cut = _cut_log(connection)
        if connection.file is not None:
            connection.file.check(connection)
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        return Compacted(found, pages * page_bytes, log_bytes(path), bodies, attempts, is_pinned=not is_cut)


def copy_folder(path: Path) -> Path:
    """Return where SQLite's copy goes: SQLITE_TMPDIR if that can be written, else beside the database.

    The usual folder for temporary files is memory in many containers.
    """
    named = os.environ.get("SQLITE_TMPDIR")
    return Path(named) if named and Path(named).is_dir() and os.access(named, os.W_OK) else _folder(path)


def _cut_log_alone(path: Path, found: Compactness) -> Compacted:
    with translating_errors(path), closing(open_existing(path)) as connection:
        is_cut = _cut_log(connection)
        return Compacted(found, found.database_bytes, log_bytes(path), 0, 0, is_pinned=not is_cut)


def _cut_log(connection: sqlite3.Connection) -> bool:
    """Empty the log; return False if a reader keeps it for longer than the reads of a harvest take."""
    give_up_at = time.monotonic() + _READER_S
    while not (is_cut := shrink_log(connection)) and time.monotonic() < give_up_at:
        time.sleep(_READER_S / 20)
    return is_cut


def _in_batches(connection: Connection, name: str, parameters: dict[str, int]) -> int:
    """Run a statement that removes up to a batch of rows until it removes none; return how many rows it removed."""
    total = 0
    while True:
        removed = in_transaction(
            connection, lambda connection: connection.execute(query(name), {**parameters, "limit": BATCH}).rowcount
        )
        if removed == 0:
            return total
        total += removed


@contextmanager
def _copying_to(connection: sqlite3.Connection, folder: Path) -> Iterator[None]:
    """Let SQLite make its temporary files in that folder. A build without the pragma ignores it."""
    quoted = str(folder).replace("'", "''")
    connection.execute(f"PRAGMA temp_store_directory = '{quoted}'")
    try:
        yield
    finally:
        connection.execute("PRAGMA temp_store_directory = ''")


def _vacuum(connection: sqlite3.Connection, tell: Callable[[], None]) -> None:
    """Run VACUUM in a thread of its own: SQLite does not return to Python in between, so Ctrl-C would wait."""
    stop = threading.Event()
    errors: list[BaseException] = []
    worker = threading.Thread(target=_run_vacuum, args=(connection, stop, errors), name="vacuum")
    worker.start()
    try:
        while worker.is_alive():
            worker.join(_TELL_EVERY_S)
            tell()
    finally:
        # An exception of `tell` or of Ctrl-C: SQLite must stop before the connection is closed.
        stop.set()
        while worker.is_alive():
            connection.interrupt()
            worker.join(_TELL_EVERY_S)
    if errors:
        raise errors[0]


def _run_vacuum(connection: sqlite3.Connection, stop: threading.Event, errors: list[BaseException]) -> None:
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_STEP_MS}")
        while True:
            try:
                connection.execute("VACUUM")
            except sqlite3.OperationalError as error:
                is_busy = primary_code(error) == sqlite3.SQLITE_BUSY
                if not is_busy or stop.is_set() or time.monotonic() >= give_up_at:
                    raise
            else:
                return
    except BaseException as error:  # noqa: BLE001  # the other thread raises it
        errors.append(error)


def _progress(path: Path, found: Compactness, started: float) -> CompactionProgress:
    """Return how far it is. SQLite first copies to a file that has no name, and then from there to the log."""
    length = log_bytes(path)
    is_writing = length > LOG_BYTES + found.log_bytes
    return CompactionProgress(time.monotonic() - started, length if is_writing else 0, found.copy_bytes)


def _folder(path: Path) -> Path:
    return Path(os.path.realpath(path)).parent


def _device(folder: Path) -> int:
    try:
        return folder.stat().st_dev
    except OSError:
        return -1
