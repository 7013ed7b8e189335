"""Finds, at a small part of the price of parsing, texts whose numbers may not all come back from floats.

That is all but never so, and what is found is looked at closely by others: text in strings may be found, too.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_PIECE_BYTES = 128 * 1024
"""Keeps the temporary arrays within the cache."""

_OVERLAP_BYTES = 15
"""One less than what is looked for."""

SMALLEST_SAFE = 1e-290
"""Smaller numbers have long exponents; some have fewer digits than other floats, and some are none of them but zero."""


def may_alter_numbers(text: bytes) -> bool:
    """Return False only if a float gives back every number of a JSON text."""
    return has_long_number(text) or has_long_exponent(text)


def has_long_number(text: bytes) -> bool:
    """Return whether there are 16 digits and points in a row: a float gives back any 15 digits."""
    return _any_piece(text, _has_long_run)


def has_long_exponent(text: bytes) -> bool:
    """Return whether there is a negative exponent of three digits."""
    return _any_piece(text, _has_long_exponent)


def _any_piece(text: bytes, look: Callable[[memoryview], bool]) -> bool:
    view = memoryview(text)
    return any(look(view[start : start + _PIECE_BYTES + _OVERLAP_BYTES]) for start in range(0, len(text), _PIECE_BYTES))


def _has_long_run(piece: memoryview) -> bool:
    # From "." to "9"; the slash between them does no harm.
    runs: NDArray[np.bool_] = (np.frombuffer(piece, np.uint8) - np.uint8(46)) < np.uint8(12)
    for length in (1, 2, 4, 8):
        runs = runs[length:] & runs[:-length]
    return bool(runs.any())


def _has_long_exponent(piece: memoryview) -> bool:
    characters = np.frombuffer(piece, np.uint8)
    minus_after_letter = ((characters[1:-3] == ord("-")) & (characters[:-4] > ord("9"))).tobytes()
    at = minus_after_letter.find(1)
    while at >= 0:
        # Most are in names of files: "take-001.mp4".
        if piece[at] in b"eE" and bytes(piece[at + 2 : at + 5]).isdigit():
            return True
        at = minus_after_letter.find(1, at + 1)
    return False
