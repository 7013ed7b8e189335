"""Write many rows by few statements, because each statement releases and takes the interpreter's lock."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

from harvester.store.sqlite.queries import query

BATCH_ROWS = (256, 64, 16, 4, 1)
"""Rows that one statement writes; few different numbers, so that each statement is prepared once."""

Row = Sequence[Any]

_VALUES = re.compile(r"VALUES\s*(\([?, ]+\))")


def write_rows(connection: sqlite3.Connection, name: str, rows: Sequence[Row]) -> int:
    """Write rows by the statement of that name, which has one row of VALUES; return the number of written rows."""
    statements = (
        connection.execute(_of_rows(name, len(batch)), list(chain.from_iterable(batch))) for batch in _batches(rows)
    )
    return sum(cursor.rowcount for cursor in statements)


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    first = 0
    for size in BATCH_ROWS:
        while len(rows) - first >= size:
            yield rows[first : first + size]
            first += size


@cache
def _of_rows(name: str, rows: int) -> str:
    return _VALUES.sub(lambda values: f"VALUES {','.join([values[1]] * rows)}", query(name))
