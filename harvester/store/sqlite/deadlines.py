"""The deadlines of the open tasks. Rows that another program inserted have none until a harvest imports them."""

import sqlite3

from harvester.store.sqlite.queries import Scope, query


def deadlines(connection: sqlite3.Connection, now_ms: int, scope: Scope = Scope.ALL) -> list[tuple[int, int]]:
    """Return deadlines in Unix milliseconds, the nearest first, and how many open tasks have each.

    Tasks with close deadlines count as one slice, at its beginning: too early by at most a 128th of the time left.
    Tasks past their deadline are one entry, at `now_ms`.
    """
    if scope is Scope.SELECTED:
        return connection.execute(query("deadlines_selected")).fetchall()
    (overdue,) = connection.execute(query("count_expiring"), {"before": now_ms + 1}).fetchone()
    ahead = connection.execute(query("deadlines_ahead"), {"now": now_ms}).fetchall()
    return [(now_ms, overdue), *ahead] if overdue else ahead
