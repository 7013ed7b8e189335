"""numpy's `.npz` of the common record: `vectors` and the other columns, each an array of the zip archive.

An array of texts has the width of its longest one, and each array says its length first; both are known at the end.
So the columns are collected in temporary files, and the archive is made of those, a piece at a time.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from harvester.domain.results.vectors import VectorBatch

PIECE_BYTES = 4 * 1024 * 1024

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest date of a zip archive: the same vectors give the same file."""

NO_NUMBER = -1
"""Page or chunk of a vector without one; arrays of integers have no other value for it."""


class _Column:
    """One value for each row, or for each task of a batch, in a temporary file without a name."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # open while the writer is
        self._kinds: list[tuple[int, np.dtype[Any]]] = []
        self.dtype = np.dtype("U1")

    def add(self, values: Any) -> None:
        """Append the values of one batch."""
        self.dtype = np.promote_types(self.dtype, values.dtype) if self._kinds else values.dtype
        self._kinds.append((len(values), values.dtype))
        self._file.write(memoryview(values.view(np.uint8)))

    def batches(self) -> Iterator[Any]:
        """Yield the values of each batch."""
        self._file.seek(0)
        for count, kind in self._kinds:
            yield np.frombuffer(self._file.read(count * kind.itemsize), kind)

    def close(self) -> None:
        """Free the space on the disk. What was not written yet may find none."""
        with suppress(OSError):
            self._file.close()


class NpzWriter:
    """Writes an `.npz`. Temporary files in `folder` take the size of the vectors once more."""

    def __init__(self, file: BinaryIO, dim: int, folder: Path) -> None:
        self._file = file
        self._dim = dim
        self._folder = folder
        self._columns: dict[str, _Column] = {}
        self._of_tasks: dict[str, _Column] = {}
        self._task_index = _Column(folder)
        self._rows = 0

    def write(self, batch: VectorBatch) -> None:
        """Collect the rows. Raises OSError."""
        self._rows += len(batch.positions)
        self._task_index.add(batch.task_index)
        self._collect(self._columns, _of_rows(batch))
        self._collect(self._of_tasks, _of_tasks(batch))

    def finish(self) -> None:
        """Write the archive. Raises OSError."""
        with zipfile.ZipFile(self._file, "w", allowZip64=True) as archive:
            for name, column in self._columns.items():
                self._add(archive, name, column.dtype, column.batches())
                column.close()
            for name, column in self._of_tasks.items():
                self._add(archive, name, column.dtype, self._expanded(column))
        self.abandon()

    def abandon(self) -> None:
        """Remove the temporary files."""
        for column in (self._task_index, *self._columns.values(), *self._of_tasks.values()):
            column.close()

    def _collect(self, columns: dict[str, _Column], values: dict[str, Any]) -> None:
        for name, array in values.items():
            if name not in columns:
                columns[name] = _Column(self._folder)
            columns[name].add(array)

    def _expanded(self, column: _Column) -> Iterator[Any]:
        """Yield the value of each row's task, in pieces of bounded size: a long URL is repeated in every row."""
        rows = max(1, PIECE_BYTES // column.dtype.itemsize)
        for values, index in zip(column.batches(), self._task_index.batches(), strict=True):
            for first in range(0, len(index), rows):
                yield values[index[first : first + rows]]

    def _add(self, archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], pieces: Iterator[Any]) -> None:
        member = zipfile.ZipInfo(f"{name}.npy", _FIRST_DATE)
        is_matrix = name == "vectors"
        # Vectors hardly become smaller; columns of texts become a small part of their size.
        member.compress_type = zipfile.ZIP_STORED if is_matrix else zipfile.ZIP_DEFLATED
        shape = (self._rows, self._dim) if is_matrix else (self._rows,)
        with archive.open(member, "w", force_zip64=True) as out:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(out, header)
            for piece in pieces:
                rows = max(1, PIECE_BYTES // dtype.itemsize)
                for first in range(0, len(piece), rows):
                    out.write(piece[first : first + rows].astype(dtype).tobytes())


def _of_rows(batch: VectorBatch) -> dict[str, Any]:
    matrix = np.ascontiguousarray(batch.matrix, np.float32)
    task_ids = batch.tasks.column("task_id")
    ids = [task_ids[task] for task in batch.task_index.tolist()]
    return {
        "vectors": matrix.reshape(-1),
        "id": np.array([f"{task_id}:{at}" for task_id, at in zip(ids, batch.positions.tolist(), strict=True)]),
        "position": np.ascontiguousarray(batch.positions),
        "embedding_option": _texts(batch.options),
        "embedding_scope": _texts(batch.scopes),
        "start_offset_sec": np.ascontiguousarray(batch.starts),
        "end_offset_sec": np.ascontiguousarray(batch.ends),
        "start_page": _integers(batch.start_pages),
        "end_page": _integers(batch.end_pages),
        "quadrant": _texts(batch.quadrants),
        "chunk_index": _integers(batch.chunk_indexes),
    }


def _of_tasks(batch: VectorBatch) -> dict[str, Any]:
    tasks = batch.tasks
    return {
        "task_id": _texts(tasks.column("task_id")),
        "model_name": _texts(tasks.column("model_name")),
        "input_type": _texts(tasks.column("input_type")),
        "input_filename": _texts(tasks.column("input_filename")),
        "input_url": _texts(tasks.column("input_url")),
        "duration": np.array(tasks.column("duration"), np.float64),
        "harvested_at": np.array(tasks.column("harvested_at"), "datetime64[ms]"),
        "labels": _texts([orjson.dumps(dict(labels)).decode() for labels in tasks.column("labels")]),
    }


def _texts(values: Sequence[str | None]) -> Any:
    return np.array([value or "" for value in values], np.str_)


def _integers(values: Sequence[int | None]) -> Any:
    return np.array([NO_NUMBER if value is None else value for value in values], np.int64)
