"""What the database tells a person: where the queue stands, the story of one task, the API's own JSON back."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvester.domain.errors import StoreError
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.feasibility import Feasibility
from harvester.domain.tasks.embeddings import SegmentRow, rebuild
from harvester.domain.tasks.records import Attempt
from harvester.domain.tasks.task import TaskState
from harvester.reports.deadline_warning import forewarning
from harvester.store.sqlite.counts import Deadline, Troubled, held, nearest_deadline, task_counts
from harvester.store.sqlite.deadlines import deadlines
from harvester.store.sqlite.json_columns import dump_json, load_json
from harvester.store.sqlite.limits import known_blocks
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.write_ahead_log import free_bytes, log_bytes

LAST_ERRORS = 5


@dataclass(frozen=True, slots=True)
class TaskError:
    """The last error of a task. Unix milliseconds."""

    task_id: str
    state: TaskState
    code: str
    message: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The glance at `at_ms`: counts, what is urgent, what went wrong, and how much is stored.

    `deadlines` are those of the open tasks with their number, the nearest first. `file_bytes` includes the write-ahead
    log (`log_bytes`); `free_bytes` are those of its volume.
    """

    at_ms: int
    counts: dict[TaskState, int]
    nearest_deadline: Deadline | None
    deadlines: list[tuple[int, int]]
    oldest_open_task_id: str | None
    oldest_open_added_at_ms: int | None
    last_errors: list[TaskError]
    segments: int
    video_seconds: float
    file_bytes: int
    blocked_until_ms: dict[Endpoint, int]
    held: Troubled | None = None
    """Open tasks whose last answers brought no result; their ends are held back until that is confirmed."""
    log_bytes: int = 0
    free_bytes: int | None = None

    @property
    def open(self) -> int:
        """The number of tasks that have not ended."""
        return sum(count for state, count in self.counts.items() if state.is_open)


@dataclass(frozen=True, slots=True)
class SegmentGroup:
    """The segments of one option and scope."""

    option: str | None
    scope: str | None
    count: int
    start: float | None
    end: float | None
    dim: int
    dtype: str


@dataclass(frozen=True, slots=True)
class TaskDetails:
    """All that is known of one task. `task`, `video`, `listed` and `kept` (of its body) are rows by column name."""

    task: dict[str, Any]
    video: dict[str, Any] | None
    scopes: list[str]
    groups: list[SegmentGroup]
    attempts: list[Attempt]
    listed: dict[str, Any] | None = None
    kept: dict[str, Any] | None = None


def status_report(connection: sqlite3.Connection, path: Path, now_ms: int) -> StatusReport:
    """Return the glance at the database in `path`, which `connection` has open."""
    oldest = connection.execute(query("oldest_open")).fetchone() or (None, None)
    errors = connection.execute(query("last_errors"), {"limit": LAST_ERRORS}).fetchall()
    _, segments, seconds = connection.execute(query("stored_totals")).fetchone()
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
    )


def as_json(report: StatusReport, path: Path, feasibility: Feasibility) -> dict[str, Any]:
    """Return the glance as programs read it, with what the request budget makes of the deadlines."""
    deadline = report.nearest_deadline
    return {
        "tasks": {state.value: count for state, count in report.counts.items()},
        "open": report.open,
        "nearest_deadline": deadline and {"task_id": deadline.task_id, "expires_at_ms": deadline.expires_at_ms},
        "budget": _budget_as_json(feasibility),
        "oldest_open": report.oldest_open_task_id
        and {"task_id": report.oldest_open_task_id, "added_at_ms": report.oldest_open_added_at_ms},
        "held_back": report.held
        and {
            "tasks": report.held.count,
            "task_id": report.held.example_task_id,
            "message": report.held.example_message,
        },
        "last_errors": [
            {
                "task_id": error.task_id,
                "state": error.state.value,
                "code": error.code,
                "message": error.message,
                "at_ms": error.at_ms,
            }
            for error in report.last_errors
        ],
        "stored": {"segments": report.segments, "video_s": report.video_seconds},
        "file": {
            "path": str(path),
            "bytes": report.file_bytes,
            "log_bytes": report.log_bytes,
            "free_bytes": report.free_bytes,
        },
        "throttle": {"blocked_until_ms": {endpoint.value: at for endpoint, at in report.blocked_until_ms.items()}},
    }


def _budget_as_json(feasibility: Feasibility) -> dict[str, Any]:
    return {
        "requests_per_s": feasibility.budget.rate_per_s,
        "needed_requests_per_s": feasibility.needed_per_s,
        "at_risk": feasibility.at_risk,
        "beyond_saving": feasibility.beyond_saving,
        "overdue": feasibility.overdue,
        "first_loss_ms": feasibility.first_loss_ms,
        "finish_ms": feasibility.finish_ms,
        "warning": forewarning(feasibility),
    }


def task_story(connection: sqlite3.Connection, task_id: str) -> TaskDetails | None:
    """Return all that is known of a task; None if it was never queued."""
    task = _row(connection, "find_task", {"task_id": task_id})
    if task is None:
        return None
    of_task = {"task": task["id"]}
    groups = connection.execute(query("segment_groups"), of_task).fetchall()
    return TaskDetails(
        task=task,
        video=_row(connection, "find_video", of_task),
        scopes=[scope for (scope,) in connection.execute(query("video_scopes"), of_task)],
        groups=[SegmentGroup(*group) for group in groups],
        attempts=[Attempt(**attempt) for attempt in _rows(connection, "attempts_of", of_task)],
        listed=_row(connection, "listed_of", of_task),
        kept=_row(connection, "kept_of", of_task),
    )


def rebuild_json(connection: sqlite3.Connection, task_id: str) -> bytes | None:
    """Return the JSON that the API sent, floats to the last digit; None if the task is not harvested.

    Raises StoreError if it is too damaged for that.
    """
    # It takes longer to load than `harvester status`, which needs this module too, takes to answer.
    import numpy as np  # noqa: PLC0415

    task = _row(connection, "find_task", {"task_id": task_id})
    video = _row(connection, "find_video", {"task": task["id"]}) if task else None
    if task is None or video is None:
        return None
    try:
        stored = connection.execute(query("segments_of"), {"task": task["id"]})
        rows = [
            SegmentRow(
                option, scope, start, end, np.frombuffer(vector, f"<{dtype}"), layout, extra and load_json(extra)
            )
            for option, scope, start, end, layout, extra, dtype, vector in stored
        ]
        return dump_json(rebuild(load_json(video["document"]), load_json(video["layouts"]), rows))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        # Of what was stored by this program it can all be read; bits of it have changed since.
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
