"""The rows of results: of `videos`, of the tables beside it, of segments, and of vectors."""

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

from harvester.domain.tasks.embeddings import Matrix, MediaMetadata, TaskEmbeddings
from harvester.domain.tasks.models import ResultSigns, model_of
from harvester.store.sqlite.content import NEWEST_FORM, NO_PLACES, Columns, Content, placed
from harvester.store.sqlite.foreign_triggers import check_stored
from harvester.store.sqlite.json_columns import dump_json
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.row_batches import write_rows

STATEMENT_BYTES = 4 * 1024 * 1024
"""Bytes of vectors that one statement stores, because SQLite copies its parameters."""

SMALL_BYTES = 128 * 1024
"""Bytes of vectors up to which a result shares its statements with others."""

_LISTED = ("model_name", "duration", "input_filename", "input_url", "input_type")
"""The fields of MediaMetadata that `listed` has, in the order of its queries."""


@dataclass(frozen=True, slots=True)
class DescribedResult:
    """The content of a result with its checksum, and what is stored besides.

    That is the matrices of its vectors and uncertainties, and the columns of pages, chunks and quadrants of all
    segments; none if no segment has any.
    """

    content: Content
    checksum: bytes
    vectors: Matrix
    uncertainties: Matrix | None
    places: Columns


def is_complete(metadata: MediaMetadata) -> bool:
    """Return whether the list cannot add to what a result says about itself."""
    has_name = metadata.input_filename is not None or metadata.input_url is not None
    return has_name and None not in (metadata.model_name, metadata.duration, metadata.input_type)


def listed_metadata(*columns: Any) -> MediaMetadata:
    """Return what a row of `listed` says: the columns of the query `listed_for` without the task."""
    return MediaMetadata(**dict(zip(_LISTED, columns, strict=True)))


def describe(
    embeddings: TaskEmbeddings, task_id: str, harvested_at_ms: int, listed: MediaMetadata | None
) -> DescribedResult:
    """Return the rows of a result; `listed` has what the result does not say about itself."""
    if len(embeddings.vectors) != embeddings.count:
        raise ValueError(f"{len(embeddings.vectors)} vectors for {embeddings.count} segments")
    vectors = contiguous(embeddings.vectors)
    signs = ResultSigns(
        embeddings.options, embeddings.scopes, embeddings.dim, has_uncertainty=embeddings.uncertainties is not None
    )
    video = video_columns(embeddings.metadata, listed, signs)
    video["harvested_at"] = harvested_at_ms
    video["segment_count"] = embeddings.count
    video["vectors_crc32"] = zlib.crc32(vectors.data)
    video["document"] = embeddings.document.decode()
    video["layouts"] = dump_json(embeddings.layouts).decode()
    video["content_form"] = NEWEST_FORM
    segments, places, uncertain = _segments(embeddings), _places(embeddings), embeddings.uncertainties
    uncertainties = None if uncertain is None else contiguous(uncertain.vectors)
    content = Content(
        task_id,
        video,
        numbered(embeddings.metadata.scopes),
        segments,
        shapes(segments[0], vectors),
        numbered(embeddings.metadata.options),
        token_columns(embeddings.metadata),
        placed(segments[0], places) if places else NO_PLACES,
        shapes(() if uncertain is None else uncertain.positions, uncertainties),
        0 if uncertainties is None else zlib.crc32(uncertainties.data),
    )
    return DescribedResult(content, content.checksum(), vectors, uncertainties, places)


def video_columns(metadata: MediaMetadata, listed: MediaMetadata | None, signs: ResultSigns) -> dict[str, Any]:
    """Return the columns of `videos` about input and model; `listed` has what the result does not say about itself."""
    model_name, model_source = model_of(metadata, None if listed is None else listed.model_name, signs)
    if listed is not None:
        metadata = _completed(metadata, listed)
    return {
        "model_name": model_name,
        "duration": metadata.duration,
        "input_filename": metadata.input_filename,
        "input_url": metadata.input_url,
        "video_clip_length": metadata.video_clip_length,
        "created_at": metadata.created_at_ms,
        "updated_at": metadata.updated_at_ms,
        "input_type": metadata.input_type,
        "start_offset_sec": metadata.start_offset_sec,
        "end_offset_sec": metadata.end_offset_sec,
        "embedding_dimension": metadata.embedding_dimension,
        "is_truncated": metadata.is_truncated,
        "truncation_reason": metadata.truncation_reason,
        "model_source": model_source,
    }


def _completed(metadata: MediaMetadata, listed: MediaMetadata) -> MediaMetadata:
    missing = [name for name in _LISTED if getattr(metadata, name) is None]
    return replace(metadata, **{name: getattr(listed, name) for name in missing})


def contiguous(matrix: Matrix) -> Matrix:
    """Return the matrix with its rows one after the other in memory, as they are stored and summed."""
    return matrix if matrix.flags.c_contiguous else matrix.copy()


def numbered(values: Sequence[str]) -> Columns:
    """Return the columns of a list: positions and values."""
    return range(len(values)), values


def token_columns(metadata: MediaMetadata) -> Columns:
    """Return the columns of `video_tokens`."""
    return tuple(zip(*metadata.tokens, strict=True)) or ((), ())


def shapes(positions: Sequence[int], matrix: Matrix | None) -> Columns:
    """Return the columns of `embeddings` and `uncertainties` without their bytes."""
    if matrix is None:
        return (), (), ()
    count = len(positions)
    return positions, [matrix.shape[1]] * count, [_dtype(matrix)] * count


def _segments(embeddings: TaskEmbeddings) -> Columns:
    extras = {position: dump_json(extra).decode() for position, extra in embeddings.extras.items()}
    positions = range(embeddings.count)
    columns = (embeddings.options, embeddings.scopes, embeddings.starts, embeddings.ends, embeddings.layout_of)
    return (positions, *columns, list(map(extras.get, positions)))


def _places(embeddings: TaskEmbeddings) -> Columns:
    columns = embeddings.start_pages, embeddings.end_pages, embeddings.chunk_indexes, embeddings.quadrants
    if not any(columns):
        return ()
    nothing = [None] * embeddings.count
    return [column or nothing for column in columns]


def _dtype(matrix: Matrix) -> str:
    return f"f{matrix.dtype.itemsize}"


_VIDEO = (
    *("model_name", "duration", "input_filename", "input_url", "video_clip_length", "created_at", "updated_at"),
    *("harvested_at", "segment_count", "vectors_crc32", "document", "layouts", "input_type", "start_offset_sec"),
    *("end_offset_sec", "embedding_dimension", "is_truncated", "truncation_reason", "model_source"),
)
"""The columns of the statement `insert_video` between the task and the checksum, in its order."""


_IS_CHECKED = 1
"""A settlement has the warnings of its result."""


class ResultRows:
    """Collects the rows of some results, and inserts them with few statements."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _TABLES}
        self._matrices: dict[str, list[tuple[int, Sequence[int], Matrix]]] = {table: [] for table in _SMALL}

    def add(self, key: int, result: DescribedResult) -> None:
        """Add the rows of a result; `key` is the row id of its task."""
        content = result.content
        values = map(content.video.__getitem__, _VIDEO)
        self._rows["videos"].append((key, *values, result.checksum, NEWEST_FORM, _IS_CHECKED))
        self._add("video_scopes", key, content.scopes)
        self._add("video_options", key, content.options)
        self._add("video_tokens", key, content.tokens)
        segments = content.segments
        self._add("placed segments" if result.places else "segments", key, [*segments, *result.places])
        self._matrices["embeddings"].append((key, segments[0], result.vectors))
        if result.uncertainties is not None:
            self._matrices["uncertainties"].append((key, content.uncertainties[0], result.uncertainties))

    def _add(self, table: str, key: int, columns: Columns) -> None:
        if columns[0]:
            self._rows[table] += zip(repeat(key, len(columns[0])), *columns, strict=True)

    def insert(self, connection: sqlite3.Connection) -> None:
        """Insert all rows. Raises StoreError if another program's trigger has kept some out."""
        for name, (table, statement) in _TABLES.items():
            rows = self._rows[name]
            check_stored(table, len(rows), write_rows(connection, statement, rows))
        for table, statement in _SMALL.items():
            self._insert_vectors(connection, table, statement)

    def _insert_vectors(self, connection: sqlite3.Connection, table: str, statement: str) -> None:
        small: list[tuple[Any, ...]] = []
        for key, positions, matrix in self._matrices[table]:
            if matrix.nbytes <= SMALL_BYTES:
                dim, dtype = matrix.shape[1], _dtype(matrix)
                small += ((key, at, dim, dtype, row.data) for at, row in zip(positions, matrix, strict=True))
            else:
                insert_matrix(connection, table, key, positions, matrix)
        check_stored(table, len(small), write_rows(connection, statement, small))


_TABLES = {
    "videos": ("videos", "insert_video"),
    "video_scopes": ("video_scopes", "insert_scope"),
    "video_options": ("video_options", "insert_option"),
    "video_tokens": ("video_tokens", "insert_tokens"),
    "segments": ("segments", "insert_segment"),
    "placed segments": ("segments", "insert_placed_segment"),
}
"""The tables and statements of rows, in the order in which rows refer to others."""

_SMALL = {"embeddings": "insert_embedding", "uncertainties": "insert_uncertainty"}
"""The tables of vectors, and the statement that inserts a row."""

_LARGE = {"embeddings": "insert_embeddings", "uncertainties": "insert_uncertainties"}
"""The statements that insert many rows of one result."""


def insert_matrix(
    connection: sqlite3.Connection, table: str, key: int, positions: Sequence[int], matrix: Matrix
) -> None:
    """Insert the vectors or uncertainties of the segments at these positions."""
    inserted = (connection.execute(query(_LARGE[table]), batch) for batch in _batches(key, positions, matrix))
    check_stored(table, len(matrix), sum(cursor.rowcount for cursor in inserted))


def _batches(key: int, positions: Sequence[int], matrix: Matrix) -> Iterator[dict[str, Any]]:
    dim, item_bytes = matrix.shape[1], matrix.dtype.itemsize
    rows = max(1, STATEMENT_BYTES // (dim * item_bytes))
    for first in range(0, len(matrix), rows):
        yield {
            "task": key,
            "positions": dump_json(list(positions[first : first + rows])).decode(),
            "dim": dim,
            "dtype": f"f{item_bytes}",
            "bytes": dim * item_bytes,
            "vectors": matrix[first : first + rows].data,
        }
