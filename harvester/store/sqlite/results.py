"""Store the results of attempts: the task's row and its embeddings change in the same transaction."""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, repeat
from typing import Any

from harvester.domain.tasks.dead_letter import packed
from harvester.domain.tasks.embeddings import Matrix, MediaMetadata, TaskEmbeddings
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import Task, TaskState
from harvester.store.sqlite.attempts import insert_attempts
from harvester.store.sqlite.content import Content
from harvester.store.sqlite.dead_letters import store_payload
from harvester.store.sqlite.foreign_triggers import check_changed_by_others, check_stored
from harvester.store.sqlite.json_columns import dump_json
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.row_batches import write_rows

_ENDS_WITH_BODY = (TaskState.REJECTED, TaskState.EXPIRED)

STATEMENT_BYTES = 4 * 1024 * 1024
"""Bytes of vectors that one statement stores, because SQLite copies its parameters."""

SMALL_BYTES = 128 * 1024
"""Bytes of vectors up to which a result shares its statements with others."""


def settle(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> list[bool]:
    """Store each settlement; return for each whether it was accepted. The body of one transaction.

    A stale result (another process has claimed the task since) and a repeated one are not accepted and change nothing.
    """
    accepted = _accepted(connection, settlements)
    kept = list(compress(settlements, accepted))
    _update_tasks(connection, kept)
    insert_attempts(connection, [(settlement.task.row_id, settlement.attempt) for settlement in kept])
    for settlement in kept:
        _keep_beside(connection, settlement)
    _insert_embeddings(
        connection, [settlement for settlement in kept if settlement.decision.state is TaskState.HARVESTED]
    )
    return accepted


def _accepted(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> list[bool]:
    """Return which settlements are neither stale nor repeated, in the store or in the group."""
    seen = dump_json([(one.task.row_id, one.task.claim) for one in settlements]).decode()
    (found,) = connection.execute(query("settleable"), {"seen": seen}).fetchone()
    places = sorted(map(int, found.split(","))) if found else []
    # The first of several settlements of one task uses up the claim.
    first = {settlements[place].task.row_id: place for place in reversed(places)}
    return [first.get(one.task.row_id) == place for place, one in enumerate(settlements)]


def _update_tasks(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> None:
    updated = write_rows(connection, "settle", [_task_row(one) for one in settlements])
    if updated != len(settlements):
        for one in settlements:
            check_changed_by_others(connection, one.task, is_due=False)
        check_stored("tasks", len(settlements), updated)


def _keep_beside(connection: sqlite3.Connection, settlement: Settlement) -> None:
    if settlement.decision.state.is_open and settlement.metadata is not None:
        keep_metadata(connection, settlement.task, settlement.metadata, settlement.settled_at_ms)
    if settlement.decision.state in _ENDS_WITH_BODY and settlement.body:
        store_payload(
            connection, settlement.task.row_id, packed(settlement.body, settlement.encoding, settlement.attempt.at_ms)
        )


def _task_row(settlement: Settlement) -> tuple[Any, ...]:
    """Return the values of the statement `settle`, in its order."""
    decision, problem = settlement.decision, settlement.decision.problem
    return (
        settlement.task.row_id,
        decision.state,
        decision.next_attempt_at_ms if decision.state.is_open else 0,
        settlement.settled_at_ms,
        decision.expires_at_ms,
        decision.created_at_ms,
        None if decision.state.is_open else settlement.settled_at_ms,
        int(settlement.charged),
        decision.failures,
        decision.gone,
        decision.invalid,
        decision.unfinished_at_ms,
        decision.doubted_at_ms,
        decision.version,
        decision.other_id,
        decision.seen_with,
        *((problem.code, problem.message, settlement.settled_at_ms) if problem else (None, None, None)),
    )


def keep_metadata(connection: sqlite3.Connection, task: Task, metadata: MediaMetadata, now_ms: int) -> bool:
    """Store what the API says about the video of an open task; fields that are None stay unchanged.

    Return False if the task is not open any more.
    """
    described = {
        "task": task.row_id,
        "task_id": task.task_id,
        "now": now_ms,
        "model_name": metadata.model_name,
        "duration": metadata.duration,
        "input_filename": metadata.input_filename,
        "input_url": metadata.input_url,
    }
    return connection.execute(query("store_listed"), described).rowcount > 0


def _insert_embeddings(connection: sqlite3.Connection, settlements: Iterable[Settlement]) -> None:
    """Store results, with the rows of all small ones in few statements. A video that is stored already stays."""
    results = {one.task.row_id: (one, one.embeddings) for one in settlements if one.embeddings is not None}
    keys = dump_json(list(results)).decode()
    for (known,) in connection.execute(query("harvested_before"), {"tasks": keys}).fetchall():
        # A person may have set the state of a harvested task back by hand.
        del results[known]
    videos: list[tuple[Any, ...]] = []
    scopes: list[tuple[Any, ...]] = []
    segments: list[tuple[Any, ...]] = []
    vectors: list[tuple[int, Matrix]] = []
    for key, (settlement, embeddings) in results.items():
        if len(embeddings.vectors) != embeddings.count:
            raise ValueError(f"{len(embeddings.vectors)} vectors for {embeddings.count} segments")
        matrix = embeddings.vectors if embeddings.vectors.flags.c_contiguous else embeddings.vectors.copy()
        columns, video = _segment_columns(embeddings), _video(settlement, embeddings, matrix)
        checksum = _content(settlement.task.task_id, video, columns, embeddings).checksum()
        videos.append((key, *video.values(), checksum))
        scopes += ((key, position, scope) for position, scope in enumerate(embeddings.metadata.scopes))
        segments += zip(repeat(key, embeddings.count), *columns, strict=True)
        vectors.append((key, matrix))
    check_stored("videos", len(videos), write_rows(connection, "insert_video", videos))
    check_stored("video_scopes", len(scopes), write_rows(connection, "insert_scope", scopes))
    check_stored("segments", len(segments), write_rows(connection, "insert_segment", segments))
    _insert_vectors(connection, vectors)


def _insert_vectors(connection: sqlite3.Connection, vectors: Iterable[tuple[int, Matrix]]) -> None:
    small: list[tuple[Any, ...]] = []
    for key, matrix in vectors:
        dtype = f"f{matrix.dtype.itemsize}"
        if matrix.nbytes <= SMALL_BYTES:
            small += ((key, position, matrix.shape[1], dtype, row.data) for position, row in enumerate(matrix))
            continue
        inserted = (connection.execute(query("insert_embeddings"), batch) for batch in _embedding_batches(key, matrix))
        check_stored("embeddings", len(matrix), sum(cursor.rowcount for cursor in inserted))
    check_stored("embeddings", len(small), write_rows(connection, "insert_embedding", small))


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
