"""`harvester backfill`: harvest now, until every task has ended."""

import os
import time
from typing import Annotated

import anyio
import typer

from harvester.app.stores import open_maintenance, open_queue_editor
from harvester.cli.console import print_error
from harvester.cli.durations import parse_duration_s
from harvester.cli.harvest_process import prepare_process, warn_of_excess, warn_of_sharing
from harvester.cli.id_arguments import collect_task_ids
from harvester.cli.loading import loading
from harvester.cli.logs import configure_logs
from harvester.cli.options import ConfigFile, Database, IdColumn, IdField, IdFile, Retrieve, Strategy, TaskIds
from harvester.cli.widening import WideningReport
from harvester.reports.formats import counted
from harvester.service import signals
from harvester.settings.api_key import resolve_api_key
from harvester.settings.machine import read_limits
from harvester.settings.machine_defaults import fitted, refuse_too_little
from harvester.settings.model import Settings, load_settings

NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Ask about each task once, and leave those that are not ready.")
]
TimeLimit = Annotated[
    str | None, typer.Option("--deadline", metavar="TIME", help="Stop after this time: 90s, 30m, 2h, 1d.")
]


def backfill(  # noqa: PLR0913  # one parameter for each option
    ids: TaskIds = None,
    file: IdFile = None,
    column: IdColumn = None,
    field: IdField = None,
    *,
    no_wait: NoWait = False,
    deadline: TimeLimit = None,
    strategy: Strategy = None,
    retrieve: Retrieve = None,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Harvest now, until each task has ended.

    Harvests the given tasks, or all that are open. --retrieve saves bytes: other options are not downloaded, unless the
    task was added with a choice of its own. Given tasks that are harvested, but without some of these options, are
    retrieved again.

    Ctrl-C finishes and stores the downloads under way; a second one stops at once. Run it again to continue.

    Example: harvester backfill --file ids.txt --deadline 2h
    """
    signals.end_on_hangup()
    prepare_process()
    limits = read_limits()
    refuse_too_little(limits)
    harvest = {"strategy": strategy, "embedding_options": retrieve}
    loaded = fitted(load_settings(config, {"store": {"path": db}, "harvest": harvest}), limits)
    limit_s = parse_duration_s(deadline, "--deadline") if deadline is not None else None
    key = resolve_api_key(loaded.settings, os.environ)
    given = collect_task_ids(ids, file, column=column, field=field)
    # The display shows what happens; the log adds lines only if the user set a level.
    is_asked = loaded.origins["log.level"] != "default"
    configure_logs(loaded.settings.log.level if is_asked else "warning", loaded.settings.log.format)
    warn_of_excess(loaded.settings, limits)
    warn_of_sharing(loaded.settings)
    if given.task_ids is None:
        # Without ids there must be a queue already; a misspelt path would otherwise look like an empty one.
        open_maintenance(loaded.settings.store.path).check_exists()
    again = _ask_again(loaded.settings, given.task_ids) if retrieve is not None else []
    # The HTTP client and numpy take much memory: they are imported only when there is enough.
    with loading():
        from harvester.cli.backfill_job import Job  # noqa: PLC0415

    job = Job(loaded.settings, only=given.task_ids, no_wait=no_wait, limit_s=limit_s)
    exit_code = anyio.run(job.run, key.reveal)
    if again and _tell_unchanged(loaded.settings, again):
        exit_code = exit_code or 1
    raise typer.Exit(exit_code or (1 if given.refused else 0))


def _ask_again(settings: Settings, task_ids: list[str] | None) -> list[str]:
    """Make given harvested tasks ready again whose results lack some of the options to retrieve; return these."""
    if not task_ids or not settings.store.path.exists():
        return []
    widening = WideningReport()
    with open_queue_editor(settings.store.path) as queue:
        widened = queue.widen(task_ids, settings.harvest.embedding_options, time.time_ns() // 1_000_000)
    widening.add(widened)
    widening.tell()
    return widened.asked_again


def _tell_unchanged(settings: Settings, task_ids: list[str]) -> bool:
    """Say which of the tasks that were to be retrieved again hold no more than before; return whether there are any."""
    with open_queue_editor(settings.store.path) as queue:
        left = queue.narrower(task_ids, settings.harvest.embedding_options)
    if left:
        results = counted(len(left), "stored result")
        print_error(f"{results} could not be widened, as that of {left[0]}: `harvester show {left[0]}` says why.")
    return bool(left)
