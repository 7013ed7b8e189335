"""`harvester add`: queue task ids."""

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import typer

from harvester.cli.console import print_json
from harvester.cli.id_arguments import Refusals, nothing_acceptable
from harvester.cli.id_files import read_task_ids
from harvester.cli.options import AsJson, ConfigFile, Database, IdColumn, IdField, IdFile, TaskIds
from harvester.domain.errors import UsageError
from harvester.settings.model import load_settings
from harvester.store.sqlite.connection import in_transaction, open_for_writing, translating_errors
from harvester.store.sqlite.queue import add as add_tasks

BATCH = 5_000
"""Ids in one transaction. One transaction for a million ids would keep other programs from writing for too long."""


def add(  # noqa: PLR0913  # one parameter for each option
    ids: TaskIds = None,
    file: IdFile = None,
    column: IdColumn = None,
    field: IdField = None,
    *,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Queue task ids. Known ids stay as they are; lines that cannot be ids are refused one by one.

    Example: harvester add --file ids.txt
    """
    if not ids and file is None and column is None and field is None:
        raise UsageError("No task ids were given.", remedy="Name them, or read them with --file FILE ('-' is stdin).")
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    refusals = Refusals()
    found = refusals.taken_out(read_task_ids(ids or (), file, column=column, field=field))
    first = next(found, None)
    if first is None:
        raise nothing_acceptable(refusals.count)
    new, total = _queue(path, itertools.chain([first], found))
    if json:
        print_json({"new": new, "known": total - new, "refused": refusals.count})
    else:
        typer.echo(f"{new} new, {total - new} known, {refusals.count} refused: {path}", err=True)
    raise typer.Exit(1 if refusals.count else 0)


def _queue(path: Path, task_ids: Iterator[str]) -> tuple[int, int]:
    new = total = 0
    with translating_errors(path), closing(open_for_writing(path)) as connection:
        while batch := list(itertools.islice(task_ids, BATCH)):
            now_ms = time.time_ns() // 1_000_000
            new += in_transaction(connection, lambda connection: add_tasks(connection, batch, now_ms))  # noqa: B023
            total += len(batch)
    return new, total
