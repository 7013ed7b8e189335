"""Read the stored segments of a result with their vectors."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np

from harvester.domain.tasks.embeddings import Matrix, SegmentRow
from harvester.store.sqlite.json_columns import load_json
from harvester.store.sqlite.queries import query


def segment_rows(connection: sqlite3.Connection, task: int) -> Iterator[SegmentRow]:
    """Yield the segments as received, in order of position. Raises ValueError or TypeError for damaged rows."""
    for row in connection.execute(query("segments_of"), {"task": task}):
        option, scope, start, end, layout, extra, start_page, end_page, quadrant, chunk_index = row[:10]
        dtype, vector, uncertainty_dtype, uncertainty = row[10:]
        yield SegmentRow(
            option,
            scope,
            start,
            end,
            _numbers(dtype, vector),
            layout,
            extra and load_json(extra),
            start_page,
            end_page,
            quadrant,
            chunk_index,
            None if uncertainty is None else _numbers(uncertainty_dtype, uncertainty),
        )


def _numbers(dtype: Any, numbers: Any) -> Matrix:
    vector: Matrix = np.frombuffer(numbers, f"<{dtype}")
    return vector
