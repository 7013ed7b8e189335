"""`harvester list`: lists tasks."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from harvester.app.stores import open_insights
from harvester.cli.console import print_error, printable
from harvester.cli.filter_options import WithLabel, WithState, wanted_labels, wanted_since_ms, wanted_states, words
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.domain.errors import UsageError
from harvester.domain.tasks.task_list import TaskFilter, TaskLine
from harvester.reports.task_list import WIDTH, as_csv, as_json, as_text, csv_header, cut
from harvester.settings.model import load_settings

Reason = Annotated[
    str | None, typer.Option("--reason", metavar="CODE[,CODE]", help="Only tasks whose last error has these codes.")
]
Model = Annotated[str | None, typer.Option("--model", metavar="MODEL[,MODEL]", help="Only tasks of these models.")]
InputType = Annotated[
    str | None,
    typer.Option("--input-type", metavar="TYPE[,TYPE]", help="Only these media: video, audio, document, image."),
]
Name = Annotated[str | None, typer.Option("--name", metavar="GLOB", help="Only files of this name, such as 'news*'.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only tasks that ended, or were queued and are open, since: 7d, 12h."),
]
OnlyIds = Annotated[bool, typer.Option("--ids", help="Print the ids alone.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV with a header; labels have columns of their own.")]

FIRST = -(2**63)
"""Below every key of a task."""

PAGE = 2_000
"""Tasks that are read at once. Between two pages the database is closed, so that a slow reader delays no writer."""


def list(  # noqa: A001, PLR0913  # the name of the command; one parameter for each option
    *,
    state: WithState = None,
    reason: Reason = None,
    model: Model = None,
    input_type: InputType = None,
    label: WithLabel = None,
    name: Name = None,
    since: Since = None,
    ids: OnlyIds = False,
    json: AsJson = False,
    csv: AsCsv = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """List tasks.

    One line a task, in the order in which they were queued. The options can be combined: a task must meet all of them.

    Example: harvester list --state failed,expired --since 7d
    """
    if ids + json + csv > 1:
        raise UsageError("--ids, --json and --csv exclude each other.", remedy="Give one of them.")
    wanted = TaskFilter(
        states=wanted_states(state),
        reasons=words(reason, "--reason"),
        models=words(model, "--model"),
        input_types=words(input_type, "--input-type"),
        labels=wanted_labels(label),
        name=name,
        since_ms=wanted_since_ms(since, time.time_ns() // 1_000_000),
    )
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    pages = _pages(path, wanted)
    if json:
        count = _write_json(pages)
    elif csv:
        count = _write_csv(path, pages)
    else:
        count = _write_lines(pages, only_ids=ids)
    if count == 0:
        print_error(f"{path} has no tasks." if wanted == TaskFilter() else f"No task in {path} matches.")


def _pages(path: Path, wanted: TaskFilter) -> Iterator[tuple[TaskLine, ...]]:
    after, is_last = FIRST, False
    while not is_last:
        with open_insights(path) as insights:
            page = tuple(insights.tasks(wanted, after=after, limit=PAGE))
        is_last = len(page) < PAGE
        if page:
            after = page[-1].key
            yield page


def _write_lines(pages: Iterator[tuple[TaskLine, ...]], *, only_ids: bool) -> int:
    count = 0
    for page in pages:
        lines = (task.task_id if only_ids else cut(printable(as_text(task)), WIDTH) for task in page)
        _write("".join(f"{printable(line)}\n" for line in lines))
        count += len(page)
    return count


def _write_json(pages: Iterator[tuple[TaskLine, ...]]) -> int:
    """Write one document, a task a line, without having it in memory."""
    count = 0
    for page in pages:
        lines = ",\n".join(as_json(task) for task in page)
        _write((",\n" if count else '{"tasks": [\n') + lines)
        count += len(page)
    _write(f'\n], "count": {count}}}\n' if count else '{"tasks": [], "count": 0}\n')
    return count


def _write_csv(path: Path, pages: Iterator[tuple[TaskLine, ...]]) -> int:
    with open_insights(path) as insights:
        keys = insights.label_keys()
    _write(f"{_shown(csv_header(keys))}\n")
    count = 0
    for page in pages:
        _write("".join(f"{_shown(as_csv(task, keys))}\n" for task in page))
        count += len(page)
    return count


def _shown(record: str) -> str:
    """Return the record unchanged for a pipe or a file, escaped for a terminal."""
    return printable(record) if sys.stdout.isatty() else record


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
