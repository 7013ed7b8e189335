"""Compare results of an older version with their own descriptions, as this version does before it stores one."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.task_document import video_metadata
from harvester.domain.tasks.wholeness import missing_parts
from harvester.store.sqlite.content import Content
from harvester.store.sqlite.json_columns import dump_json, load_json
from harvester.store.sqlite.queries import query


@dataclass(frozen=True, slots=True)
class _StoredColumns:
    """The columns of a stored result that say what it lacks; pages and chunks of the segments that have any."""

    metadata: MediaMetadata
    options: Sequence[str | None]
    scopes: Sequence[str | None]
    starts: Sequence[float | None]
    ends: Sequence[float | None]
    start_pages: Sequence[int | None]
    end_pages: Sequence[int | None]
    chunk_indexes: Sequence[int | None]


def warnings_of(content: Content, retrieve_options: str | None) -> tuple[str, ...]:
    """Return what a stored result lacks.

    `retrieve_options` is the task's column: options that were not asked for are not missing. The metadata are those
    of the stored document, without what the list adds, as for a result that has just come.

    Raises ValueError, TypeError, AttributeError or LookupError for damaged JSON and for values of another type.
    """
    document = load_json(content.video["document"])
    _, options, scopes, starts, ends, *_ = content.segments
    _, start_pages, end_pages, chunk_indexes, _ = content.places
    columns = _StoredColumns(
        video_metadata(document if isinstance(document, dict) else {}),
        *(options, scopes, starts, ends),
        *(start_pages, end_pages, chunk_indexes),
    )
    return missing_parts(columns, load_json(retrieve_options) if retrieve_options else ())


def set_checked(connection: sqlite3.Connection, task: int, warnings: Sequence[str]) -> None:
    """Store what a result lacks, and that it was checked."""
    found = dump_json(warnings).decode() if warnings else None
    connection.execute(query("set_checked"), {"task": task, "warnings": found})
