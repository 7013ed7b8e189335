"""Stores what became of attempts: the task's row and its embeddings change in the same transaction."""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, repeat
from typing import Any, TypeVar

from harvester.domain.embeddings import Matrix, TaskEmbeddings, VideoMetadata
from harvester.domain.retrying import Decision
from harvester.domain.tasks import Task, TaskState
from harvester.store.attempts import Attempt, insert_attempt
from harvester.store.content import Content
from harvester.store.foreign_triggers import check_changed_by_others, check_stored
from harvester.store.json_columns import dump_json
from harvester.store.keeping import keep, packed
from harvester.store.queries import query

T = TypeVar("T")

_ENDS_WITH_BODY = (TaskState.REJECTED, TaskState.EXPIRED)

BATCH_ROWS = (64, 16, 4, 1)
"""Rows that one statement inserts: one by one, each would hand the interpreter's lock to and fro. Few sizes, so that
each is prepared once."""

STATEMENT_BYTES = 4 * 1024 * 1024
"""Vectors that one statement stores: SQLite copies what it is given."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of one claimed task. `charged` is false where the answer said nothing about the task.

    `body` is what came, where it could not be understood: it is kept if the task ends by it. `metadata` is what an
    answer without embeddings said about the video.
    """

    task: Task
    decision: Decision
    attempt: Attempt
    settled_at_ms: int
    embeddings: TaskEmbeddings | None = None
    body: bytes | None = None
    encoding: str | None = None
    charged: bool = True
    metadata: VideoMetadata | None = None


def settle(connection: sqlite3.Connection, settlements: Iterable[Settlement]) -> list[bool]:
    """Store each settlement; return for each whether it was accepted. The body of one transaction.

    A stale result (the task was claimed by somebody else since) and a repeated one are not accepted and change nothing.
    """
    return [_settle_one(connection, settlement) for settlement in settlements]


def _settle_one(connection: sqlite3.Connection, settlement: Settlement) -> bool:
    if connection.execute(query("settle"), _task_row(settlement)).rowcount == 0:
        check_changed_by_others(connection, settlement.task, is_due=False)
        return False
    insert_attempt(connection, settlement.task.key, settlement.attempt)
    if settlement.decision.state.is_open and settlement.metadata is not None:
        keep_metadata(connection, settlement.task.key, settlement.metadata, settlement.settled_at_ms)
    if settlement.decision.state is TaskState.HARVESTED and settlement.embeddings is not None:
        _insert_embeddings(connection, settlement, settlement.embeddings)
    if settlement.decision.state in _ENDS_WITH_BODY and settlement.body:
        keep(connection, settlement.task.key, packed(settlement.body, settlement.encoding, settlement.attempt.at_ms))
    return True


def _task_row(settlement: Settlement) -> dict[str, Any]:
    decision, problem = settlement.decision, settlement.decision.problem
    return {
        "id": settlement.task.key,
        "claim": settlement.task.claim,
        "state": decision.state,
        "next_attempt_at": decision.next_attempt_at_ms if decision.state.is_open else 0,
        "scheduled_at": settlement.settled_at_ms,
        "expires_at": decision.expires_at_ms,
        "created_at": decision.created_at_ms,
        "ended_at": None if decision.state.is_open else settlement.settled_at_ms,
        "charged": int(settlement.charged),
        "failures": decision.failures,
        "gone": decision.gone,
        "invalid": decision.invalid,
        "unfinished_at": decision.unfinished_at_ms,
        "doubted_at": decision.doubted_at_ms,
        "api_version": decision.version,
        "other_id": decision.other_id,
        "seen_with": decision.seen_with,
        "error_code": problem.code if problem else None,
        "error_message": problem.message if problem else None,
        "error_at": settlement.settled_at_ms if problem else None,
    }


def keep_metadata(connection: sqlite3.Connection, task_key: int, metadata: VideoMetadata, now_ms: int) -> None:
    """Keep what the API says about the video of an open task; what it leaves out stays as it was."""
    described = {
        "task": task_key,
        "now": now_ms,
        "model_name": metadata.model_name,
        "duration": metadata.duration,
        "input_filename": metadata.input_filename,
        "input_url": metadata.input_url,
    }
    connection.execute(query("keep_listed"), described)


def _insert_embeddings(connection: sqlite3.Connection, settlement: Settlement, embeddings: TaskEmbeddings) -> None:
    key, metadata = settlement.task.key, embeddings.metadata
    if len(embeddings.vectors) != embeddings.count:
        raise ValueError(f"{len(embeddings.vectors)} vectors for {embeddings.count} segments")
    vectors = embeddings.vectors if embeddings.vectors.flags.c_contiguous else embeddings.vectors.copy()
    video, segments = _video(settlement, embeddings, vectors), _segment_columns(embeddings)
    checksum = _content(settlement.task.task_id, video, segments, embeddings).checksum()
    inserted = connection.execute(query("insert_video"), {"task": key, "content_blake2b": checksum, **video})
    if not inserted.rowcount:
        check_stored("videos", 1, len(connection.execute(query("find_video"), {"task": key}).fetchall()))
        return
    scopes = ((key, position, scope) for position, scope in enumerate(metadata.scopes))
    stored = max(0, connection.executemany(query("insert_scope"), scopes).rowcount)
    check_stored("video_scopes", len(metadata.scopes), stored)
    stored = 0
    for rows in _batches(list(zip(repeat(key, embeddings.count), *segments, strict=True))):
        stored += connection.execute(_insert_segments(len(rows)), list(chain.from_iterable(rows))).rowcount
    check_stored("segments", embeddings.count, stored)
    insert = query("insert_embeddings")
    stored = sum(connection.execute(insert, parameters).rowcount for parameters in _embedding_batches(key, vectors))
    check_stored("embeddings", embeddings.count, stored)


def _video(settlement: Settlement, embeddings: TaskEmbeddings, vectors: Matrix) -> dict[str, Any]:
    metadata = embeddings.metadata
    return {
        "model_name": metadata.model_name,
        "duration": metadata.duration,
        "input_filename": metadata.input_filename,
        "input_url": metadata.input_url,
        "video_clip_length": metadata.video_clip_length,
        "created_at": metadata.created_at_ms,
        "updated_at": metadata.updated_at_ms,
        "harvested_at": settlement.settled_at_ms,
        "segment_count": embeddings.count,
        "vectors_crc32": zlib.crc32(vectors.data),
        "document": embeddings.document.decode(),
        "layouts": dump_json(embeddings.layouts).decode(),
    }


def _segment_columns(embeddings: TaskEmbeddings) -> Sequence[Sequence[Any]]:
    extras = {position: dump_json(extra).decode() for position, extra in embeddings.extras.items()}
    positions = range(embeddings.count)
    columns = (embeddings.options, embeddings.scopes, embeddings.starts, embeddings.ends, embeddings.layout_of)
    return (positions, *columns, list(map(extras.get, positions)))


def _content(
    task_id: str, video: dict[str, Any], segments: Sequence[Sequence[Any]], embeddings: TaskEmbeddings
) -> Content:
    count, scopes = embeddings.count, embeddings.metadata.scopes
    return Content(
        task_id,
        video,
        (range(len(scopes)), scopes),
        segments,
        (range(count), [embeddings.dim] * count, [embeddings.dtype] * count),
    )


def _batches(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    first = 0
    for size in BATCH_ROWS:
        while len(rows) - first >= size:
            yield rows[first : first + size]
            first += size


@cache
def _insert_segments(rows: int) -> str:
    head, _, values = query("insert_segment").partition("VALUES")
    return f"{head}VALUES{','.join([values] * rows)}"


def _embedding_batches(key: int, vectors: Matrix) -> Iterator[dict[str, Any]]:
    dim, item_bytes = vectors.shape[1], vectors.dtype.itemsize
    rows = max(1, STATEMENT_BYTES // (dim * item_bytes))
    for first in range(0, len(vectors), rows):
        yield {
            "task": key,
            "first": first,
            "end": first + rows,
            "dim": dim,
            "dtype": f"f{item_bytes}",
            "bytes": dim * item_bytes,
            "vectors": vectors[first : first + rows].data,
        }
