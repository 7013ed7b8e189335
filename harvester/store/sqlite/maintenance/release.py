"""Which release of SQLite this Python uses, and what is known to be wrong with it."""

import sqlite3

Release = tuple[int, int, int]

OLDEST: Release = (3, 37, 0)
"""The first with STRICT tables; https://www.sqlite.org/releaselog/3_37_0.html"""

_WAL_RESET_FIXED: Release = (3, 51, 3)
_WAL_RESET_BACKPORTS: tuple[Release, ...] = ((3, 44, 6), (3, 50, 7))


def shown(release: Release) -> str:
    """Return `3.51.3`."""
    return ".".join(map(str, release))


def is_too_old(release: Release = sqlite3.sqlite_version_info) -> bool:
    """Tell whether the schema cannot be created with that release."""
    return release < OLDEST


def may_lose_wal_reset(release: Release = sqlite3.sqlite_version_info) -> bool:
    """Tell whether the release has the WAL-reset bug, unless its distributor has mended it.

    Two connections that write or checkpoint at the same instant can, very rarely, damage the database. Mended in
    3.51.3, and for older lines in 3.50.7 and 3.44.6; https://www.sqlite.org/wal.html#walresetbug
    """
    return release < _WAL_RESET_FIXED and not any(
        release[:2] == mended[:2] and release >= mended for mended in _WAL_RESET_BACKPORTS
    )
