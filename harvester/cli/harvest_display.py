"""Shows a running harvest: a live display on a terminal, plain lines in a pipe, and a summary at the end."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester.cli.console import print_wrapped, printable, stderr_console
from harvester.domain.planning.feasibility import Feasibility
from harvester.domain.tasks.failures import FAILURE_CODES, TASK_FAILED
from harvester.domain.tasks.model_gaps import ModelGaps
from harvester.domain.tasks.queue_reports import UNKNOWN, Ends, Troubled
from harvester.domain.tasks.task import RETENTION_MS, TaskState
from harvester.reports.deadline_warning import deadline_warning
from harvester.reports.error_codes import explain
from harvester.reports.formats import counted, shown_bytes, shown_duration, shown_time
from harvester.reports.model_gaps import shown_gaps
from harvester.service.clock import Clock
from harvester.service.progress import Progress

REFRESH_S = 0.2
PLAIN_EVERY_S = 10.0

_REMEDIES = {
    TaskState.FAILED: "the platform could not embed these; submit them again, or see `harvester show ID`",
    TaskState.EXPIRED: "dropped by the platform after seven days; they must be embedded again",
    TaskState.MISSING: "unknown to the API for this key; check the id and which account the key belongs to",
    TaskState.REJECTED: "see `harvester show ID`; when the cause is removed: `harvester retry --state rejected`",
}


async def show_progress(progress: Progress, clock: Clock) -> None:
    """Show `progress`, whose times are those of `clock`, until cancelled."""
    console = stderr_console()
    if not console.is_terminal:
        await _print_lines(progress, clock)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_picture(progress, clock), refresh=True)
            await anyio.sleep(REFRESH_S)


async def _print_lines(progress: Progress, clock: Clock) -> None:
    while True:
        await anyio.sleep(PLAIN_EVERY_S)
        print(plain_line(progress, clock), file=sys.stderr, flush=True)  # noqa: T201


def plain_line(progress: Progress, clock: Clock) -> str:
    """Return the harvest in one line, for a pipe."""
    return "; ".join([f"{_done(progress)}/{progress.total} ended", _states(progress), *_facts(progress, clock)])


def _picture(progress: Progress, clock: Clock) -> RenderableType:
    head = Table.grid(padding=(0, 2))
    done, total = _done(progress), progress.total
    head.add_row(
        Text("harvesting", style="bold"),
        ProgressBar(total=max(total, 1), completed=done, width=30),
        Text(f"{done}/{total}" if total else ""),
    )
    speed = Text("  ".join(_speed(progress, clock)))
    lines = [
        speed,
        Text(_states(progress) if total else "starting"),
        *(Text(fact) for fact in _outlook(progress, clock)),
    ]
    return Group(head, *lines, *(Text(f"! {text}", style="yellow") for text in _troubles(progress)))


def _done(progress: Progress) -> int:
    return progress.total - progress.open


def _states(progress: Progress) -> str:
    return ", ".join(f"{count} {state}" for state, count in progress.counts.items() if count) or "no tasks"


def _facts(progress: Progress, clock: Clock) -> Iterator[str]:
    yield from _speed(progress, clock)
    yield from _outlook(progress, clock)
    yield from _troubles(progress)


def _speed(progress: Progress, clock: Clock) -> Iterator[str]:
    now = clock.monotonic()
    yield f"{progress.ends_per_s(now):.1f} tasks/s"
    yield shown_bytes(progress.bytes_received)
    eta_s = progress.eta_s(now, clock.wall_ms())
    if eta_s is not None and progress.open:
        yield f"about {shown_duration(eta_s)} left"


def _outlook(progress: Progress, clock: Clock) -> Iterator[str]:
    if progress.is_waiting and progress.open:
        yield _next_look(progress, clock.wall_ms())
    if progress.nearest_deadline_ms is not None:
        left_s = (progress.nearest_deadline_ms - clock.wall_ms()) / 1000
        yield f"nearest deadline {'in ' if left_s >= 0 else ''}{shown_duration(left_s)}"


def _next_look(progress: Progress, now_ms: int) -> str:
    """Return when the harvest asks next, and about how young tasks."""
    due_ms = progress.next_due_ms or 0
    if due_ms <= now_ms:
        return "no request is due yet, `harvester plan` shows what is next"
    tasks, are = counted(progress.open, "task"), "is" if progress.open == 1 else "are"
    left_ms = (progress.nearest_deadline_ms or 0) - now_ms
    minutes = math.ceil((RETENTION_MS - left_ms) / 60_000)
    age = "a minute" if minutes <= 1 else f"{minutes} minutes"
    why = f"{tasks} {are} younger than {age}" if minutes <= 60 else f"{tasks} not finished yet"
    return f"next look in {shown_duration((due_ms - now_ms) / 1000)}: {why}"


def _troubles(progress: Progress) -> Iterator[str]:
    if progress.blocked_until_ms is not None:
        yield f"the API asks to wait: no requests until {shown_time(progress.blocked_until_ms)}"
    for name, text in progress.conditions.items():
        yield printable(f"{name}: {text}")


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a harvest, and the forecast for the open tasks. `why` says what ended it early; None if nothing."""

    progress: Progress
    ends: Sequence[Ends]
    elapsed_s: float
    ahead: Feasibility
    why: str | None = None
    troubled: Troubled | None = None
    held: Mapping[str, int] = field(default_factory=dict)
    """Open tasks that wait for a confirmation, by reason."""
    model_gaps: ModelGaps = field(default_factory=ModelGaps)
    started_ms: int = 0
    """When the harvest began; Unix milliseconds."""
    is_key_refused: bool = False
    """Another run would end the same way; the error that follows the summary has the remedy."""


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """Print to stderr what was harvested, what was not, and what to do about it."""
    console = console or stderr_console()
    for line in _summary_lines(summary):
        print_wrapped(line, console)


def _summary_lines(summary: Summary) -> Iterator[str]:
    progress = summary.progress
    if summary.why:
        yield summary.why
    requests = sum(progress.requests.values())
    if requests == 0 and progress.open == 0:
        yield f"Nothing to do: {_states(progress)}."
    else:
        yield (
            f"Harvested {counted(progress.harvested, 'task')} ({counted(progress.segments, 'segment')}, "
            f"{shown_bytes(progress.bytes_received)}) with {counted(requests, 'request')} "
            f"in {shown_duration(summary.elapsed_s)}."
        )
    for end in summary.ends:
        example = f"{end.example_task_id}: {end.example_message or end.code}"
        yield printable(f"  {end.count} {end.state}: {_remedy(end)} (as {example})")
    yield from _held_lines(summary)
    if progress.stale:
        yield f"  {counted(progress.stale, 'result')} refused: another process has taken the task over."
    if progress.open:
        until_ms = progress.blocked_until_ms
        when = (
            f" after {shown_time(until_ms)}: the API accepts no requests for results before"
            if until_ms is not None
            else ""
        )
        again = "" if summary.is_key_refused else f" Run `harvester backfill` again{when}."
        yield f"  {progress.open} still to do: {_open_states(progress)}.{again}"
    if progress.open and summary.troubled is not None:
        example = f"{summary.troubled.example_task_id}: {summary.troubled.example_message}"
        yield printable(f"  {summary.troubled.count} of these met an error: see `harvester show ID` (as {example})")
    if summary.model_gaps.results:
        yield f"  {shown_gaps(summary.model_gaps)}: see docs/howto/models.md."
    warning = deadline_warning(summary.ahead)
    if warning is not None:
        yield f"  {warning}"


def _remedy(end: Ends) -> str:
    if end.state is not TaskState.FAILED or end.code not in FAILURE_CODES - {TASK_FAILED}:
        return _REMEDIES[end.state]
    remedy = explain(end.code).remedy.rstrip(".")
    return f"the platform could not embed these; {remedy[0].lower()}{remedy[1:]}"


def _held_lines(summary: Summary) -> Iterator[str]:
    """Yield lines about tasks that stay open although the API has no result for them."""
    unknown = summary.held.get(UNKNOWN, 0)
    others = sum(summary.held.values()) - unknown
    if unknown and summary.progress.total == unknown:
        ids = counted(unknown, "id")
        yield f"  The API knows none of these {ids} with this key; they stay open. Check ids and key."
    elif unknown:
        yield f"  The API does not know {counted(unknown, 'id')} with this key so far; they stay open to be confirmed."
    if others:
        yield f"  {counted(others, 'task')} without a result so far; they stay open and are tried ever more rarely."


def _open_states(progress: Progress) -> str:
    return ", ".join(f"{count} {state}" for state, count in progress.counts.items() if count and state.is_open)
