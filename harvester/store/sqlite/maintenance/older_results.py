"""Fill in what an older version did not store: columns from the stored JSON and the list, checksum, and warnings."""

import sqlite3
from dataclasses import replace
from typing import Any

from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.models import ModelSource, ResultSigns
from harvester.domain.tasks.task_document import video_metadata
from harvester.ports.maintenance import Covered
from harvester.store.sqlite.content import (
    NEWEST_FORM,
    Columns,
    Content,
    placed,
    read_content,
    vectors_of,
    without_vectors,
)
from harvester.store.sqlite.json_columns import dump_json, load_json
from harvester.store.sqlite.maintenance.older_segments import FilledSegments, fill_in_segments
from harvester.store.sqlite.maintenance.older_warnings import set_checked, warnings_of
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.result_rows import insert_matrix, listed_metadata, numbered, token_columns, video_columns
from harvester.store.sqlite.row_batches import write_rows

BATCH_TASKS = 64
BATCH_SEGMENTS = 8192
"""Segments of a batch: 16 MB of vectors, which take the writer's thread about 20 ms."""

_DAMAGED = (ValueError, TypeError, AttributeError, LookupError)
"""Errors that damaged JSON causes, and values of another type."""


def cover(connection: sqlite3.Connection, after_task: int) -> Covered | None:
    """Fill in results of an older version after that row id; None if there are none. The body of one transaction.

    It skips results whose vectors or checksum are not the received ones, because a checksum must not confirm damage,
    and a damaged result must not be called whole.
    """
    found = connection.execute(query("of_older_version"), {"after": after_task, "limit": BATCH_TASKS}).fetchall()
    if not found:
        return None
    count = segments = last_task = 0
    for task, task_id, segment_count, form, retrieve_options in found:
        count += (_fill_in if form < NEWEST_FORM else _check)(connection, task, task_id, retrieve_options)
        segments, last_task = segments + segment_count, task
        if segments >= BATCH_SEGMENTS:
            break
    return Covered(count, last_task)


def _check(connection: sqlite3.Connection, task: int, task_id: str, retrieve_options: str | None) -> bool:
    """Check a result that has all columns for what it lacks; return False if it is damaged."""
    stored = read_content(connection, task, task_id, without_vectors(connection, task))
    if not stored.is_right:
        return False
    try:
        warnings = warnings_of(stored.content, retrieve_options)
    except _DAMAGED:
        return False
    set_checked(connection, task, warnings)
    return True


def _fill_in(connection: sqlite3.Connection, task: int, task_id: str, retrieve_options: str | None) -> bool:
    """Fill in one result that lacks columns, and check it; return False if it is damaged."""
    stored = read_content(connection, task, task_id, vectors_of(connection, task))
    if not stored.has_right_vectors or stored.is_right is False:
        return False
    content = stored.content
    listed = next(iter(connection.execute(query("listed_for"), {"tasks": dump_json([task]).decode()})), None)
    try:
        segments = fill_in_segments(content)
        filled = _filled(content, segments, listed_metadata(*listed[1:]) if listed is not None else None)
        checksum, warnings = filled.checksum(), warnings_of(filled, retrieve_options)
    except _DAMAGED:
        return False
    connection.execute(query("fill_in_video"), filled.video | {"task": task, "content_blake2b": checksum})
    if not content.scopes[0]:
        write_rows(connection, "insert_scope", _rows(task, filled.scopes))
    write_rows(connection, "insert_option", _rows(task, filled.options))
    write_rows(connection, "insert_tokens", _rows(task, filled.tokens))
    connection.executemany(query("fill_in_segment"), [{"task": task, **row} for row in segments.changed_rows()])
    if segments.uncertainties is not None:
        insert_matrix(connection, "uncertainties", task, segments.uncertain, segments.uncertainties)
    set_checked(connection, task, warnings)
    return True


def _filled(content: Content, segments: FilledSegments, listed: MediaMetadata | None) -> Content:
    """Return the content with all that its JSON and the list say. What is stored already stays."""
    document = load_json(content.video["document"])
    metadata = video_metadata(document if isinstance(document, dict) else {})
    *_, options, scopes = content.segments[:3]
    signs = ResultSigns(options, scopes, content.embeddings[1][0], has_uncertainty=bool(segments.uncertain))
    columns: dict[str, Any] = video_columns(metadata, listed, signs)
    if content.video["model_name"] is not None:
        columns["model_source"] = ModelSource.ANSWER
    video = content.video | {
        name: value if content.video[name] is None else content.video[name] for name, value in columns.items()
    }
    return replace(
        content,
        video=video | {"content_form": NEWEST_FORM},
        scopes=content.scopes if content.scopes[0] else numbered(metadata.scopes),
        options=numbered(metadata.options),
        tokens=token_columns(metadata),
        segments=[*content.segments[:-1], segments.extras],
        places=placed(segments.positions, segments.places),
        uncertainties=segments.uncertainty_columns,
        uncertainties_crc32=segments.uncertainties_crc32,
    )


def _rows(task: int, columns: Columns) -> list[tuple[Any, ...]]:
    return [(task, *row) for row in zip(*columns, strict=True)]
