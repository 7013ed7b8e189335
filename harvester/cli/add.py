"""`harvester add`: queue task ids."""

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from harvester.app.stores import open_queue_editor
from harvester.cli.console import print_json, print_note
from harvester.cli.id_arguments import Refusals, add_labels, nothing_acceptable
from harvester.cli.id_files import NamedTask, read_tasks
from harvester.cli.options import AsJson, ConfigFile, Database, IdColumn, IdField, IdFile, Retrieve, TaskIds
from harvester.cli.widening import WideningReport
from harvester.domain.errors import UsageError
from harvester.domain.tasks.labels import Labels, parse_labels
from harvester.settings.model import load_settings

GivenLabels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Label these tasks, known ones too; repeatable."),
]

BATCH = 5_000
"""Ids in one transaction. One transaction for a million ids would keep other programs from writing for too long."""


def add(  # noqa: PLR0913  # one parameter for each option
    ids: TaskIds = None,
    file: IdFile = None,
    column: IdColumn = None,
    field: IdField = None,
    *,
    retrieve: Retrieve = None,
    label: GivenLabels = None,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Queue task ids. Known ids stay as they are; lines that cannot be ids are refused one by one.

    --retrieve is kept with the tasks, also with known ones that have not ended, and goes over the setting
    harvest.embedding_options. Harvested tasks whose result lacks some of these options are retrieved again. The other
    columns of a CSV file, or keys of JSON objects, become labels; --label sets one of all tasks, also of known ones.

    Example: harvester add --file ids.txt
    """
    if not ids and file is None and column is None and field is None:
        raise UsageError("No task ids were given.", remedy="Name them, or read them with --file FILE ('-' is stdin).")
    overrides: dict[str, dict[str, Any]] = {"store": {"path": db}, "harvest": {"embedding_options": retrieve}}
    settings = load_settings(config, overrides).settings
    path = settings.store.path
    options = None if retrieve is None else settings.harvest.embedding_options
    refusals, widening = Refusals(keeps_all=json), None if options is None else WideningReport()
    labels = parse_labels(label or ())
    found = refusals.taken_out(read_tasks(ids or (), file, column=column, field=field, with_labels=True))
    first = next(found, None)
    if first is None:
        if json:
            print_json(_document(0, 0, refusals, options, widening))
        raise nothing_acceptable(refusals)
    new, total = _queue(path, itertools.chain([first], found), options, labels, widening)
    refusals.tell(more="" if json else " (see --json)")
    if json:
        print_json(_document(new, total - new, refusals, options, widening))
    else:
        if widening is not None:
            widening.tell()
        print_note(f"{new} new, {total - new} known, {refusals.count} refused: {path}")
    raise typer.Exit(1 if refusals.count else 0)


def _document(
    new: int, known: int, refusals: Refusals, options: tuple[str, ...] | None, widening: WideningReport | None
) -> dict[str, Any]:
    chosen = {} if widening is None else {"retrieve": options, **widening.as_json()}
    lines = [{"file": one.source, "line": one.line, "text": one.text, "reason": one.reason} for one in refusals.kept]
    return {"new": new, "known": known, "refused": refusals.count, "refused_lines": lines} | chosen


def _queue(
    path: Path,
    tasks: Iterator[NamedTask],
    options: tuple[str, ...] | None,
    labels: Labels,
    widening: WideningReport | None,
) -> tuple[int, int]:
    """Queue the tasks, and return how many of them are new, and how many there are."""
    new = total = 0
    with open_queue_editor(path, must_exist=False) as queue:
        while batch := list(itertools.islice(tasks, BATCH)):
            now_ms, task_ids = time.time_ns() // 1_000_000, [one.task_id for one in batch]
            new += queue.add(task_ids, now_ms, options, _labelled(batch, labels))
            if options is not None and widening is not None:
                widening.add(queue.widen(task_ids, options, now_ms))
            total += len(batch)
    return new, total


def _labelled(batch: Iterable[NamedTask], labels: Labels) -> dict[str, Labels]:
    """Return the labels by task id, those of all tasks last."""
    labelled: dict[str, Labels] = {}
    for one in batch:
        add_labels(labelled, one.task_id, {**one.labels, **labels})
    return labelled
