"""`harvester label`: sets and removes labels of tasks."""

from itertools import islice
from typing import Annotated

import typer

from harvester.app.stores import open_queue_editor
from harvester.cli.console import print_error, print_json, print_note
from harvester.cli.id_arguments import collect_task_ids
from harvester.cli.options import AsJson, ConfigFile, Database, IdColumn, IdField, IdFile
from harvester.domain.errors import UsageError
from harvester.domain.tasks.labels import parse_labels
from harvester.reports.formats import counted
from harvester.settings.model import load_settings

IdsAndLabels = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID|KEY=VALUE", help="Task ids, and their labels.", show_default=False),
]

BATCH = 5_000
"""Tasks in one transaction, so that other programs need not wait long to write."""

SHOWN = 10
"""Unknown ids to name; --json has them all."""


def label(  # noqa: PLR0913  # one parameter for each option
    ids: IdsAndLabels = None,
    file: IdFile = None,
    column: IdColumn = None,
    field: IdField = None,
    *,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Set labels of tasks.

    A label has one value for each key; KEY= removes it. Programs read labels from the view task_labels.

    Example: harvester label 66f537778d9641fe5a0d101f show=news season=3
    """
    words = ids or []
    changes = parse_labels(one for one in words if _is_label(one))
    given = collect_task_ids([one for one in words if not _is_label(one)], file, column=column, field=field)
    if given.task_ids is None or not changes:
        missing = "tasks" if changes else "labels"
        raise UsageError(f"No {missing} were given.", remedy="Write `harvester label ID show=x`; `show=` removes it.")
    path, unknown = load_settings(config, {"store": {"path": db}}).settings.store.path, []
    with open_queue_editor(path) as queue:
        for first in range(0, len(given.task_ids), BATCH):
            unknown += queue.label(given.task_ids[first : first + BATCH], changes)
    labelled = len(given.task_ids) - len(unknown)
    if json:
        print_json({"labelled": labelled, "unknown": unknown, "refused": given.refused})
    else:
        for task_id in islice(unknown, SHOWN):
            print_error(f"The task {task_id} is not in {path}. Queue it: `harvester add {task_id}`.")
        if len(unknown) > SHOWN:
            print_error(f"and {len(unknown) - SHOWN} more that are unknown.")
        print_note(f"{counted(labelled, 'task')} labelled: {path}")
    raise typer.Exit(1 if unknown or given.refused else 0)


def _is_label(word: str) -> bool:
    """Return whether a word is KEY=VALUE; the URL of a task may have '=' as well."""
    return "=" in word and not word.lstrip().startswith(("http://", "https://"))
