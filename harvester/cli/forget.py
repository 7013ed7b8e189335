"""`harvester forget`: removes tasks with all that belongs to them."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from harvester.app.stores import open_insights, open_queue_editor
from harvester.cli.console import print_error, print_json, print_note
from harvester.cli.durations import parse_duration_s
from harvester.cli.filter_options import WithLabel, WithState, wanted_labels, wanted_states
from harvester.cli.id_arguments import collect_task_ids
from harvester.cli.options import AsJson, ConfigFile, Database, IdColumn, IdField, IdFile, TaskIds
from harvester.domain.errors import UsageError
from harvester.domain.tasks.task_list import TaskFilter
from harvester.ports.queue_editor import QueueEditor
from harvester.reports.formats import counted
from harvester.settings.model import load_settings

OlderThan = Annotated[
    str | None, typer.Option("--older-than", metavar="TIME", help="Tasks that ended longer ago than this: 12h, 30d.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before tasks are forgotten that were not named.")]

BATCH = 500
"""Tasks in one transaction; those with many segments go into several."""

SHOWN = 10
"""Ids to name of those that stay; --json has them all."""


@dataclass(slots=True)
class _Done:
    """What has been done so far."""

    count: int = 0
    claimed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    before: int = 0


def forget(  # noqa: PLR0913  # one parameter for each option
    ids: TaskIds = None,
    file: IdFile = None,
    column: IdColumn = None,
    field: IdField = None,
    *,
    older_than: OlderThan = None,
    state: WithState = None,
    label: WithLabel = None,
    yes: Yes = False,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Remove tasks with all that belongs to them.

    Removes the named tasks, or all that meet every given condition. Discovery does not queue them again; naming an id
    again does, with add or SQL. A task that a running harvest works on stays.

    Example: harvester forget --state failed,expired --older-than 30d
    """
    now_ms = time.time_ns() // 1_000_000
    age_ms = None if older_than is None else round(parse_duration_s(older_than, "--older-than") * 1000)
    wanted = TaskFilter(
        states=wanted_states(state),
        labels=wanted_labels(label),
        ended_before_ms=None if age_ms is None else now_ms - age_ms,
    )
    given = collect_task_ids(ids, file, column=column, field=field)
    if (given.task_ids is None) == (wanted == TaskFilter()):
        found = "Nothing to forget was named." if given.task_ids is None else "Ids and conditions exclude each other."
        raise UsageError(found, remedy="Give ids, or one or more of --older-than 30d, --state failed, --label show=x.")
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    if given.task_ids is None and not yes:
        _confirm(path, wanted)
    with open_queue_editor(path) as queue:
        batches = _matching(path, wanted) if given.task_ids is None else _named(given.task_ids)
        done = _forget(queue, batches, wanted)
    if json:
        counts = {"forgotten": done.count, "forgotten_before": done.before, "refused": given.refused}
        print_json(counts | {"claimed": done.claimed, "unknown": done.unknown})
    else:
        _print_left(done, path)
        before = f", {done.before} forgotten before" if done.before else ""
        print_note(f"{counted(done.count, 'task')} forgotten{before}: {path}")
    raise typer.Exit(1 if done.claimed or done.unknown or given.refused else 0)


def _confirm(path: Path, wanted: TaskFilter) -> None:
    """Ask in a terminal. Raises UsageError elsewhere, and Exit if the answer is no."""
    with open_insights(path) as insights:
        count = insights.count_tasks(wanted)
    if count.tasks == 0:
        return
    what = counted(count.tasks, "task") + (f", {count.open} of them open" if count.open else "")
    what += f", with {counted(count.segments, 'segment')}" if count.segments else ""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"This would forget {what}.", remedy="Add --yes.")
    if not typer.confirm(f"Forget {what}? This cannot be undone.", err=True):
        print_note("Nothing was forgotten.")
        raise typer.Exit(1)


def _named(task_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (task_ids[first : first + BATCH] for first in range(0, len(task_ids), BATCH))


def _matching(path: Path, wanted: TaskFilter) -> Iterator[Sequence[str]]:
    """Yield the ids of the tasks that match, page by page."""
    after = -(2**63)
    while True:
        with open_insights(path) as insights:
            page = insights.tasks(wanted, after=after, limit=BATCH)
        if not page:
            return
        after = page[-1].key
        yield [task.task_id for task in page]


def _forget(queue: QueueEditor, batches: Iterator[Sequence[str]], wanted: TaskFilter) -> _Done:
    done = _Done()
    for batch in batches:
        left = list(batch)
        while left:
            forgotten = queue.forget(left, time.time_ns() // 1_000_000, wanted)
            done.count += forgotten.count
            done.claimed += forgotten.claimed
            done.unknown += forgotten.unknown
            done.before += len(forgotten.before)
            left = forgotten.left
    return done


def _print_left(done: _Done, path: Path) -> None:
    for task_id in islice(done.claimed, SHOWN):
        print_error(f"{task_id} stays: a running harvest works on it. Forget it later.")
    for task_id in islice(done.unknown, SHOWN):
        print_error(f"The task {task_id} is not in {path}.")
    more = sum(max(0, len(ids) - SHOWN) for ids in (done.claimed, done.unknown))
    if more:
        print_error(f"and {more} more that stay or are unknown.")
