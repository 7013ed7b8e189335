"""Joins batches of vectors into one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from harvester.domain.results.vectors import ResultTask, TaskColumns, VectorBatch, VectorSpace

_TEXTS = ("options", "scopes", "start_pages", "end_pages", "quadrants", "chunk_indexes")


def empty_batch(space: VectorSpace, *, exact: bool) -> VectorBatch:
    """Return no rows."""
    return joined((), space, 0, exact=exact)


def joined(batches: Iterable[VectorBatch], space: VectorSpace, count: int, *, exact: bool) -> VectorBatch:
    """Return one batch with the rows of all. `count` is how many to expect; there may be more or fewer."""
    matrix: Any = np.empty((count, space.dim), np.float64 if exact else np.float32)
    tasks: dict[str, list[Any]] = {name: [] for name in ResultTask._fields}
    last_id = None
    texts: dict[str, list[Any]] = {name: [] for name in _TEXTS}
    numbers: dict[str, list[Any]] = {"task_index": [], "positions": [], "starts": [], "ends": []}
    end = 0
    for batch in batches:
        begin, end = end, end + len(batch.positions)
        if end > len(matrix):
            # Harvested since the vectors were counted.
            matrix = np.concatenate([matrix, np.empty((max(end, len(matrix)), space.dim), matrix.dtype)])
        matrix[begin:end] = batch.matrix
        # A task may begin in one batch and end in the next.
        is_continued = batch.tasks[0].task_id == last_id
        last_id = batch.tasks[-1].task_id
        numbers["task_index"].append(batch.task_index + (len(tasks["task_id"]) - is_continued))
        for name, column in tasks.items():
            column.extend(batch.tasks.column(name)[is_continued:])
        for name in ("positions", "starts", "ends"):
            numbers[name].append(getattr(batch, name))
        for name in _TEXTS:
            texts[name] += getattr(batch, name)
    return VectorBatch(
        space=space,
        matrix=matrix[:end],
        tasks=TaskColumns(tasks.values()),
        task_index=_concatenated(numbers["task_index"], np.int32),
        positions=_concatenated(numbers["positions"], np.int64),
        starts=_concatenated(numbers["starts"], np.float64),
        ends=_concatenated(numbers["ends"], np.float64),
        **texts,
    )


def in_pieces(batch: VectorBatch, rows: int) -> Iterator[VectorBatch]:
    """Yield the batch in pieces of so many rows, the last one of fewer."""
    for first in range(0, len(batch.positions), rows):
        part = slice(first, first + rows)
        index = batch.task_index[part]
        columns: dict[str, Any] = {
            name: getattr(batch, name)[part] for name in ("positions", "starts", "ends", *_TEXTS)
        }
        yield VectorBatch(
            space=batch.space,
            matrix=batch.matrix[part],
            tasks=batch.tasks[index[0] : index[-1] + 1],
            task_index=index - index[0],
            **columns,
        )


def _concatenated(parts: list[Any], kind: Any) -> Any:
    return np.concatenate([np.empty(0, kind), *parts], dtype=kind)
