"""The processes that have a database open at this moment, and the danger that an old SQLite is then."""

import os
from pathlib import Path

from harvester.store.sqlite.maintenance import sqlite_version

LOCKS = Path("/proc/locks")

DEADMAN_BYTE = 128
"""The byte of the index that each connection to a write-ahead log locks; https://www.sqlite.org/walformat.html"""


def other_processes(database: Path) -> int | None:
    """Return how many other processes have the database open; None where the system does not say."""
    try:
        locks = LOCKS.read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    try:
        index = database.with_name(f"{database.name}-shm").stat().st_ino
    except OSError:
        return 0  # no process has it open, or it is in no state to be opened
    found = set()
    for line in locks:
        # 1: POSIX  ADVISORY  READ 24071 fe:00:3187542 128 128. The device is not that of `stat` on every file system.
        fields = line.split()
        if len(fields) == 8 and fields[5].rpartition(":")[2] == str(index) and fields[6] == str(DEADMAN_BYTE):
            found.add(fields[4])
    return len(found - {str(os.getpid())})


def sharing_risk(database: Path) -> str | None:
    """Return why it is dangerous that another process has the database open now, with the remedy; None if it is not."""
    if not sqlite_version.may_lose_wal_reset() or not other_processes(database):
        return None
    return f"another process has {str(database)!a} open. {WAL_RESET_RISK} {ONE_AT_A_TIME}"


WAL_RESET_RISK = (
    f"SQLite {sqlite_version.shown(sqlite_version.RELEASE)} has the WAL-reset bug, unless your distribution has fixed "
    "it: two connections that write or checkpoint at the same instant can, very rarely, damage the database."
)

ONE_AT_A_TIME = (
    "Let one process at a time write, and make backups with `harvester backup`; a Python with SQLite 3.51.3 or newer "
    "(or 3.50.7, 3.44.6) is free of it."
)
