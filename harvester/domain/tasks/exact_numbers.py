"""Keep JSON numbers that a float would alter as their text, so that no received number changes.

Only the value counts: `1.0` and `1.00`, `100.0` and `1e2` are the same number. A parser alters
`0.1234567890123456789`, integers of more than 64 bits, and `1e-400`.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from harvester.domain.tasks.embeddings import NUMBER_LIST_FIELDS

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SUSPECT = re.compile(rb"(?<![-+.0-9eE])(?:[-+.0-9eE]{16,}|[-+.0-9]*[eE]-[0-9]{3}[-+.0-9eE]*)")
"""Numbers of more than _SAFE_CHARACTERS, or with a long exponent; to check all numbers of a body would take long."""

_DIGITS = bytes.maketrans(b".123456789", b"0000000000")
_LONG = b"0" * 16
"""Part of every suspect after _DIGITS has mapped its digits to 0, unless it has a long exponent."""

_SAFE_CHARACTERS = 15
"""Characters: a float keeps a number of up to 15 digits, unless it needs a long exponent."""

_LONG_EXPONENT = re.compile(rb"e-[0-9]{3}")
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1


class AsWritten:
    """The received JSON text of a number or a vector, and `nearest`: the float, or the list of numbers, nearest to it.

    `nearest` is None if no float is near: for an integer between two floats, and for a number that rounds to zero. Not
    a dataclass, because orjson would silently write one as an object.
    """

    __slots__ = ("nearest", "text")

    def __init__(self, text: str, nearest: Any = None) -> None:
        self.text = text
        self.nearest = nearest


def alters_numbers(text: bytes) -> bool:
    """Return whether a valid JSON text holds a number that a float would alter."""
    numbers = _STRING.sub(b'""', text)
    # A hundred times faster than the search for suspects, and nearly no text has any outside of its strings.
    if _LONG not in numbers.translate(_DIGITS) and not _LONG_EXPONENT.search(numbers.lower()):
        return False
    return any(not _is_given_back(found[0].decode()) for found in _SUSPECT.finditer(numbers))


def parse_as_written(text: bytes) -> Any:
    """Return the value of a valid JSON text, with AsWritten for each number that a float would alter.

    A vector with such a number is one AsWritten. Raises RecursionError for deep nesting.
    """
    return json.loads(text, parse_float=_float, parse_int=_int, object_pairs_hook=_object)


def _is_given_back(text: str) -> bool:
    if text.lstrip("-").isdigit():
        return _MIN_INTEGER <= int(text) <= _MAX_INTEGER or is_float(text)
    return is_float(text)


def is_float(text: str) -> bool:
    """Return whether a float keeps this number."""
    shortest = repr(float(text))
    try:
        return shortest == text or Decimal(shortest) == Decimal(text)
    except InvalidOperation:
        # The exponent is too large to calculate with.
        return False


def _float(text: str) -> float | AsWritten:
    number = float(text)
    if len(text) <= _SAFE_CHARACTERS and not _LONG_EXPONENT.search(text.lower().encode()):
        return number
    if is_float(text):
        return number
    is_zero = not re.search("[1-9]", re.split("[eE]", text)[0])
    return AsWritten(text, number if number or is_zero else None)


def _int(text: str) -> int | float | AsWritten:
    number = int(text)
    if _MIN_INTEGER <= number <= _MAX_INTEGER:
        return number
    return float(text) if is_float(text) else AsWritten(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    for name in NUMBER_LIST_FIELDS:
        vector = found.get(name)
        if isinstance(vector, list) and any(isinstance(number, AsWritten) for number in vector):
            found[name] = _vector(vector)
    return found


def _vector(numbers: list[Any]) -> Any:
    """Return the vector as one AsWritten: an object for each number would take ten times the memory of its text."""
    if not all(isinstance(number, int | float | AsWritten) for number in numbers):
        return numbers
    texts = (number.text if isinstance(number, AsWritten) else json.dumps(number) for number in numbers)
    nearest = [_nearest(number) for number in numbers]
    return AsWritten(f"[{','.join(texts)}]", nearest)


def _nearest(number: Any) -> Any:
    return number.nearest if isinstance(number, AsWritten) and number.nearest is not None else number
