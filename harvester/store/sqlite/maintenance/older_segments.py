"""Move fields of segments that an older version kept as JSON into their columns, and uncertainties into their table."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from harvester.domain.tasks.embeddings import (
    CHUNK_FIELD,
    END_PAGE_FIELD,
    QUADRANT_FIELD,
    START_PAGE_FIELD,
    UNCERTAINTY_FIELD,
    Matrix,
)
from harvester.domain.tasks.exact_numbers import AsWritten
from harvester.domain.tasks.optional_fields import FITS
from harvester.store.sqlite.content import Columns, Content
from harvester.store.sqlite.json_columns import dump_json, load_json
from harvester.store.sqlite.result_rows import shapes

_PLACES = (START_PAGE_FIELD, END_PAGE_FIELD, CHUNK_FIELD, QUADRANT_FIELD)
"""The fields in the order of the query `content_segments`."""


@dataclass(slots=True)
class FilledSegments:
    """The columns of all segments as they become; `changed` are the indexes of the segments that change.

    Row `i` of `uncertainties` is about the segment at position `uncertain[i]`.
    """

    positions: Sequence[int]
    extras: list[str | None]
    places: Columns
    changed: list[int] = field(default_factory=list)
    uncertain: list[int] = field(default_factory=list)
    uncertainties: Matrix | None = None

    @property
    def uncertainty_columns(self) -> Columns:
        """The columns of `uncertainties` without their bytes."""
        return shapes(self.uncertain, self.uncertainties)

    @property
    def uncertainties_crc32(self) -> int:
        """The CRC-32 of the bytes of the uncertainties."""
        return 0 if self.uncertainties is None else zlib.crc32(self.uncertainties.data)

    def changed_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the parameters of `fill_in_segment` for each changed segment, without the task."""
        for index in self.changed:
            start_page, end_page, chunk_index, quadrant = (column[index] for column in self.places)
            yield {
                "position": self.positions[index],
                "extra": self.extras[index],
                "start_page": start_page,
                "end_page": end_page,
                "quadrant": quadrant,
                "chunk_index": chunk_index,
            }


def fill_in_segments(content: Content) -> FilledSegments:
    """Return the segments with each field in its column. Raises ValueError or TypeError for damaged JSON."""
    positions, extras, dim = content.segments[0], list(content.segments[-1]), content.embeddings[1][0]
    places: list[list[Any]] = [[None] * len(positions) for _ in _PLACES]
    filled = FilledSegments(positions, extras, places)
    rows: list[Matrix] = []
    for index, extra in enumerate(extras):
        if extra is None:
            continue
        fields = load_json(extra)
        before = len(fields)
        for column, name in zip(places, _PLACES, strict=True):
            if name in fields and (fields[name] is None or FITS[name](fields[name])):
                column[index] = fields.pop(name)
        row = _uncertainty(fields, dim)
        if row is not None:
            rows.append(row)
            filled.uncertain.append(positions[index])
        if len(fields) != before or row is not None:
            filled.changed.append(index)
            extras[index] = dump_json(fields).decode() if fields else None
    if rows:
        filled.uncertainties = _narrowest(rows)
    return filled


def _uncertainty(fields: dict[str, Any], dim: int) -> Matrix | None:
    """Return the uncertainty as float64, and remove it from `fields` unless floats alter it; None if there is none."""
    received = fields.get(UNCERTAINTY_FIELD)
    numbers = received.nearest if isinstance(received, AsWritten) else received
    if received is None:
        fields.pop(UNCERTAINTY_FIELD, None)
    if not isinstance(numbers, list) or len(numbers) != dim or not all(map(_is_exact, numbers)):
        return None
    if isinstance(received, list):
        del fields[UNCERTAINTY_FIELD]
    return np.array(numbers, "<f8")


def _is_exact(number: Any) -> bool:
    return type(number) is float or (type(number) is int and abs(number) < 2**53)


def _narrowest(rows: Sequence[Matrix]) -> Matrix:
    """Return the rows as float32 if each number has the same shortest decimal form there, else as float64."""
    exact: Matrix = np.array(rows, "<f8")
    with np.errstate(over="ignore"):
        narrow: Matrix = exact.astype("<f4")
    return narrow if all(map(_is_same, narrow, exact)) else exact


def _is_same(narrow: Matrix, exact: Matrix) -> bool:
    written = orjson.dumps(narrow, option=orjson.OPT_SERIALIZE_NUMPY)
    return bool(orjson.loads(written) == exact.tolist())
