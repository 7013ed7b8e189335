"""The request budget that all processes on one database share. Each function is one transaction's body."""

import sqlite3
from contextlib import suppress

from harvester.domain.pacing import BudgetLease, Endpoint, RateLimit, reserve
from harvester.store.queries import query


def lease_requests(connection: sqlite3.Connection, limit: RateLimit, count: int, now_ms: int) -> BudgetLease:
    """Take `count` requests out of the shared budget; return from when on they may go out, and the known blocks."""
    row = connection.execute(query("budget_arrival")).fetchone()
    start_ms, arrival_ms = reserve(row[0] if row else 0.0, now_ms, limit, count)
    connection.execute(query("set_budget_arrival"), {"arrival": arrival_ms})
    return BudgetLease(start_ms, known_blocks(connection, now_ms))


def known_blocks(connection: sqlite3.Connection, now_ms: int) -> dict[Endpoint, int]:
    """Return until when (Unix milliseconds) the API wants no requests of a class."""
    blocks = {}
    for endpoint, until_ms in connection.execute(query("blocks_ahead"), {"now": now_ms}):
        # A class that only a newer version knows.
        with suppress(ValueError):
            blocks[Endpoint(endpoint)] = until_ms
    return blocks


def note_blocks(connection: sqlite3.Connection, blocks: dict[Endpoint, int], now_ms: int) -> None:
    """Remember blocks for the other processes and for the next start."""
    connection.execute(query("forget_blocks"), {"now": now_ms})
    connection.executemany(
        query("note_block"),
        [{"endpoint": endpoint, "blocked_until": until_ms} for endpoint, until_ms in blocks.items()],
    )
