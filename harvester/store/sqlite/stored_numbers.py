"""Stored bytes of vectors as one matrix."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from harvester.domain.errors import StoreError
from harvester.domain.tasks.embeddings import Matrix

_WIDTHS = {4: "<f4", 8: "<f8"}


def matrix_of(vectors: Sequence[bytes], dim: int, *, exact: bool, task_id: Callable[[int], str]) -> Matrix:
    """Return the vectors as rows of `dim` float32, or with `exact` of float64: the numbers that the API sent.

    Raises StoreError for bytes that are no such vector; it names the `task_id` of the row.
    """
    sizes = set(map(len, vectors))
    if len(sizes) == 1 and sizes <= {4 * dim, 8 * dim}:
        return _converted(vectors, sizes.pop() // dim, dim, exact=exact)
    for row, vector in enumerate(vectors):
        if len(vector) not in {4 * dim, 8 * dim}:
            raise StoreError(
                f"A stored vector of the task {task_id(row)!a} is damaged: {len(vector)} bytes for {dim} numbers.",
                remedy="Run `harvester verify --deep --repair`.",
            )
    rows: Any = [_converted([vector], len(vector) // dim, dim, exact=exact) for vector in vectors]
    mixed: Matrix = np.concatenate(rows)
    return mixed


def _converted(vectors: Sequence[bytes], width: int, dim: int, *, exact: bool) -> Matrix:
    # A bytearray, because the caller may write to an array over it.
    stored = np.frombuffer(bytearray().join(vectors), _WIDTHS[width]).reshape(len(vectors), dim)
    if not exact:
        # Too large for float32 is infinite, which is what the caller has asked for.
        with np.errstate(over="ignore"):
            return stored.astype(np.float32, copy=False)
    return _widened(stored) if width == 4 else stored.astype(np.float64, copy=False)


def _widened(narrow: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the numbers that the API sent: float32 is stored where its shortest decimal form is the received one."""
    return np.array(orjson.loads(orjson.dumps(narrow, option=orjson.OPT_SERIALIZE_NUMPY)), np.float64)
