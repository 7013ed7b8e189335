"""The list of tasks as lines of text, JSON and CSV."""

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from harvester.domain.tasks.task import TaskState
from harvester.domain.tasks.task_list import TaskLine

WIDTH = 80
"""Columns of a line of text."""

_ID_WIDTH = 29
"""Columns of the longest usual id, that of an imported file."""

_CUT = "..."

CSV_COLUMNS = (
    *("task_id", "state", "reason", "message", "model_name", "input_type", "input_filename", "input_url", "duration_s"),
    *("segments", "added_at", "ended_at", "expires_at"),
)
"""The columns before those of the labels."""


def as_text(task: TaskLine) -> str:
    """Return one line of at most `WIDTH` columns: id, state, when it ended or was queued, and why or what it is."""
    at_ms = task.added_at_ms if task.ended_at_ms is None else task.ended_at_ms
    id_width = max(24, min(_ID_WIDTH, len(task.task_id)))
    start = f"{cut(task.task_id, id_width):<{id_width}}  {task.state:<9}  {_moment(at_ms)[:16]:<16}  "
    name = task.input_filename or task.input_url or ""
    rest = task.reason or name
    if task.state is TaskState.HARVESTED:
        rest = f"{task.model_name or '-'} {name}"
    return (start + cut(rest.strip(), WIDTH - len(start))).rstrip()


def as_json(task: TaskLine) -> str:
    """Return one line of JSON in ASCII."""
    return json.dumps(
        {
            "task_id": task.task_id,
            "state": task.state,
            "reason": task.reason,
            "message": task.message,
            "model_name": task.model_name,
            "input_type": task.input_type,
            "input_filename": task.input_filename,
            "input_url": task.input_url,
            "duration_s": task.duration_s,
            "segments": task.segments,
            "added_at_ms": task.added_at_ms,
            "ended_at_ms": task.ended_at_ms,
            "expires_at_ms": task.expires_at_ms,
            "labels": dict(task.labels),
        }
    )


def csv_header(label_keys: Iterable[str]) -> str:
    """Return the first line of CSV; the column of a label is `label.KEY`."""
    return _csv_line([*CSV_COLUMNS, *(f"label.{key}" for key in label_keys)])


def as_csv(task: TaskLine, label_keys: Iterable[str]) -> str:
    """Return one record of CSV, which may have several lines."""
    values = (
        *(task.task_id, task.state, task.reason, task.message, task.model_name, task.input_type, task.input_filename),
        *(task.input_url, task.duration_s, task.segments),
        *(None if at is None else _moment(at) for at in (task.added_at_ms, task.ended_at_ms, task.expires_at_ms)),
    )
    return _csv_line([*values, *(task.labels.get(key) for key in label_keys)])


def cut(text: str, columns: int) -> str:
    """Return the beginning of `text` that fits; a character of East Asian writing takes two columns."""
    if _columns(text) <= columns:
        return text
    taken, left = "", columns - len(_CUT)
    for character in text:
        left -= _columns(character)
        if left < 0:
            break
        taken += character
    return taken + _CUT


def _columns(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _moment(unix_ms: int) -> str:
    """Return `2026-05-04T13:02:11Z`; a time that no calendar has as its number."""
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(unix_ms)


def _csv_line(values: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
