"""Find texts with numbers that a float may alter, in a small part of the time that parsing takes.

Such texts are very rare. A match may also be inside a string, so the caller checks matches more closely.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

PIECE_BYTES = 128 * 1024
"""Bytes of a piece, so that the temporary arrays fit into the cache."""

_OVERLAP_BYTES = 15
"""Bytes by which pieces overlap: one less than the length of a match."""

SMALLEST_SAFE = 1e-290
"""Smaller numbers have long exponents; floats there keep fewer digits, or round to zero."""


def may_alter_numbers(text: bytes) -> bool:
    """Return False only if floats keep every number of a JSON text."""
    return has_long_number(text) or has_long_exponent(text)


def has_long_number(text: bytes) -> bool:
    """Return whether the text has 16 digits and points in a row: a float keeps any 15 digits."""
    return _any_piece(text, _has_long_run)


def has_long_exponent(text: bytes) -> bool:
    """Return whether the text has a negative exponent of three digits."""
    return _any_piece(text, _has_long_exponent)


def _any_piece(text: bytes, matches: Callable[[memoryview], bool]) -> bool:
    view = memoryview(text)
    return any(
        matches(view[start : start + PIECE_BYTES + _OVERLAP_BYTES]) for start in range(0, len(text), PIECE_BYTES)
    )


def _has_long_run(piece: memoryview) -> bool:
    # The characters from "." to "9"; the slash between them does not matter.
    runs: NDArray[np.bool_] = (np.frombuffer(piece, np.uint8) - np.uint8(46)) < np.uint8(12)
    for length in (1, 2, 4, 8):
        runs = runs[length:] & runs[:-length]
    return bool(runs.any())


def _has_long_exponent(piece: memoryview) -> bool:
    characters = np.frombuffer(piece, np.uint8)
    minus_after_letter = ((characters[1:-3] == ord("-")) & (characters[:-4] > ord("9"))).tobytes()
    at = minus_after_letter.find(1)
    while at >= 0:
        # Most matches so far are in file names: "take-001.mp4".
        if piece[at] in b"eE" and bytes(piece[at + 2 : at + 5]).isdigit():
            return True
        at = minus_after_letter.find(1, at + 1)
    return False
