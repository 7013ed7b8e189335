"""Vectors with their columns, as programs get them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harvester.dataset.assembly import in_pieces
from harvester.dataset.libraries import library

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harvester.domain.results.vectors import VectorBatch

    Column = NDArray[np.object_]
    """Texts, numbers or mappings; None where there is none."""


ARROW_ROWS = 65_536
"""Rows of a batch of an Arrow table: a batch holds no more than 2 GiB of texts in a column."""


class VectorTable:
    """Some vectors of one model and one length, with columns of as many rows.

    The rows of a task follow each other in the order of `positions`, the tasks in the order of their harvest. Columns
    are arrays, so `table.matrix[table.options == "visual"]` is a part of the matrix.
    """

    def __init__(self, batch: VectorBatch) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return len(self._batch.positions)

    def __repr__(self) -> str:
        return f"<VectorTable: {len(self):,} vectors of {self.dim} numbers, model {self.model or 'unknown'}>"

    @property
    def model(self) -> str | None:
        """The model of all vectors; None if nothing names it, and for an empty table."""
        return self._batch.space.model_name

    @property
    def dim(self) -> int:
        """How many numbers a vector has; 0 for a table of nothing."""
        return self._batch.space.dim

    @property
    def matrix(self) -> NDArray[np.float32 | np.float64]:
        """The vectors: float32[n, dim], with `exact` float64[n, dim]; C-contiguous."""
        return self._batch.matrix

    @property
    def positions(self) -> NDArray[np.int64]:
        """The place of each segment in the API's result, from 0."""
        return self._batch.positions

    @property
    def starts(self) -> NDArray[np.float64]:
        """Where the segments start, in seconds; NaN where the API gave nothing."""
        return self._batch.starts

    @property
    def ends(self) -> NDArray[np.float64]:
        """Where the segments end, in seconds; NaN where the API gave nothing."""
        return self._batch.ends

    @cached_property
    def ids(self) -> Column:
        """The id of each record: task id, colon, position."""
        pairs = zip(self.task_ids.tolist(), self.positions.tolist(), strict=True)
        return _column([f"{task_id}:{position}" for task_id, position in pairs])

    @cached_property
    def task_ids(self) -> Column:
        """The task of each vector."""
        return self._of_task("task_id")

    @cached_property
    def options(self) -> Column:
        """The embedding option of each vector, as `visual`."""
        return _column(self._batch.options)

    @cached_property
    def scopes(self) -> Column:
        """The embedding scope of each vector, as `clip`."""
        return _column(self._batch.scopes)

    @cached_property
    def start_pages(self) -> Column:
        """The first page of each segment of a document, from 1."""
        return _column(self._batch.start_pages)

    @cached_property
    def end_pages(self) -> Column:
        """The last page of each segment of a document."""
        return _column(self._batch.end_pages)

    @cached_property
    def quadrants(self) -> Column:
        """The quarter of the page, as `top_left`."""
        return _column(self._batch.quadrants)

    @cached_property
    def chunk_indexes(self) -> Column:
        """The place of each piece of text in its document, from 0."""
        return _column(self._batch.chunk_indexes)

    @cached_property
    def input_types(self) -> Column:
        """The medium, as `video`."""
        return self._of_task("input_type")

    @cached_property
    def input_filenames(self) -> Column:
        """The names of the files."""
        return self._of_task("input_filename")

    @cached_property
    def input_urls(self) -> Column:
        """The URLs of the files."""
        return self._of_task("input_url")

    @cached_property
    def durations(self) -> NDArray[np.float64]:
        """The lengths of the videos or audios, in seconds; NaN where the API gave none."""
        return np.array(self._batch.tasks.column("duration"), np.float64)[self._batch.task_index]

    @cached_property
    def harvested_at(self) -> NDArray[np.datetime64]:
        """When the results were stored: datetime64[ms], UTC."""
        times = np.array(self._batch.tasks.column("harvested_at"), np.int64)
        return times[self._batch.task_index].astype("datetime64[ms]")

    @cached_property
    def labels(self) -> Column:
        """The labels of the tasks: a mapping for each row, the same object for all rows of a task."""
        return self._of_task("labels")

    def to_arrow(self) -> Any:
        """Return the common records as a pyarrow.Table; `vector` is a fixed-size list.

        Raises UsageError without pyarrow.
        """
        library("pyarrow", "to_arrow()")
        from harvester.records.arrow import arrow_schema, to_arrow_table  # noqa: PLC0415  # pyarrow

        schema = arrow_schema(self._batch.space, exact=self.matrix.dtype == np.float64)
        return to_arrow_table(in_pieces(self._batch, ARROW_ROWS), schema)

    def to_pandas(self) -> Any:
        """Return the common records as a pandas.DataFrame; the column `vector` has arrays.

        Raises UsageError without pandas.
        """
        pandas = library("pandas", "to_pandas()")
        columns = {name: pandas.Series(column) for name, column in self._columns().items()}
        return pandas.DataFrame(
            {
                "id": columns.pop("id"),
                "vector": pandas.Series(list(self.matrix), dtype=object),
                **columns,
                "harvested_at": columns["harvested_at"].dt.tz_localize("UTC"),
            }
        )

    def to_polars(self) -> Any:
        """Return the common records as a polars.DataFrame; `vector` is an array column.

        Raises UsageError without polars or pyarrow.
        """
        polars = library("polars", "to_polars()")
        library("pyarrow", "to_polars()")
        return polars.from_arrow(self.to_arrow())

    def _columns(self) -> dict[str, Any]:
        """Return the columns of the common record but the vector, by its names."""
        return {
            "id": self.ids,
            "task_id": self.task_ids,
            "position": self.positions,
            "model_name": _column([self.model] * len(self)),
            "input_type": self.input_types,
            "embedding_option": self.options,
            "embedding_scope": self.scopes,
            "start_offset_sec": self.starts,
            "end_offset_sec": self.ends,
            "start_page": self.start_pages,
            "end_page": self.end_pages,
            "quadrant": self.quadrants,
            "chunk_index": self.chunk_indexes,
            "input_filename": self.input_filenames,
            "input_url": self.input_urls,
            "duration": self.durations,
            "harvested_at": self.harvested_at,
            "labels": self.labels,
        }

    def _of_task(self, name: str) -> Column:
        return _column(self._batch.tasks.column(name))[self._batch.task_index]


def _column(values: Sequence[Any]) -> Column:
    """Return an array of these objects, whatever they are."""
    column = np.empty(len(values), object)
    column[:] = values
    return column
