"""Lists of numbers to one float matrix: float32 where that loses nothing, float64 where it would."""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from harvester.domain.embeddings import Matrix

SAMPLE_ROWS = 32
"""Rows of each matrix that are written out and read back."""

_CHUNK_ROWS = 32
"""Keeps the temporary arrays of the check within the cache."""

# For each float32 exponent (biased, 8 bits) the power of ten that makes nine or ten significant decimal digits of such
# a number an integer. A float32 in its shortest form has nine at most.
_TO_INTEGER = 10.0 ** (8 - np.floor((np.arange(256) - 127) * math.log10(2)))
_INTEGER_TOLERANCE = 1e-4


class VectorError(ValueError):
    """The lists are not vectors of one dimension; the message says which is wrong and how."""


def pack(rows: Sequence[Any], *, name: str, may_hold_bools: bool) -> Matrix:
    """Return `float32[n, dim]` if every number survives it, else `float64[n, dim]`. Raises VectorError.

    `name` is what a message calls the vector of row `{}`: `segments[{}].float`. `may_hold_bools` asks for a slow look
    at each number: `true` in a vector would otherwise pass for 1.0.
    """
    dim = _dimension(rows, name)
    packer = struct.Struct(f"<{dim}d").pack
    try:
        exact = np.frombuffer(b"".join([packer(*row) for row in rows]), "<f8").reshape(len(rows), dim)
    except (struct.error, TypeError, OverflowError):
        raise VectorError(_first_bad_number(rows, name)) from None
    if may_hold_bools and any(isinstance(number, bool) for row in rows for number in row):
        raise VectorError(_first_bad_number(rows, name))
    if not np.isfinite(exact).all():
        raise VectorError("a vector holds a number that is not finite")
    if np.abs(exact).max() >= 2**53 and exact.tolist() != list(rows):
        raise VectorError("a vector holds an integer that no floating-point number equals")
    return _narrowed(exact)


def _dimension(rows: Sequence[Any], name: str) -> int:
    for index, row in enumerate(rows):
        if not isinstance(row, list) or not row:
            raise VectorError(f"{name.format(index)}: no numbers")
        if len(row) != len(rows[0]):
            raise VectorError(f"{name.format(index)}: {len(row)} numbers, expected {len(rows[0])}")
    return len(rows[0])


def _first_bad_number(rows: Sequence[Any], name: str) -> str:
    for index, row in enumerate(rows):
        for place, number in enumerate(row):
            if isinstance(number, bool) or not isinstance(number, int | float):
                return f"{name.format(index)}[{place}]: {type(number).__name__} instead of a number"
    return "a vector holds a number that is too large"


def _narrowed(exact: NDArray[np.float64]) -> Matrix:
    with np.errstate(over="ignore"):
        narrow = exact.astype("<f4")
    if not np.isfinite(narrow).all() or not _is_short(exact, narrow):
        return exact
    # Written as shortest float32 and read back, the sampled rows must be the received numbers.
    sample = np.unique(np.linspace(0, len(exact) - 1, min(SAMPLE_ROWS, len(exact))).astype(np.intp))
    written = orjson.dumps(narrow[sample], option=orjson.OPT_SERIALIZE_NUMPY)
    return narrow if orjson.loads(written) == exact[sample].tolist() else exact


def _is_short(exact: NDArray[np.float64], narrow: NDArray[np.float32]) -> bool:
    """Return whether no number has more significant decimal digits than a float32 needs.

    Looks at every number, where the sample looks at some: a single float64 among float32 is found anywhere.
    """
    for start in range(0, len(exact), _CHUNK_ROWS):
        part = narrow[start : start + _CHUNK_ROWS]
        exponents = (part.view("<i4") >> 23) & 0xFF
        scaled = exact[start : start + _CHUNK_ROWS] * _TO_INTEGER[exponents]
        scaled -= np.rint(scaled)
        if max(scaled.max(), -scaled.min()) > _INTEGER_TOLERANCE:
            return False
    return True
