"""`harvester status`: shows the state of the queue."""

import time
from collections.abc import Iterator, Mapping

import typer

from harvester.app.status import read_status
from harvester.app.stores import open_insights
from harvester.cli.console import print_json, print_note, print_report
from harvester.cli.daemon_conditions import daemon_conditions
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.cli.watch_options import Every, Watch, watch_every_s
from harvester.domain.planning.feasibility import Feasibility
from harvester.domain.tasks.task_reports import StatusReport
from harvester.ports.space import LARGE_LOG_BYTES, LOG_BYTES
from harvester.reports.deadline_warning import deadline_warning, shown_rate
from harvester.reports.formats import counted, shown_bytes, shown_duration, shown_time
from harvester.reports.model_gaps import shown_gaps
from harvester.reports.pause_text import RESUME, pause_times
from harvester.reports.status import as_json
from harvester.settings.model import Settings, load_settings


def status(
    *, watch: Watch = False, every: Every = None, json: AsJson = False, db: Database = None, config: ConfigFile = None
) -> None:
    """Show the state of the queue.

    Shows the counts by state, the next deadline, whether the request budget saves every task, the oldest open task, the
    last errors, and the size of the stored data.

    Example: harvester status --watch
    """
    every_s = watch_every_s("status", every, is_watched=watch, as_json=json)
    settings = load_settings(config, {"store": {"path": db}}).settings
    path = settings.store.path
    if every_s is not None:
        from harvester.cli.watch import watch as show_repeatedly  # noqa: PLC0415  # rich, 40 ms

        raise typer.Exit(show_repeatedly(lambda: _read_lines(settings), every_s))
    if json:
        report, feasibility = _read_report(settings)
        print_json(as_json(report, path, feasibility, daemon_conditions(settings)))
        return
    for line in _read_lines(settings):
        print_report(line)
    print_note(f"database {path}")


def _read_report(settings: Settings) -> tuple[StatusReport, Feasibility]:
    with open_insights(settings.store.path) as insights:
        return read_status(insights, settings, time.time_ns() // 1_000_000)


def _read_lines(settings: Settings) -> list[str]:
    """Return the status for people: of the database, and of the daemon that works on it."""
    report, feasibility = _read_report(settings)
    return list(_lines(report, feasibility, daemon_conditions(settings)))


def _lines(report: StatusReport, feasibility: Feasibility, conditions: Mapping[str, str]) -> Iterator[str]:
    now = time.time()
    yield from _first_lines(report, feasibility, conditions, now)
    yield ""
    for state, count in report.counts.items():
        yield f"{state:10}{count:>10}"
    yield ""
    if report.nearest_deadline is not None:
        at_ms = report.nearest_deadline.expires_at_ms
        left = shown_duration(at_ms / 1000 - now)
        yield f"next deadline  {shown_time(at_ms)} ({left}): {report.nearest_deadline.task_id}"
    rate_per_s = feasibility.budget.rate_per_s
    if feasibility.open_tasks and rate_per_s is not None:
        left = shown_duration((feasibility.finish_ms - report.at_ms) / 1000)
        yield f"budget         {shown_rate(rate_per_s)}: done by {shown_time(feasibility.finish_ms)} ({left})"
    if feasibility.overdue:
        yield f"overdue        {counted(feasibility.overdue, 'open task')} past the deadline"
    if report.held is not None:
        example = f"as {report.held.example_task_id}: {report.held.example_message}"
        yield f"held back      {counted(report.held.count, 'open task')} without a result, to be confirmed ({example})"
    if report.oldest_open_added_at_ms is not None:
        waited = shown_duration(now - report.oldest_open_added_at_ms / 1000)
        yield f"oldest open    queued {waited} ago: {report.oldest_open_task_id}"
    for endpoint, until_ms in report.blocked_until_ms.items():
        yield f"rate limit     the API accepts no {endpoint} requests until {shown_time(until_ms)}"
    yield from _stored(report)
    for error in report.last_errors:
        yield f"last error     {shown_time(error.at_ms)} {error.task_id} ({error.state}): {error.message}"


def _first_lines(
    report: StatusReport, feasibility: Feasibility, conditions: Mapping[str, str], now: float
) -> Iterator[str]:
    """Yield whether a person has to act, whether requests are paused, what the daemon reports, and a warning."""
    yield _verdict(report, now)
    if report.pause is not None:
        yield f"PAUSED {pause_times(report.pause)}: no requests are sent; {RESUME}."
    for name, text in conditions.items():
        if name != "paused" or report.pause is None:
            yield f"The daemon reports {name}: {text}"
    warning = deadline_warning(feasibility)
    if warning is not None:
        yield warning


def _stored(report: StatusReport) -> Iterator[str]:
    """Yield what is stored, with warnings about results and unknown models, and the space that it takes."""
    hours = report.video_seconds / 3600
    size = shown_bytes(report.file_bytes)
    yield f"stored         {report.segments} segments of {hours:.1f} h of video and audio, {size}"
    if report.truncated:
        yield f"truncated      of {counted(report.truncated, 'result')} the model has read only a part of the input"
    if report.incomplete:
        results = counted(report.incomplete, "stored result")
        where = f"`harvester show {report.incomplete_task_id}` says which, `harvester verify` lists all"
        yield f"incomplete     {results} without all parts: {where}"
    if report.filtered:
        results = counted(report.filtered, "stored result")
        yield f"filtered       {results} with only some of the embedding options: `harvester show ID` says which"
    if report.model_gaps.results:
        yield f"models         {shown_gaps(report.model_gaps)}"
    yield from _disk_space(report)


def _disk_space(report: StatusReport) -> Iterator[str]:
    """Yield the length of the write-ahead log, and warnings about it and the free space."""
    free = report.free_bytes
    if report.log_bytes:
        why = "; another program may keep a read transaction open" if report.log_bytes >= LARGE_LOG_BYTES else ""
        yield f"log            {shown_bytes(report.log_bytes)} of that in the write-ahead log{why}"
    if free is not None and free < 4 * LOG_BYTES:
        yield f"space          {shown_bytes(free)} are free: a harvest pauses before the space runs out"


def _verdict(report: StatusReport, now: float) -> str:
    """Return in one line whether a person has to act."""
    lost = sum(count for state, count in report.counts.items() if not state.is_open and state != "harvested")
    total = sum(report.counts.values())
    # Overdue tasks have a line of their own, and hurrying does not help them.
    ahead_ms = next((at_ms for at_ms, _ in report.deadlines if at_ms / 1000 > now), None)
    if total == 0:
        return "The queue is empty: `harvester add --file ids.txt` fills it."
    if ahead_ms is not None and ahead_ms / 1000 - now < 24 * 3600:
        return "URGENT: open tasks reach their deadline within a day. Keep `harvester backfill` running."
    ended = f"{lost} ended otherwise; `harvester show ID` says why" if lost else "none lost"
    if report.open:
        return f"{counted(report.open, 'task')} still to do, {ended}."
    return f"All {total} tasks have ended, {ended}."
