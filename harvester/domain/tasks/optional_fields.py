"""The fields that only some segments have, and which values their columns hold; other values stay as JSON."""

from collections.abc import Callable, Mapping
from typing import Any

from harvester.domain.tasks.embeddings import (
    CHUNK_FIELD,
    END_PAGE_FIELD,
    QUADRANT_FIELD,
    START_PAGE_FIELD,
    UNCERTAINTY_FIELD,
)

_LARGEST = 2**63
"""Integers from -_LARGEST to below it fit into a column."""


def is_integer(value: Any) -> bool:
    """Return whether a column of integers holds the value."""
    return type(value) is int and -_LARGEST <= value < _LARGEST


def is_text(value: Any) -> bool:
    """Return whether a column of texts holds the value."""
    return isinstance(value, str)


FITS: Mapping[str, Callable[[Any], bool]] = {
    START_PAGE_FIELD: is_integer,
    END_PAGE_FIELD: is_integer,
    QUADRANT_FIELD: is_text,
    CHUNK_FIELD: is_integer,
}
"""For each field with a column of `segments`, whether the column holds a value."""

OPTIONAL_FIELDS = frozenset((*FITS, UNCERTAINTY_FIELD))
