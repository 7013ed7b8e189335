"""Estimate the bytes of disk that the open tasks will need once they are harvested."""

import sqlite3

from harvester.ports.space import DiskForecast
from harvester.store.sqlite.counts import task_counts
from harvester.store.sqlite.queries import query

BYTES_FOR_AN_HOUR = 2_800_000
"""Bytes of an hour of video with two options, clips of 6 s, 512 dimensions: 2.46 MB of numbers, 2.75 MB of file."""


def forecast(connection: sqlite3.Connection) -> DiskForecast:
    """Return the estimate for the open tasks."""
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free_pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    videos = connection.execute(query("stored_totals")).fetchone()[0]
    return DiskForecast(
        open_tasks=sum(count for state, count in task_counts(connection).items() if state.is_open),
        bytes_each=(pages - free_pages) * page_bytes // videos if videos else BYTES_FOR_AN_HOUR,
        is_measured=videos > 0,
    )
