"""One checksum over all stored content of a task, in a form that depends on no store and on no language.

The form is a sequence of columns. A column of n values is n bytes, 1 for a value that is NULL and else 0, and then, for

- INTEGER: n signed 64-bit numbers,
- REAL: n IEEE 754 doubles,
- TEXT: n unsigned 64-bit lengths in bytes, then the texts in UTF-8, one after the other;

a NULL is written as 0, 0.0 or an empty text. All numbers are little-endian. Each table begins with its number of rows,
an unsigned 64-bit number. The order is as follows, with rows by position:

1. the bytes `harvester content 1`;
2. of the task and its row of `videos`: the TEXT column of task_id, model_name, input_filename, input_url, document,
   layouts; the REAL column of duration, video_clip_length; the INTEGER column of created_at, updated_at, harvested_at,
   segment_count, vectors_crc32;
3. of `video_scopes`: position (INTEGER), video_embedding_scope (TEXT);
4. of `segments`: position (INTEGER), embedding_option, embedding_scope (TEXT), start_offset_sec, end_offset_sec (REAL),
   layout (INTEGER), extra (TEXT);
5. of `embeddings`: position, dim (INTEGER), dtype (TEXT). vectors_crc32, the CRC-32 of the vectors' bytes in order of
   position, covers the vectors: they are long (two thirds of a megabyte for 15 minutes), and read only once.

The checksum is the BLAKE2b (RFC 7693) of these bytes with a digest of 16 bytes.
"""

import sqlite3
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import orjson

from harvester.domain.errors import InvalidTaskId
from harvester.domain.tasks.task_id import validate_task_id
from harvester.store.sqlite.queries import query

_FORM = b"harvester content 1"
_DIGEST_BYTES = 16

_VIDEO_COLUMNS = (
    *("model_name", "duration", "input_filename", "input_url", "video_clip_length", "created_at", "updated_at"),
    *("harvested_at", "segment_count", "vectors_crc32", "document", "layouts", "content_blake2b"),
)
"""The columns of the query `find_video`, in its order: a damaged schema may have other names."""

_TEXTS = ("model_name", "input_filename", "input_url", "document", "layouts")
_REALS = ("duration", "video_clip_length")
_INTEGERS = ("created_at", "updated_at", "harvested_at", "segment_count", "vectors_crc32")

VectorRow = tuple[int, int, str, Any]
"""Position, dimension, type and bytes of a vector."""


@dataclass(frozen=True, slots=True)
class Content:
    """The stored content of a task without the numbers of its vectors: `video` by column name, the rest as columns."""

    task_id: str
    video: dict[str, Any]
    scopes: Sequence[Sequence[Any]]
    segments: Sequence[Sequence[Any]]
    embeddings: Sequence[Sequence[Any]]

    def checksum(self) -> bytes:
        """Return the checksum. Raises TypeError, AttributeError or struct.error for values of another type."""
        video = self.video
        parts = [
            _FORM,
            *_texts([self.task_id, *(video[name] for name in _TEXTS)]),
            *_numbers("d", [video[name] for name in _REALS]),
            *_numbers("q", [video[name] for name in _INTEGERS]),
        ]
        for kinds, columns in (("qt", self.scopes), ("qttddqt", self.segments), ("qqt", self.embeddings)):
            parts.append(struct.pack("<Q", len(columns[0])))
            for kind, column in zip(kinds, columns, strict=True):
                parts += _texts(column) if kind == "t" else _numbers(kind, column)
        return blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).digest()


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
        return None if self._expected is None else self.is_right_for(self.content.task_id)

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
        try:
            return bool(replace(self.content, task_id=task_id).checksum() == self._expected)
        except (TypeError, AttributeError, struct.error):
            # Damage: a value has a type that its column never has.
            return False

    @property
    def _expected(self) -> bytes | None:
        expected: bytes | None = self.content.video["content_blake2b"]
        return expected

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
    checksum, rows = 0, []
    for position, dim, dtype, vector in vectors:
        # In a damaged file the value may have any type.
        checksum = zlib.crc32(vector if isinstance(vector, bytes) else repr(vector).encode(), checksum)
        rows.append((position, dim, dtype))
    content = Content(
        task_id,
        dict(zip(_VIDEO_COLUMNS, video, strict=True)),
        _columns(connection.execute(query("content_scopes"), of_task).fetchall(), 2),
        _columns(connection.execute(query("content_segments"), of_task).fetchall(), 7),
        _columns(rows, 3),
    )
    return StoredContent(content, checksum)


def vectors_of(connection: sqlite3.Connection, task: int) -> Iterable[VectorRow]:
    """Yield position, dimension, type and bytes of each vector of a task."""
    return connection.execute(query("vectors_of"), {"task": task})


def _columns(rows: Sequence[Sequence[Any]], count: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * count
