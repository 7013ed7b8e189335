"""Opens a database in a process of its own, which is killed before a chosen statement."""

import hashlib
import multiprocessing
import os
import signal
import sqlite3
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

from harvester.store.sqlite import connection, migrations

_forks = multiprocessing.get_context("forkserver")
# A fork of a server that has imported the store takes a fraction of the time of a new interpreter.
_forks.set_forkserver_preload([__name__])


def statements(path: Path, folder: Path) -> tuple[int, list[int]]:
    """Open the database with the migrations of that folder; return how many statements were executed, and some of them.

    These are the numbers of those that find other bytes in the files than the one before has found, and of the ones
    before them, most of which commit. A kill before any of the others leaves the same files as one before its
    predecessor.
    """
    receiver, sender = _forks.Pipe(duplex=False)
    process = _forks.Process(target=_open, args=(path, folder, 0, sender))
    process.start()
    sender.close()
    count, chosen = receiver.recv()
    process.join()
    return count, chosen


def open_killed_at(fatal: int, path: Path, folder: Path) -> int:
    """Do the same in a process that kills itself before statement number `fatal`, counted from 1.

    Return its exit code, negative for a signal. No statement has the number 0.
    """
    process = _forks.Process(target=_open, args=(path, folder, fatal))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _open(path: Path, folder: Path, fatal: int, sender: Connection | None = None) -> None:
    connect, seen = sqlite3.connect, 0
    found: list[list[bytes]] = [[]]
    chosen: list[int] = []

    def before_each_statement(_sql: str) -> None:
        nonlocal seen
        seen += 1
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        if sender is not None and (files := _contents(path)) != found[0]:
            found[0] = files
            chosen.extend(number for number in (seen - 1, seen) if number and number not in chosen)

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened: sqlite3.Connection = connect(*arguments, **options)
        opened.set_trace_callback(before_each_statement)
        return opened

    with (
        mock.patch.object(sqlite3, "connect", watched),
        mock.patch.object(migrations, "migrations_folder", return_value=folder),
    ):
        connection.open_for_writing(path).close()
    if sender:
        sender.send((seen, chosen))


def _contents(path: Path) -> list[bytes]:
    """Return digests of the files of a database; its shared memory says nothing that the next start does not renew."""
    files = (path.with_name(path.name + suffix) for suffix in ("", "-wal", "-journal"))
    return [hashlib.blake2b(file.read_bytes()).digest() if file.exists() else b"" for file in files]
