"""Parquet and Arrow IPC files of the common record. Importing this loads pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harvester.domain.errors import UsageError
from harvester.domain.results.vectors import VectorBatch
from harvester.records.arrow import VECTOR, arrow_schema, to_record_batch
from harvester.records.contents import NORMALISED, Contents, FileKind, read_contents

ROW_GROUP_BYTES = 16 * 1024 * 1024
"""Bytes of vectors in a row group: readers take one at once, and a writer holds a few times as much."""

MAX_GROUP_ROWS = 32_768
"""Rows in a row group: short vectors take less room than the texts beside them."""

_UNIT_TOLERANCE = 1e-3
"""How far from 1 the squared length of a normalised vector may be: models compute in half precision."""

_OF_TASK = ("task_id", "harvested_at", "input_filename")


class FileTask(NamedTuple):
    """A task whose rows a file has."""

    task_id: str
    harvested_at: int
    """Unix milliseconds."""
    input_filename: str | None


class ArrowWriter:
    """Writes a Parquet or an Arrow file; small batches become larger ones."""

    def __init__(self, file: BinaryIO, kind: FileKind, contents: Contents) -> None:
        self._schema = arrow_schema(contents.space, contents.as_metadata())
        self._group_rows = max(1, min(MAX_GROUP_ROWS, ROW_GROUP_BYTES // (4 * contents.space.dim)))
        self._is_parquet = kind is FileKind.PARQUET
        self._file: Any = _parquet(file, self._schema) if self._is_parquet else pa.ipc.new_file(file, self._schema)
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._is_normalised = True

    def write(self, batch: VectorBatch) -> None:
        """Write the rows. Raises OSError."""
        self.write_arrow(to_record_batch(batch, self._schema))

    def write_arrow(self, batch: pa.RecordBatch) -> None:
        """Write rows that are in Arrow already. Raises OSError."""
        self._is_normalised = self._is_normalised and _is_normalised(batch.column(VECTOR))
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        if self._waiting_rows >= self._group_rows:
            self._flush()

    def finish(self) -> None:
        """Write the end of the file. Raises OSError."""
        if self._waiting:
            self._flush()
        if self._is_parquet:
            self._file.add_key_value_metadata({NORMALISED: str(self._is_normalised).lower()})
        self._file.close()

    def abandon(self) -> None:
        """Close the writer, which would try to write the end of the file when it is collected."""
        with suppress(OSError, pa.ArrowException, ValueError):
            self._file.close()
        if self._is_parquet:
            self._file.is_open = False

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting, self._waiting_rows = [], 0
        if self._is_parquet:
            self._file.write_table(table, row_group_size=table.num_rows)
        else:
            self._file.write_batch(table.combine_chunks().to_batches()[0])


def _parquet(file: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    others = [name for name in schema.names if name != VECTOR]
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        # Vectors hardly ever repeat, but their exponents do: the bytes of each rank together compress best.
        use_dictionary=[name for name in others if pa.types.is_string(schema.field(name).type)],
        use_byte_stream_split=[f"{VECTOR}.list.element"],
        write_statistics=others,
    )


def _is_normalised(vectors: pa.Array) -> bool:
    matrix = vectors.flatten().to_numpy().reshape(len(vectors), -1)
    return bool(np.all(np.abs(np.einsum("ij,ij->i", matrix, matrix) - 1) < _UNIT_TOLERANCE))


class FormerFile:
    """A file that an earlier export has written."""

    def __init__(self, path: Path, kind: FileKind) -> None:
        self.path = path
        self._kind = kind

    def contents(self) -> Contents | None:
        """Return what the file holds; None if this program has not written it. Raises UsageError."""
        with self._opened() as file:
            schema = file.schema_arrow if self._kind is FileKind.PARQUET else file.schema
            contents = read_contents(schema.metadata)
        if contents is None or not schema.remove_metadata().equals(arrow_schema(contents.space)):
            return None
        return contents

    def tasks(self) -> Iterator[FileTask]:
        """Yield the tasks of the rows; one whose rows are in two batches comes twice. Raises UsageError."""
        for batch in self._batches(_OF_TASK):
            yield from _tasks(batch)[0]

    def copy(self, writer: ArrowWriter, is_kept: Callable[[FileTask], bool]) -> int:
        """Write the rows of the tasks that are kept, and return how many those are. Raises UsageError, OSError."""
        count = 0
        for batch in self._batches(None):
            tasks, task_index = _tasks(batch)
            kept = np.array([is_kept(task) for task in tasks], bool)
            rows = batch if kept.all() else batch.filter(pa.array(kept[task_index]))
            if rows.num_rows:
                writer.write_arrow(rows)
                count += rows.num_rows
        return count

    def _batches(self, columns: tuple[str, ...] | None) -> Iterator[pa.RecordBatch]:
        with self._opened(columns) as file:
            if self._kind is FileKind.PARQUET:
                for group in range(file.num_row_groups):
                    yield from file.read_row_group(group, columns).to_batches()
            else:
                for number in range(file.num_record_batches):
                    yield file.get_batch(number)

    @contextmanager
    def _opened(self, columns: tuple[str, ...] | None = None) -> Iterator[Any]:
        try:
            if self._kind is FileKind.PARQUET:
                with pq.ParquetFile(self.path) as file:
                    yield file
            else:
                with pa.OSFile(str(self.path)) as source:
                    yield _ipc_file(source, columns)
        except (OSError, pa.ArrowException) as error:
            raise UsageError(
                f"{str(self.path)!a} cannot be read: {str(error).splitlines()[0].rstrip('.')}.",
                remedy="Export to another name, or replace it with --force.",
            ) from error


def _ipc_file(source: Any, columns: tuple[str, ...] | None) -> Any:
    file = pa.ipc.open_file(source)
    if columns is None:
        return file
    chosen = [file.schema.names.index(name) for name in columns]
    return pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=chosen))


def _tasks(batch: pa.RecordBatch) -> tuple[list[FileTask], Any]:
    """Return the tasks of the rows, and for each row the place of its task."""
    encoded = batch.column("task_id").dictionary_encode()
    task_index = encoded.indices.to_numpy()
    firsts = pa.array(np.unique(task_index, return_index=True)[1])
    columns = [batch.column(name).take(firsts) for name in _OF_TASK]
    ids, times, names = columns[0].to_pylist(), columns[1].cast(pa.int64()).to_pylist(), columns[2].to_pylist()
    return [FileTask(*values) for values in zip(ids, times, names, strict=True)], task_index
