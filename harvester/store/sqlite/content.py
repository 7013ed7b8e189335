"""One checksum over all stored content of a task, in a form that depends on no store and on no language.

The form is a sequence of columns. A column of n values is n bytes, 1 for a value that is NULL and else 0, and then, for

- INTEGER: n signed 64-bit numbers,
- REAL: n IEEE 754 doubles,
- TEXT: n unsigned 64-bit lengths in bytes, then the texts in UTF-8, one after the other;

a NULL is written as 0, 0.0 or an empty text. All numbers are little-endian. Each table begins with its number of rows,
an unsigned 64-bit number. The order is as follows, with rows by position:

1. the bytes `harvester content 2`;
2. of the task and its row of `videos`: the TEXT column of task_id, model_name, input_filename, input_url, document,
   layouts, input_type, truncation_reason, model_source; the REAL column of duration, video_clip_length,
   start_offset_sec, end_offset_sec; the INTEGER column of created_at, updated_at, harvested_at, segment_count,
   vectors_crc32, embedding_dimension, is_truncated;
3. of `video_scopes`: position (INTEGER), video_embedding_scope (TEXT);
4. of `segments`: position (INTEGER), embedding_option, embedding_scope (TEXT), start_offset_sec, end_offset_sec (REAL),
   layout (INTEGER), extra (TEXT);
5. of `embeddings`: position, dim (INTEGER), dtype (TEXT). vectors_crc32, the CRC-32 of the vectors' bytes in order of
   position, covers the vectors: they are long (two thirds of a megabyte for 15 minutes), and read only once;
6. of `video_options`: position (INTEGER), embedding_option (TEXT);
7. of `video_tokens`, by medium: medium (TEXT), tokens (INTEGER);
8. of those rows of `segments` in which one of them is not NULL: position, start_page, end_page, chunk_index (INTEGER),
   quadrant (TEXT);
9. of `uncertainties`: position, dim (INTEGER), dtype (TEXT); then the INTEGER column of one value, the CRC-32 of their
   bytes in order of position.

The checksum is the BLAKE2b (RFC 7693) of these bytes with a digest of 16 bytes. This is form 2. Form 1, which older
versions have stored, is the bytes `harvester content 1` and the items 2 to 5 without input_type, truncation_reason,
model_source, start_offset_sec, end_offset_sec, embedding_dimension and is_truncated; `videos.content_form` says which
form a row has. Neither covers model_asked_at, warnings and is_checked: they are no content of an answer.
"""

import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import orjson

from harvester.domain.errors import InvalidTaskId
from harvester.domain.tasks.task_id import validate_task_id
from harvester.store.sqlite.queries import query

NEWEST_FORM = 2
_DIGEST_BYTES = 16

_VIDEO_COLUMNS = (
    *("model_name", "duration", "input_filename", "input_url", "video_clip_length", "created_at", "updated_at"),
    *("harvested_at", "segment_count", "vectors_crc32", "document", "layouts", "content_blake2b", "input_type"),
    *("start_offset_sec", "end_offset_sec", "embedding_dimension", "is_truncated", "truncation_reason"),
    *("model_source", "model_asked_at", "warnings", "content_form"),
)
"""The columns of the query `find_video`, in its order: a damaged schema may have other names."""

_TEXTS = ("model_name", "input_filename", "input_url", "document", "layouts")
_REALS = ("duration", "video_clip_length")
_INTEGERS = ("created_at", "updated_at", "harvested_at", "segment_count", "vectors_crc32")
_NAMES = {
    1: (_TEXTS, _REALS, _INTEGERS),
    NEWEST_FORM: (
        (*_TEXTS, "input_type", "truncation_reason", "model_source"),
        (*_REALS, "start_offset_sec", "end_offset_sec"),
        (*_INTEGERS, "embedding_dimension", "is_truncated"),
    ),
}
"""The columns of `videos` in each form, by their types."""

_SEGMENT_COLUMNS = 7
"""The columns of the query `content_segments` that form 1 has; the places follow."""

_NO_ROWS = bytes(8)

NO_PLACES: Sequence[Sequence[Any]] = ((), (), (), (), ())
"""The columns of `Content.places` without rows."""

VectorRow = tuple[int, int, str, Any]
"""Position, dimension, type and bytes of a vector."""

Columns = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Content:
    """The stored content of a task without the numbers of its vectors: `video` by column name, the rest as columns.

    `places` are positions, pages, chunks and quadrants of the segments that have any.
    """

    task_id: str
    video: dict[str, Any]
    scopes: Columns
    segments: Columns
    embeddings: Columns
    options: Columns = ((), ())
    tokens: Columns = ((), ())
    places: Columns = NO_PLACES
    uncertainties: Columns = ((), (), ())
    uncertainties_crc32: int = 0

    def checksum(self) -> bytes:
        """Return the checksum in the form `video["content_form"]`. Raises KeyError for an unknown form.

        Raises TypeError, AttributeError or struct.error for values of another type.
        """
        video, form = self.video, self.video["content_form"]
        texts, reals, integers = _NAMES[form]
        parts = [
            b"harvester content %d" % form,
            *_texts([self.task_id, *[video[name] for name in texts]]),
            *_numbers("d", [video[name] for name in reals]),
            *_numbers("q", [video[name] for name in integers]),
        ]
        _add_tables(parts, ("qt", self.scopes), ("qttddqt", self.segments), ("qqt", self.embeddings))
        if form == NEWEST_FORM:
            _add_tables(parts, ("qt", self.options), ("tq", self.tokens), ("qqqqt", self.places))
            _add_tables(parts, ("qqt", self.uncertainties))
            parts += _numbers("q", [self.uncertainties_crc32])
        return blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).digest()


def _add_tables(parts: list[bytes], *tables: tuple[str, Columns]) -> None:
    for kinds, columns in tables:
        if not columns[0]:
            parts.append(_NO_ROWS)
            continue
        parts.append(struct.pack("<Q", len(columns[0])))
        for kind, column in zip(kinds, columns, strict=True):
            parts += _texts(column) if kind == "t" else _numbers(kind, column)


def _numbers(kind: str, values: Sequence[Any]) -> tuple[bytes, bytes]:
    count = len(values)
    if None not in values:
        return bytes(count), struct.pack(f"<{count}{kind}", *values)
    numbers = [0 if value is None else value for value in values]
    return bytes([value is None for value in values]), struct.pack(f"<{count}{kind}", *numbers)


def _texts(values: Sequence[Any]) -> tuple[bytes, bytes, bytes]:
    count = len(values)
    # Most text columns have few distinct values.
    texts = {value: b"" if value is None else value.encode() for value in set(values)}
    nulls = bytes([value is None for value in values]) if None in texts else bytes(count)
    if len(texts) == 1:
        (text,) = texts.values()
        return nulls, struct.pack("<Q", len(text)) * count, text * count
    each = [texts[value] for value in values]
    return nulls, struct.pack(f"<{count}Q", *map(len, each)), b"".join(each)


@dataclass(frozen=True, slots=True)
class StoredContent:
    """The stored content of a task, as read, and the CRC-32 of the vectors read."""

    content: Content
    vectors_crc32: int

    @property
    def is_right(self) -> bool | None:
        """Whether the stored checksum matches the content; None if there is none yet."""
        is_missing = self.content.video["content_blake2b"] is None and self.content.video["content_form"] == 1
        return None if is_missing else self.is_right_for(self.content.task_id)

    @property
    def received_id(self) -> str | None:
        """The id in the stored document; None if it is not a valid id."""
        try:
            return validate_task_id(orjson.loads(self.content.video["document"])["_id"])
        except (orjson.JSONDecodeError, InvalidTaskId, LookupError, TypeError):
            return None

    def is_right_for(self, task_id: str | None) -> bool:
        """Return whether the stored checksum matches the content with that task id."""
        if task_id is None:
            return False
        video = self.content.video
        try:
            checksum = replace(self.content, task_id=task_id).checksum()
        except (TypeError, AttributeError, KeyError, struct.error):
            # Damage: a value has a type that its column never has.
            return False
        return bool(checksum == video["content_blake2b"])

    @property
    def has_right_vectors(self) -> bool:
        """Whether the vectors have the CRC-32 of the received ones, and are as many as the segments."""
        video = self.content.video
        counts = {len(self.content.segments[0]), len(self.content.embeddings[0]), video["segment_count"]}
        return self.vectors_crc32 == video["vectors_crc32"] and len(counts) == 1


def read_content(
    connection: sqlite3.Connection, task: int, task_id: str, vectors: Iterable[VectorRow]
) -> StoredContent:
    """Read the stored content of a task; `vectors` are its rows of `vectors_of`, which are read to the end."""
    of_task = {"task": task}
    video = connection.execute(query("find_video"), of_task).fetchone() or [None] * len(_VIDEO_COLUMNS)
    rows, checksum = _checked(vectors)
    uncertain, uncertain_checksum = _checked(connection.execute(query("uncertainties_of"), of_task))
    segments = _columns(connection.execute(query("content_segments"), of_task).fetchall(), _SEGMENT_COLUMNS + 4)
    content = Content(
        task_id,
        dict(zip(_VIDEO_COLUMNS, video, strict=True)),
        _columns(connection.execute(query("content_scopes"), of_task).fetchall(), 2),
        segments[:_SEGMENT_COLUMNS],
        rows,
        _columns(connection.execute(query("content_options"), of_task).fetchall(), 2),
        _columns(connection.execute(query("content_tokens"), of_task).fetchall(), 2),
        placed(segments[0], segments[_SEGMENT_COLUMNS:]),
        uncertain,
        uncertain_checksum,
    )
    return StoredContent(content, checksum)


def placed(positions: Sequence[int], columns: Columns) -> Columns:
    """Return the positions of the segments that have a value in one of these columns, and the columns for them."""
    rows = [row for row in zip(positions, *columns, strict=True) if row[1:].count(None) < len(columns)]
    return _columns(rows, len(NO_PLACES))


def _checked(vectors: Iterable[VectorRow]) -> tuple[Columns, int]:
    """Return the columns of the rows without the bytes, and the CRC-32 of the bytes."""
    checksum, rows = 0, []
    for position, dim, dtype, vector in vectors:
        # In a damaged file the value may have any type.
        checksum = zlib.crc32(vector if isinstance(vector, bytes) else repr(vector).encode(), checksum)
        rows.append((position, dim, dtype))
    return _columns(rows, 3), checksum


def vectors_of(connection: sqlite3.Connection, task: int) -> Iterable[VectorRow]:
    """Yield position, dimension, type and bytes of each vector of a task."""
    return connection.execute(query("vectors_of"), {"task": task})


def without_vectors(connection: sqlite3.Connection, task: int) -> Iterator[VectorRow]:
    """Yield the rows of `vectors_of` without the vectors: the checksum covers them by their CRC-32 alone."""
    for position, dim, dtype in connection.execute(query("content_embeddings"), {"task": task}):
        yield position, dim, dtype, b""


def _columns(rows: Sequence[Sequence[Any]], count: int) -> Columns:
    return list(zip(*rows, strict=True)) if rows else [()] * count
