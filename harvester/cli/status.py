"""`harvester status`: the glance."""

import time
from typing import TYPE_CHECKING, Any

import typer

from harvester.cli.options import AsJson, ConfigFile, Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harvester.store.reading import StatusReport


def status(*, json: AsJson = False, db: Database = None, config: ConfigFile = None) -> None:
    """Show where the queue stands.

    Counts by state, the next deadline, the oldest open task, the last errors, and how much is stored.

    Example: harvester status --json
    """
    from contextlib import closing  # noqa: PLC0415

    from harvester.cli.console import print_data, print_json  # noqa: PLC0415
    from harvester.config import load_settings  # noqa: PLC0415
    from harvester.store.connecting import open_for_reading, translating_errors  # noqa: PLC0415
    from harvester.store.reading import status_report  # noqa: PLC0415

    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    with translating_errors(path), closing(open_for_reading(path)) as connection:
        report = status_report(connection, path)
    if json:
        print_json(_as_json(report, str(path)))
        return
    for line in _lines(report):
        print_data(line)
    typer.echo(f"database {path}", err=True)


def _as_json(report: "StatusReport", path: str) -> dict[str, Any]:
    deadline = report.nearest_deadline
    return {
        "tasks": {state.value: count for state, count in report.counts.items()},
        "open": _open(report),
        "nearest_deadline": deadline and {"task_id": deadline.task_id, "expires_at_ms": deadline.expires_at_ms},
        "oldest_open": report.oldest_open_task_id
        and {"task_id": report.oldest_open_task_id, "added_at_ms": report.oldest_open_added_at_ms},
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
        "file": {"path": path, "bytes": report.file_bytes},
    }


def _lines(report: "StatusReport") -> "Iterator[str]":
    from harvester.cli.formats import shown_bytes, shown_duration, shown_time  # noqa: PLC0415

    now = time.time()
    yield _verdict(report, now)
    yield ""
    for state, count in report.counts.items():
        yield f"{state:10}{count:>10}"
    yield ""
    if report.nearest_deadline is not None:
        at_ms = report.nearest_deadline.expires_at_ms
        left = shown_duration(at_ms / 1000 - now)
        yield f"next deadline  {shown_time(at_ms)} ({left}): {report.nearest_deadline.task_id}"
    if report.oldest_open_added_at_ms is not None:
        waited = shown_duration(now - report.oldest_open_added_at_ms / 1000)
        yield f"oldest open    queued {waited} ago: {report.oldest_open_task_id}"
    hours = report.video_seconds / 3600
    yield f"stored         {report.segments} segments of {hours:.1f} h of video, {shown_bytes(report.file_bytes)}"
    for error in report.last_errors:
        yield f"last error     {shown_time(error.at_ms)} {error.task_id} ({error.state}): {error.message}"


def _verdict(report: "StatusReport", now: float) -> str:
    """Say in one line whether somebody has to do something."""
    lost = sum(count for state, count in report.counts.items() if not state.is_open and state != "harvested")
    total = sum(report.counts.values())
    deadline = report.nearest_deadline
    if total == 0:
        return "The queue is empty: `harvester add --file ids.txt` fills it."
    if deadline is not None and deadline.expires_at_ms / 1000 - now < 24 * 3600:
        return "URGENT: open tasks reach their deadline within a day. Keep `harvester backfill` running."
    ended = f"{lost} ended otherwise; `harvester show ID` says why" if lost else "none lost"
    if _open(report):
        return f"{_open(report)} tasks still to do, {ended}."
    return f"All {total} tasks have ended, {ended}."


def _open(report: "StatusReport") -> int:
    return sum(count for state, count in report.counts.items() if state.is_open)
