"""The request budget that all processes on one database share. Each function is the body of one transaction."""

import sqlite3
from contextlib import suppress

from harvester.domain.limits.endpoint import (
    MAX_BLOCK_S,
    BudgetLease,
    Endpoint,
    RateLimit,
    charge,
    is_to_be_leased,
    reserve,
)
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.quotas import Quota
from harvester.domain.limits.restore import recall
from harvester.domain.limits.shared_limits import (
    QUOTA_KEPT_MS,
    EndpointLimits,
    LimitSnapshot,
    LimitUpdate,
    SharedRate,
    SharedWindow,
)
from harvester.store.sqlite.queries import query

WAITED_MS = 60_000
"""Milliseconds for which a process may wait to write after it read the clock: notes up to this far ahead are valid."""


def lease_requests(connection: sqlite3.Connection, limit: RateLimit, count: int, now_ms: int) -> BudgetLease:
    """Reserve `count` requests of the shared budget, unless they are due much later.

    Return when the first may go out, and the known blocks.
    """
    start_ms, arrival_ms = reserve(_arrival_ms(connection), now_ms, limit, count)
    is_taken = is_to_be_leased(start_ms, now_ms, limit)
    if is_taken:
        connection.execute(query("set_budget_arrival"), {"arrival": arrival_ms})
    return BudgetLease(start_ms, known_blocks(connection, now_ms), is_taken)


def _arrival_ms(connection: sqlite3.Connection) -> float:
    row = connection.execute(query("budget_arrival")).fetchone()
    return float(row[0]) if row else 0.0


def known_blocks(connection: sqlite3.Connection, now_ms: int) -> dict[Endpoint, int]:
    """Return the endpoints that the API has blocked, with the ends of their blocks (Unix milliseconds)."""
    blocks = {}
    for endpoint, until_ms in connection.execute(query("blocks_ahead"), _believable(now_ms)):
        # Skip an endpoint that only a newer version knows.
        with suppress(ValueError):
            blocks[Endpoint(endpoint)] = until_ms
    return blocks


def note_blocks(connection: sqlite3.Connection, blocks: dict[Endpoint, int], now_ms: int) -> None:
    """Store blocks for the other processes and for the next start."""
    connection.execute(query("forget_blocks"), _believable(now_ms))
    connection.executemany(
        query("note_block"),
        [{"endpoint": endpoint, "blocked_until": until_ms, "now": now_ms} for endpoint, until_ms in blocks.items()],
    )


def _believable(now_ms: int) -> dict[str, int]:
    """Return the valid times for the end of a block and for its note; a clock that was ahead stored later ones."""
    latest_note_ms = now_ms + WAITED_MS
    return {"now": now_ms, "latest": latest_note_ms + round(MAX_BLOCK_S * 1000), "latest_note": latest_note_ms}


def known_limits(connection: sqlite3.Connection, now_ms: int) -> LimitSnapshot:
    """Return the limits that all processes have learned, without expired ones."""
    limits_by_endpoint, believable = {}, _believable(now_ms)
    for endpoint, per_minute, rate_at, limit, window_s, quota_at, arrival, *window in connection.execute(
        query("learned_limits"), believable
    ):
        rate = None if rate_at is None else SharedRate(per_minute, rate_at)
        quota = None
        if quota_at is not None and now_ms - quota_at < QUOTA_KEPT_MS:
            quota = Quota(limit, window_s)
        with suppress(ValueError):
            open_window = None if None in window else SharedWindow(*window)
            limits_by_endpoint[Endpoint(endpoint)] = EndpointLimits(rate, quota, arrival, open_window)
    return LimitSnapshot(known_blocks(connection, now_ms), limits_by_endpoint)


def limits_in_force(connection: sqlite3.Connection, limit: RateLimit, now_ms: int) -> Pacer:
    """Return a pacer with the configured `limit` and all known limits, made by `recall`; only reads."""
    known, arrival_ms = known_limits(connection, now_ms), _arrival_ms(connection)
    return recall(limit, known, now_ms, arrival_ms=arrival_ms)


def note_limits(connection: sqlite3.Connection, update: LimitUpdate, now_ms: int) -> None:
    """Store the limits that a process has learned, and charge its requests to endpoints with a cut rate."""
    if update.blocks:
        note_blocks(connection, update.blocks, now_ms)
    for endpoint, rate in update.rates.items():
        connection.execute(query("note_rate"), {"endpoint": endpoint, "per_minute": rate.per_minute, "at": rate.at_ms})
    for endpoint, quota in update.quotas.items():
        values = {"endpoint": endpoint, "limit": quota.limit, "window_s": quota.window_s, "at": now_ms}
        connection.execute(query("note_quota"), values)
    for endpoint, window in update.windows.items():
        values = {"endpoint": endpoint, "remaining": window.remaining, "ends": window.ends_ms, "at": window.at_ms}
        connection.execute(query("note_window"), values | {"now": now_ms})
    for endpoint, late_charge in update.charges.items():
        row = connection.execute(query("endpoint_arrival"), {"endpoint": endpoint}).fetchone()
        limit = RateLimit(late_charge.per_minute)
        _, arrival_ms = charge(row[0] if row else 0.0, late_charge.first_ms, limit, late_charge.count)
        connection.execute(query("set_endpoint_arrival"), {"endpoint": endpoint, "arrival": arrival_ms})
