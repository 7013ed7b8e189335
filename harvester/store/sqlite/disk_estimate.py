"""How much disk the open tasks will need once they are harvested."""

import sqlite3
from dataclasses import dataclass

from harvester.store.sqlite.counts import task_counts
from harvester.store.sqlite.queries import query

BYTES_FOR_AN_HOUR = 2_800_000
"""What an hour of video takes at two options, clips of 6 s and 512 dimensions: 2.46 MB of numbers, 2.75 MB of file."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """`bytes_each` is the mean of what is stored, or an hour of video where nothing is yet."""

    open_tasks: int
    bytes_each: int
    is_measured: bool

    @property
    def bytes(self) -> int:
        """What the open tasks will add to the file."""
        return self.open_tasks * self.bytes_each


def forecast(connection: sqlite3.Connection) -> Forecast:
    """Return what to expect of the queue."""
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free_pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    videos = connection.execute(query("stored_totals")).fetchone()[0]
    return Forecast(
        open_tasks=sum(count for state, count in task_counts(connection).items() if state.is_open),
        bytes_each=(pages - free_pages) * page_bytes // videos if videos else BYTES_FOR_AN_HOUR,
        is_measured=videos > 0,
    )
