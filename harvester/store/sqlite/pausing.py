"""The pause of the requests of all processes. Each function is the body of one transaction."""

import sqlite3

from harvester.domain.limits.pause import Pause
from harvester.store.sqlite.queries import query


def current_pause(connection: sqlite3.Connection, now_ms: int) -> Pause | None:
    """Return the pause; None without one, or once its time is over."""
    row = connection.execute(query("current_pause"), {"now": now_ms}).fetchone()
    return None if row is None else Pause(*row)


def begin_pause(connection: sqlite3.Connection, now_ms: int, until_ms: int | None) -> Pause:
    """Begin a pause, or give the one that lasts another end; return it."""
    row = connection.execute(query("begin_pause"), {"now": now_ms, "until": until_ms}).fetchone()
    return Pause(*row)


def end_pause(connection: sqlite3.Connection, now_ms: int) -> Pause | None:
    """End the pause; return it, None if nothing was paused."""
    ended = current_pause(connection, now_ms)
    connection.execute(query("end_pause"))
    return ended
