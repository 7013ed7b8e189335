"""`harvester expedite`: puts tasks before all others."""

from itertools import islice

import typer

from harvester.app.stores import open_queue_editor
from harvester.cli.console import print_error, print_json, print_note
from harvester.cli.id_arguments import collect_task_ids
from harvester.cli.options import AsJson, ConfigFile, Database, IdColumn, IdField, IdFile, TaskIds
from harvester.domain.errors import UsageError
from harvester.domain.tasks.task import TaskState
from harvester.ports.queue_editor import Expedited
from harvester.reports.formats import counted
from harvester.settings.model import load_settings

BATCH = 5_000
"""Tasks in one transaction, so that other programs need not wait long to write."""

SHOWN = 10
"""Ids to name of those that stay as they are; --json has them all."""


def expedite(  # noqa: PLR0913  # one parameter for each option
    ids: TaskIds = None,
    file: IdFile = None,
    column: IdColumn = None,
    field: IdField = None,
    *,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Ask about tasks before all others.

    The next requests of each process on the database are for these tasks, whatever they were waiting for. Afterwards
    they are tasks like the others. Tasks whose end waits for a confirmation keep waiting.

    Example: harvester expedite 66f537778d9641fe5a0d101f
    """
    given = collect_task_ids(ids, file, column=column, field=field)
    if given.task_ids is None:
        raise UsageError("No tasks were given.", remedy="Write `harvester expedite ID`, or give --file FILE.")
    path, done = load_settings(config, {"store": {"path": db}}).settings.store.path, Expedited(0, [], {})
    with open_queue_editor(path) as queue:
        for first in range(0, len(given.task_ids), BATCH):
            part = queue.expedite(given.task_ids[first : first + BATCH])
            done = Expedited(done.count + part.count, done.held + part.held, done.left | part.left)
    if json:
        print_json({"expedited": done.count, "held_back": done.held, "left": done.left, "refused": given.refused})
    else:
        _tell(done)
        print_note(f"{counted(done.count, 'task')} put first: {path}")
    raise typer.Exit(1 if done.held or done.left or given.refused else 0)


def _tell(done: Expedited) -> None:
    sentences = [f"{task_id} keeps waiting: a second denial too soon would confirm nothing." for task_id in done.held]
    sentences += [f"{task_id} stays as it is: {_why(task_id, state)}" for task_id, state in done.left.items()]
    for sentence in islice(sentences, SHOWN):
        print_error(sentence)
    if len(sentences) > SHOWN:
        print_error(f"and {len(sentences) - SHOWN} more that were not put first.")


def _why(task_id: str, state: TaskState | None) -> str:
    if state is None:
        return f"the database has no such task. Queue it: `harvester add {task_id}`."
    if state is TaskState.HARVESTED:
        return "it is harvested."
    return f"it is {state}. Ask again: `harvester retry {task_id}`."
