"""Damage that a test does to a database, or to the process that opens it."""

import sqlite3
from contextlib import closing
from pathlib import Path

NO_PRIVILEGES = """
import ctypes
libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
libc.capget(header, sets)
sets[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of the effective ones
libc.capset(header, sets)
"""
"""Code for `Shell.sabotage`: the modes of files count for root as well."""


def corrupt_page(path: Path) -> None:
    """Overwrite the first page of the table of tasks."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
