"""Columns of the fields that only some segments have: pages, quadrants, chunks, and the uncertainty of vectors.

Their values may have any type. A value that its column cannot hold stays among the extras, so that nothing is lost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harvester.api.decode.streaming import SplitDocument
from harvester.api.decode.vectors import VectorError, pack, rows_with_long_integers
from harvester.domain.tasks.embeddings import (
    CHUNK_FIELD,
    END_PAGE_FIELD,
    QUADRANT_FIELD,
    START_PAGE_FIELD,
    UNCERTAINTY_FIELD,
    Uncertainties,
)
from harvester.domain.tasks.exact_numbers import AsWritten
from harvester.domain.tasks.optional_fields import FITS, OPTIONAL_FIELDS

Segments = Sequence[dict[str, Any]]
Extras = dict[int, dict[str, Any]]
"""The fields without a column, by the segment's position."""


@dataclass(frozen=True, slots=True)
class Received:
    """How a result was received: the name of its list of segments, the length of its vectors, what was split off."""

    path: str
    dim: int
    parts: SplitDocument | None


def optional_columns(
    segments: Segments, layouts: Iterable[Iterable[str]], extras: Extras, received: Received
) -> dict[str, Any]:
    """Return the fields of TaskEmbeddings for these columns, by name; none if no segment has such a field.

    Adds to `extras` what a column cannot hold. Raises VectorError for an uncertainty of another length than the vector.
    """
    if all(OPTIONAL_FIELDS.isdisjoint(layout) for layout in layouts):
        return {}
    return {
        "start_pages": _column(segments, extras, START_PAGE_FIELD),
        "end_pages": _column(segments, extras, END_PAGE_FIELD),
        "quadrants": _column(segments, extras, QUADRANT_FIELD),
        "chunk_indexes": _column(segments, extras, CHUNK_FIELD),
        "uncertainties": _uncertainties(segments, extras, received),
    }


def _column(segments: Segments, extras: Extras, name: str) -> Sequence[Any]:
    """Return the values that fit; empty if there are none."""
    fits = FITS[name]
    received = [segment.get(name) for segment in segments]
    values = [value if fits(value) else None for value in received]
    for position, (value, stored) in enumerate(zip(received, values, strict=True)):
        if value is not None and stored is None:
            extras.setdefault(position, {})[name] = value
    return values if any(value is not None for value in values) else ()


def _uncertainties(segments: Segments, extras: Extras, received: Received) -> Uncertainties | None:
    place, parts = f"{received.path}[{{}}].{UNCERTAINTY_FIELD}", received.parts
    if parts is not None and parts.uncertainties is not None:
        # Then all lists were split off, and no segment has another value.
        _check_length(place.format(parts.uncertain[0]), parts.uncertainties.shape[1], received.dim)
        return Uncertainties(parts.uncertain, parts.uncertainties)
    found = _lists(segments, extras)
    if not found:
        return None
    for position, row in found.items():
        _check_length(place.format(position), len(row), received.dim)
    rows, positions = list(found.values()), list(found)
    vectors = pack(rows, name=place, positions=positions)
    for index in rows_with_long_integers(vectors, rows):
        extras.setdefault(positions[index], {})[UNCERTAINTY_FIELD] = rows[index]
    return Uncertainties(positions, vectors)


def _lists(segments: Segments, extras: Extras) -> dict[int, list[Any]]:
    """Return the lists by position; add other values, and lists with numbers that a float alters, to the extras."""
    found: dict[int, list[Any]] = {}
    for position, segment in enumerate(segments):
        value = segment.get(UNCERTAINTY_FIELD)
        numbers = value.nearest if isinstance(value, AsWritten) else value
        if isinstance(numbers, list):
            found[position] = numbers
        if value is not None and not isinstance(value, list):
            extras.setdefault(position, {})[UNCERTAINTY_FIELD] = value
    return found


def _check_length(place: str, length: int, dim: int) -> None:
    if length != dim:
        raise VectorError(f"{place}: {length} numbers, expected {dim} as in the vector")
