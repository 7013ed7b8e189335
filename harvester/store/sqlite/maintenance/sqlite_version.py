"""The release of SQLite that this Python uses, and its known bugs."""

import sqlite3

Release = tuple[int, int, int]

RELEASE: Release = sqlite3.sqlite_version_info
"""The release in use."""

OLDEST: Release = (3, 37, 0)
"""The first release with STRICT tables; https://www.sqlite.org/releaselog/3_37_0.html"""

_WAL_RESET_FIXED: Release = (3, 51, 3)
_WAL_RESET_BACKPORTS: tuple[Release, ...] = ((3, 44, 6), (3, 50, 7))


def shown(release: Release) -> str:
    """Return the release as text, such as `3.51.3`."""
    return ".".join(map(str, release))


def is_too_old(release: Release = RELEASE) -> bool:
    """Return whether that release cannot create the schema."""
    return release < OLDEST


def may_lose_wal_reset(release: Release = RELEASE) -> bool:
    """Return whether the release has the WAL-reset bug, unless its distributor has fixed it.

    Two connections that write or checkpoint at the same instant can, very rarely, damage the database. Fixed in 3.51.3,
    and for older lines in 3.50.7 and 3.44.6; https://www.sqlite.org/wal.html#walresetbug
    """
    return release < _WAL_RESET_FIXED and not any(
        release[:2] == mended[:2] and release >= mended for mended in _WAL_RESET_BACKPORTS
    )
