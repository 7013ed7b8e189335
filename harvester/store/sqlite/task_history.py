"""Read the reports for users: the status, the details of one task, and the API's JSON of one result."""

import sqlite3
from pathlib import Path
from typing import Any

from harvester.domain.errors import StoreError
from harvester.domain.tasks.embeddings import rebuild
from harvester.domain.tasks.records import Attempt
from harvester.domain.tasks.task import TaskState
from harvester.domain.tasks.task_reports import SegmentGroup, StatusReport, TaskDetails, TaskError
from harvester.store.sqlite.counts import held, model_gaps, nearest_deadline, task_counts
from harvester.store.sqlite.deadlines import deadlines
from harvester.store.sqlite.json_columns import dump_json, load_json
from harvester.store.sqlite.labels import labels_of
from harvester.store.sqlite.limits import known_blocks
from harvester.store.sqlite.pausing import current_pause
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.write_ahead_log import free_bytes, log_bytes

LAST_ERRORS = 5


def status_report(connection: sqlite3.Connection, path: Path, now_ms: int) -> StatusReport:
    """Return the status of the database at `path`, which `connection` has open."""
    oldest = connection.execute(query("oldest_open")).fetchone() or (None, None)
    errors = connection.execute(query("last_errors"), {"limit": LAST_ERRORS}).fetchall()
    _, segments, seconds = connection.execute(query("stored_totals")).fetchone()
    incomplete, example = connection.execute(query("count_incomplete")).fetchone()
    return StatusReport(
        at_ms=now_ms,
        counts=task_counts(connection),
        nearest_deadline=nearest_deadline(connection),
        deadlines=deadlines(connection, now_ms),
        oldest_open_task_id=oldest[0],
        oldest_open_added_at_ms=oldest[1],
        last_errors=[TaskError(row[0], TaskState(row[1]), row[2], row[3], row[4]) for row in errors],
        segments=segments,
        video_seconds=seconds,
        file_bytes=_size(path) + log_bytes(path),
        blocked_until_ms=known_blocks(connection, now_ms),
        held=held(connection),
        log_bytes=log_bytes(path),
        free_bytes=free_bytes(path),
        truncated=connection.execute(query("count_truncated")).fetchone()[0],
        incomplete=incomplete,
        incomplete_task_id=example,
        filtered=connection.execute(query("count_filtered")).fetchone()[0],
        model_gaps=model_gaps(connection),
        pause=current_pause(connection, now_ms),
    )


def task_details(connection: sqlite3.Connection, task_id: str) -> TaskDetails | None:
    """Return the details of a task; None if it was never queued."""
    task = _row(connection, "find_task", {"task_id": task_id})
    if task is None:
        return None
    of_task = {"task": task["id"]}
    video = _row(connection, "find_video", of_task)
    groups = connection.execute(query("segment_groups"), of_task).fetchall()
    return TaskDetails(
        task=task,
        video=video,
        scopes=[scope for (scope,) in connection.execute(query("video_scopes"), of_task)],
        groups=[SegmentGroup(*group) for group in groups],
        attempts=[Attempt(**attempt) for attempt in _rows(connection, "attempts_of", of_task)],
        listed=_row(connection, "listed_of", of_task),
        kept=_row(connection, "payload_of", of_task),
        options=[option for _, option in connection.execute(query("content_options"), of_task)],
        tokens=dict(connection.execute(query("content_tokens"), of_task).fetchall()),
        warnings=[] if video is None or video["warnings"] is None else load_json(video["warnings"]),
        retrieve_options=None if task["retrieve_options"] is None else tuple(load_json(task["retrieve_options"])),
        labels=labels_of(connection, task["id"]),
    )


def rebuild_json(connection: sqlite3.Connection, task_id: str) -> bytes | None:
    """Return the JSON that the API sent, floats to the last digit; None if the task is not harvested.

    Raises StoreError if it is too damaged for that.
    """
    # `harvester status` needs this module, and loading numpy takes longer than the whole command.
    from harvester.store.sqlite.segment_rows import segment_rows  # noqa: PLC0415

    task = _row(connection, "find_task", {"task_id": task_id})
    video = _row(connection, "find_video", {"task": task["id"]}) if task else None
    if task is None or video is None:
        return None
    try:
        rows = list(segment_rows(connection, task["id"]))
        return dump_json(rebuild(load_json(video["document"]), load_json(video["layouts"]), rows))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        # This program stores only readable values, so the file was damaged later.
        raise StoreError(
            f"What is stored of the task {task_id} is damaged: {str(error)!a}.",
            remedy="Run `harvester verify --deep --repair`.",
        ) from error


def _row(connection: sqlite3.Connection, name: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
    return next(iter(_rows(connection, name, parameters)), None)


def _rows(connection: sqlite3.Connection, name: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    cursor = connection.execute(query(name), parameters)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
