"""Pack lists of numbers into one float matrix: float32 if that loses nothing, else float64."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from harvester.domain.tasks.embeddings import Matrix
from harvester.domain.tasks.exact_numbers import AsWritten, is_float

_CHUNK_NUMBERS = 16_384
"""Numbers checked together, so that the temporary arrays fit into the cache."""


_EXPONENTS = np.arange(256) - 127


def _decimal_scales() -> NDArray[np.float64]:
    """Return, for each float32 exponent (biased, 8 bits), the power of ten that leaves eight or nine digits.

    NaN if that power has no exact double, or if whole numbers are so far apart that ties occur.
    """
    powers = 7 - np.floor(_EXPONENTS * math.log10(2))
    powers[[0, 255]] = np.nan  # zero and subnormal numbers, infinities
    return np.where((powers >= 1) & (powers <= 22), 10.0**powers, np.nan)


_SCALES = _decimal_scales()
_REACH_MARGIN = 1e-4
"""Added to half the scaled distance between two float32, so that a rounding error never counts as certain."""

_REACHES = np.ldexp(1.0, _EXPONENTS - 24) * _SCALES + _REACH_MARGIN
"""For each float32 exponent half the distance to the next float32, scaled: 0.6 to 6."""

_ALMOST_HALF = 0.4999

_BETWEEN_FLOATS = "an integer that no floating-point number equals"


class VectorError(ValueError):
    """The lists are not vectors of one dimension; the message names the list and the problem."""


def pack(rows: Sequence[Any], *, name: str, positions: Sequence[int] | None = None) -> Matrix:
    """Return `float32[n, dim]` if it keeps every number, else `float64[n, dim]`. Raises VectorError.

    `name` is the name of a row in messages, as `segments[{}].float`; `positions` are the numbers in it, if they are not
    those of the rows.
    """
    names = _Names(name, positions)
    dim = _dimension(rows, names)
    packer = struct.Struct(f"<{dim}d").pack
    try:
        exact = np.frombuffer(b"".join([packer(*row) for row in rows]), "<f8").reshape(len(rows), dim)
    except (struct.error, TypeError, OverflowError):
        raise VectorError(_first_bad_number(rows, names)) from None
    sizes = np.abs(exact)
    smallest, largest = sizes.min(), sizes.max()
    if smallest > 0 and largest < 1:
        # Nearly every answer is like this: it has no bool and no number that is not finite.
        narrow = exact.astype("<f4")
        return narrow if _is_lossless(exact.ravel(), narrow.ravel()) else exact
    if _holds_bools(rows, exact):
        raise VectorError(_first_bad_number(rows, names))
    is_finite = np.isfinite(exact).all(axis=1)
    if not is_finite.all():
        raise VectorError(f"{names.of(int(np.argmin(is_finite)))}: a number that is not finite")
    if largest >= 2**53 and exact.tolist() != list(rows):
        raise VectorError(_first_bad_number(rows, names))
    return _narrowed(exact)


def rows_with_long_integers(vectors: Matrix, rows: Sequence[Sequence[Any]]) -> list[int]:
    """Return the indexes of packed rows with a long integer that a float would write with fewer digits."""
    if vectors.dtype == np.float32:
        return []
    large = np.flatnonzero((np.abs(vectors) >= 2**53).any(axis=1)).tolist()
    return [index for index in large if any(isinstance(one, int) and not is_float(str(one)) for one in rows[index])]


def merge(groups: Sequence[Matrix]) -> Matrix:
    """Return the packed groups as one matrix: float32 if every group is. Raises VectorError for uneven dimensions."""
    if len({group.shape[1] for group in groups}) > 1:
        raise VectorError("the vectors are not of one dimension")
    if any(group.dtype == np.float64 for group in groups):
        return np.concatenate([_widened(group) for group in groups], dtype="<f8")
    return np.concatenate(groups, dtype="<f4")


def _widened(matrix: Matrix) -> NDArray[np.float64]:
    """Return the received numbers as float64, by the shortest form of each float32, which `pack` has checked."""
    if matrix.dtype == np.float64:
        return matrix.astype("<f8", copy=False)
    written = orjson.dumps(matrix, option=orjson.OPT_SERIALIZE_NUMPY)
    return np.array(orjson.loads(written), "<f8")


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of rows in messages."""

    template: str
    positions: Sequence[int] | None

    def of(self, index: int) -> str:
        return self.template.format(index if self.positions is None else self.positions[index])


def _dimension(rows: Sequence[Any], names: _Names) -> int:
    for index, row in enumerate(rows):
        if not isinstance(row, list) or not row:
            raise VectorError(f"{names.of(index)}: no numbers")
        if len(row) != len(rows[0]):
            raise VectorError(f"{names.of(index)}: {len(row)} numbers, expected {len(rows[0])}")
    return len(rows[0])


def _holds_bools(rows: Sequence[Any], exact: NDArray[np.float64]) -> bool:
    """Return whether a number is `true` or `false`, packed as 1.0 or 0.0; only rows with such numbers are checked."""
    suspects = (exact == 0) | (exact == 1)
    if not suspects.any():
        return False
    places = np.flatnonzero(suspects.any(axis=1)).tolist()
    return any(isinstance(number, bool) for index in places for number in rows[index])


def _first_bad_number(rows: Sequence[Any], names: _Names) -> str:
    for index, row in enumerate(rows):
        for place, number in enumerate(row):
            if problem := _problem(number):
                return f"{names.of(index)}[{place}]: {problem}"
    return f"{names.of(0)}: not a vector"


def _problem(number: Any) -> str | None:
    if isinstance(number, AsWritten):
        is_integer = number.text.lstrip("-").isdigit()
        return _BETWEEN_FLOATS if is_integer else "a number too small for a floating-point number"
    if isinstance(number, bool) or not isinstance(number, int | float):
        return f"{type(number).__name__} instead of a number"
    try:
        is_exact = float(number) == number
    except OverflowError:
        is_exact = False
    return None if is_exact else _BETWEEN_FLOATS


def _narrowed(exact: NDArray[np.float64]) -> Matrix:
    with np.errstate(over="ignore"):
        narrow = exact.astype("<f4")
    return narrow if np.isfinite(narrow).all() and _is_lossless(exact.ravel(), narrow.ravel()) else exact


def _is_lossless(exact: NDArray[np.float64], narrow: NDArray[np.float32]) -> bool:
    """Return whether each float32, written in its shortest form and read back, is the received number.

    Checks every number, so it finds a single float64 anywhere. Arithmetic decides nearly all of them in a tenth of the
    time; the others are written and read back.
    """
    for start in range(0, len(exact), _CHUNK_NUMBERS):
        received, stored = exact[start : start + _CHUNK_NUMBERS], narrow[start : start + _CHUNK_NUMBERS]
        doubtful = ~_certainly_shortest(received, stored)
        written = orjson.dumps(stored[doubtful], option=orjson.OPT_SERIALIZE_NUMPY)
        if orjson.loads(written) != received[doubtful].tolist():
            return False
    return True


def _certainly_shortest(exact: NDArray[np.float64], narrow: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where `exact` is the shortest decimal form of its float32; False also means "not sure".

    The shortest form is the nearest of the decimals with the fewest digits that round to the float32 (Steele and White,
    1990). A scaled float32 has eight or nine digits, and half the distance to its neighbour is 0.6 to 6 units: the form
    is the nearest multiple of ten within that reach, else the nearest unit. With two multiples of ten within reach one
    of them may be a shorter multiple of a hundred: not sure.
    """
    exponents = (narrow.view("<i4") >> 23) & 0xFF
    scale, reach = _SCALES.take(exponents, mode="clip"), _REACHES.take(exponents, mode="clip")
    scaled = narrow * scale
    units, tens = np.rint(scaled), np.rint(scaled * 0.1) * 10
    to_ten = np.abs(scaled - tens)
    # The quotient of an integer and an exact power of ten is what a parser makes of that decimal.
    shortest: NDArray[np.bool_] = np.where(to_ten <= reach, tens, units) / scale == exact
    shortest &= np.abs(scaled - units) <= _ALMOST_HALF
    shortest &= to_ten + reach < 10
    return shortest
