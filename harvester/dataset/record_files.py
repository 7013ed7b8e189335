"""Makes files of records, of each kind. Only the modules of the kind in use are loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from harvester.dataset.libraries import library
from harvester.records.contents import Contents, FileKind, RecordWriter

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from harvester.records.arrow_files import ArrowWriter, FormerFile

BUFFER_BYTES = 1024 * 1024

MAX_BATCH_BYTES = 8 * 1024 * 1024
"""Bytes of vectors that are read at once."""

MAX_BATCH_ROWS = 8_192
"""Rows that are read at once: each has some Python objects beside its vector."""

Writer = TypeVar("Writer", bound=RecordWriter)


def batch_rows(dim: int) -> int:
    """Return how many vectors of that length to read at once."""
    return max(1, min(MAX_BATCH_ROWS, MAX_BATCH_BYTES // (4 * dim)))


def require_libraries(kind: FileKind) -> None:
    """Raise UsageError if a library is missing that writes files of this kind."""
    if kind.needs_arrow:
        library("pyarrow", f"An export to {kind.value}")


def record_writer(kind: FileKind, file: BinaryIO, contents: Contents, spool: Path) -> RecordWriter:
    """Return a writer into an open file; temporary files go into the folder `spool`."""
    if kind.needs_arrow:
        return arrow_writer(kind, file, contents)
    if kind is FileKind.NPZ:
        from harvester.records.npz import NpzWriter  # noqa: PLC0415  # numpy

        return NpzWriter(file, contents.space.dim, spool)
    from harvester.records.json_lines import JsonLinesWriter  # noqa: PLC0415  # numpy

    return JsonLinesWriter(file)


def arrow_writer(kind: FileKind, file: BinaryIO, contents: Contents) -> ArrowWriter:
    """Return a writer of a Parquet or Arrow file."""
    from harvester.records.arrow_files import ArrowWriter  # noqa: PLC0415  # pyarrow

    return ArrowWriter(file, kind, contents)


def former_file(path: Path, kind: FileKind) -> FormerFile:
    """Return a Parquet or Arrow file that is there. Nothing is read yet."""
    from harvester.records.arrow_files import FormerFile  # noqa: PLC0415  # pyarrow

    return FormerFile(path, kind)


def new_file(path: Path, kind: FileKind, contents: Contents) -> AbstractContextManager[RecordWriter]:
    """Make a file of records; after the block it is complete and on the disk. Raises OSError."""
    return _new_file(path, lambda file: record_writer(kind, file, contents, path.parent))


def new_arrow_file(path: Path, kind: FileKind, contents: Contents) -> AbstractContextManager[ArrowWriter]:
    """Make a Parquet or Arrow file, as `new_file` does. Raises OSError."""
    return _new_file(path, lambda file: arrow_writer(kind, file, contents))


@contextmanager
def _new_file(path: Path, make: Callable[[BinaryIO], Writer]) -> Iterator[Writer]:
    with path.open("xb", buffering=BUFFER_BYTES) as file:
        writer = make(file)
        with finished(writer):
            yield writer
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def finished(writer: RecordWriter) -> Iterator[None]:
    """Finish the writer at the end of the block, or abandon it after an error. Raises OSError."""
    try:
        yield
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
