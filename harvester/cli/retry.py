"""`harvester retry`: puts ended tasks back to pending, or decodes kept bodies again."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from harvester.app.stores import open_insights, open_queue_editor
from harvester.cli.console import print_error, print_json, print_note
from harvester.cli.id_arguments import GivenIds, collect_task_ids
from harvester.cli.options import AsJson, ConfigFile, Database, IdColumn, IdField, IdFile, Retrieve, TaskIds
from harvester.cli.widening import WideningReport
from harvester.domain.errors import UsageError
from harvester.domain.tasks.dead_letter import DeadLetter
from harvester.domain.tasks.task import END_STATES, TaskState
from harvester.ports.queue_editor import QueueEditor, Widened
from harvester.reports.formats import counted
from harvester.settings.model import Settings, load_settings

States = Annotated[
    str | None,
    typer.Option("--state", metavar="STATE[,STATE]", help="All tasks in these: failed, expired, missing, rejected."),
]
FromKept = Annotated[
    bool,
    typer.Option(
        "--from-kept", help="Decode kept bodies again, of these tasks or of all, without a request to the API."
    ),
]

SHOWN = 10
"""Ids to name of those that stay as they are; --json has them all."""


def retry(  # noqa: PLR0913  # one parameter for each option
    ids: TaskIds = None,
    file: IdFile = None,
    column: IdColumn = None,
    field: IdField = None,
    *,
    state: States = None,
    from_kept: FromKept = False,
    retrieve: Retrieve = None,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Put ended tasks back to pending.

    Harvested tasks stay as they are: nothing undoes a harvest. --retrieve is kept with the tasks, as with add; named
    harvested tasks whose result lacks some of these options are retrieved again. Exit 1 if an id is unknown.

    With --from-kept no request is sent: kept bodies are decoded again, for example after an upgrade that understands
    them. Tasks whose body can be stored now are harvested, without a key; exit 1 if any cannot.

    Example: harvester retry --state rejected,missing
    """
    states = _states(state) if state is not None else []
    given = collect_task_ids(ids, file, column=column, field=field)
    if given.task_ids is None and not states and not from_kept:
        raise UsageError("Nothing to retry was named.", remedy="Give ids, --file FILE or --state failed,missing.")
    if retrieve is not None and from_kept:
        raise UsageError("--retrieve needs a request, and --from-kept sends none.", remedy="Give one of them.")
    overrides: dict[str, dict[str, Any]] = {"store": {"path": db}, "harvest": {"embedding_options": retrieve}}
    settings = load_settings(config, overrides).settings
    options = None if retrieve is None else settings.harvest.embedding_options
    with open_queue_editor(settings.store.path) as queue:
        if from_kept:
            is_done = _harvest_kept(queue, given, states, settings, json=json)
        else:
            is_done = _put_back(queue, given, states, options, json=json)
    raise typer.Exit(0 if is_done and not given.refused else 1)


def _put_back(
    queue: QueueEditor, given: GivenIds, states: list[TaskState], options: tuple[str, ...] | None, *, json: bool
) -> bool:
    done = queue.put_back(given.task_ids or [], states, options)
    count, left = done.count, done.left
    are_known = None not in left.values()
    # Without the tasks that have just become pending: those have no result.
    widened = Widened() if options is None else queue.widen(list(left), options, time.time_ns() // 1_000_000)
    widening = WideningReport()
    widening.add(widened)
    for task_id in widened.asked_again:
        del left[task_id]
    if json:
        chosen = {} if options is None else widening.as_json()
        print_json({"pending_again": count, "left": left, "refused": given.refused} | chosen)
    else:
        widening.tell()
        for task_id in (*widened.contained, *widened.past_deadline):
            del left[task_id]
        for task_id, state in islice(left.items(), SHOWN):
            print_error(f"{task_id} stays as it is: {f'it is {state}' if state else 'the database has no such task'}.")
        if len(left) > SHOWN:
            print_error(f"and {len(left) - SHOWN} more that are open, harvested or unknown.")
        print_note(f"{counted(count, 'task')} pending again.")
    return are_known


def _harvest_kept(
    queue: QueueEditor, given: GivenIds, states: list[TaskState], settings: Settings, *, json: bool
) -> bool:
    """Print the result for each task, and return whether all are harvested."""
    from harvester.service.replay import replay_dead_letter  # noqa: PLC0415  # numpy, for --from-kept only

    harvested, left = [], []
    for dead_letter in _chosen(queue.dead_letters(), given, states):
        if isinstance(dead_letter, str):
            if not _is_harvested(settings.store.path, dead_letter):
                left.append({"task_id": dead_letter, "problem": "No body is kept, or the task has not ended."})
            continue
        reread = replay_dead_letter(
            queue, dead_letter, max_body_bytes=settings.api.max_body_bytes, now_ms=time.time_ns() // 1_000_000
        )
        _warn_of_another_id(reread.task_id, reread.received_id)
        if reread.problem is None:
            harvested.append(reread.task_id)
        else:
            left.append({"task_id": reread.task_id, "problem": reread.problem})
    if json:
        print_json({"harvested": harvested, "left": left, "refused": given.refused})
    else:
        for one in left:
            print_error(f"{one['task_id']} stays as it is: {one['problem']}")
        if not harvested and not left:
            print_error("No body is kept: there is nothing to decode.")
        print_note(f"{counted(len(harvested), 'task')} harvested from kept bodies, {len(left)} not.")
    return not left


def _is_harvested(path: Path, task_id: str) -> bool:
    """Return whether the task has its result already, for example from an earlier run of the same command."""
    with open_insights(path) as insights:
        details = insights.task(task_id)
    return details is not None and details.task["state"] == TaskState.HARVESTED


def _chosen(kept: list[DeadLetter], given: GivenIds, states: list[TaskState]) -> Iterator[DeadLetter | str]:
    """Yield the kept bodies that were named by id or by state, or all; for an id without a kept body yield the id."""
    if given.task_ids is None and not states:
        yield from kept
        return
    named = dict.fromkeys(given.task_ids or ())
    for dead_letter in kept:
        if dead_letter.task_id in named or dead_letter.state in states:
            named.pop(dead_letter.task_id, None)
            yield dead_letter
    yield from named


def _warn_of_another_id(task_id: str, received_id: str | None) -> None:
    if received_id not in (None, task_id):
        print_error(f"the body of {task_id} names another id: {received_id}")


def _states(text: str) -> list[TaskState]:
    possible = [state for state in TaskState if state in END_STATES and state is not TaskState.HARVESTED]
    wanted = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in wanted or [text]:
        if name not in possible:
            raise UsageError(f"--state {name!a} cannot be retried.", remedy=f"Choose from {', '.join(possible)}.")
    return [TaskState(name) for name in wanted]
