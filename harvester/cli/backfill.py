"""`harvester backfill`: harvest now, until every task has ended."""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from harvester.app.stores import open_maintenance, open_queue_editor
from harvester.cli.console import print_error, print_json
from harvester.cli.durations import parse_duration_s
from harvester.cli.harvest_process import prepare_process, warn_of_excess, warn_of_sharing
from harvester.cli.id_arguments import GivenIds, collect_task_ids
from harvester.cli.loading import loading
from harvester.cli.logs import configure_logs
from harvester.cli.options import (
    AsJson,
    ConfigFile,
    Database,
    IdColumn,
    IdField,
    IdFile,
    Retrieve,
    Strategy,
    TaskIds,
)
from harvester.cli.widening import WideningReport
from harvester.domain.errors import KeyRefusedError
from harvester.domain.tasks.labels import Labels
from harvester.reports.formats import counted
from harvester.service import signals
from harvester.settings.api_key import resolve_api_key
from harvester.settings.machine import read_limits
from harvester.settings.machine_defaults import fitted, refuse_too_little
from harvester.settings.model import Settings, load_settings

if TYPE_CHECKING:
    from harvester.cli.backfill_job import Job

BATCH = 5_000
"""Tasks in one transaction, so that other programs need not wait long to write."""

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
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Harvest now, until each task has ended.

    Harvests the given tasks, or all that are open; labels are taken from a file as with add. --retrieve saves bytes:
    other options are not downloaded, unless the task was added with a choice of its own. Given tasks that are
    harvested, but without some of these options, are retrieved again.

    Exit 0: all of them are harvested; 1: some are open or ended otherwise, now or in an earlier run.
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
    given = collect_task_ids(ids, file, column=column, field=field, with_labels=True)
    # The display shows what happens; the log adds lines only if the user set a level.
    is_asked = loaded.origins["log.level"] != "default"
    configure_logs(loaded.settings.log.level if is_asked else "warning", loaded.settings.log.format)
    warn_of_excess(loaded.settings, limits)
    warn_of_sharing(loaded.settings)
    if given.task_ids is None:
        # Without ids there must be a queue already; a misspelt path would otherwise look like an empty one.
        open_maintenance(loaded.settings.store.path).check_exists()
    _label(loaded.settings, given.labels)
    widening = None if retrieve is None else _ask_again(loaded.settings, given.task_ids)
    # The HTTP client and numpy take much memory: they are imported only when there is enough.
    with loading():
        from harvester.cli.backfill_job import Job  # noqa: PLC0415

    job = Job(loaded.settings, only=given.task_ids, no_wait=no_wait, limit_s=limit_s)
    try:
        exit_code = anyio.run(job.run, key.reveal)
    except KeyRefusedError as error:
        if json:
            _print_document(loaded.settings, job, given, (error.exit_code, job.end), widening)
        raise
    reason = job.end
    if widening is not None:
        widening.unchanged = _tell_unchanged(loaded.settings, widening.asked_again_ids)
        if widening.unchanged and exit_code == 0:
            exit_code, reason = 1, "not_widened"
    if given.refused and exit_code == 0:
        exit_code, reason = 1, "lines_refused"
    if json:
        _print_document(loaded.settings, job, given, (exit_code, reason), widening)
    raise typer.Exit(exit_code)


def _print_document(
    settings: Settings, job: "Job", given: GivenIds, end: tuple[int, str], widening: WideningReport | None
) -> None:
    from harvester.cli.backfill_document import Outcome, as_json  # noqa: PLC0415  # what it imports takes memory

    if job.summary is not None:
        outcome = Outcome(*end)
        widened = {} if widening is None else widening.as_json() | {"not_widened": widening.unchanged}
        print_json(as_json(settings.store.path, job.summary, given.task_ids, given.refused, outcome) | widened)


def _label(settings: Settings, labels: Mapping[str, Labels]) -> None:
    """Queue the tasks that a file labels, with their labels."""
    task_ids = list(labels)
    if not task_ids:
        return
    with open_queue_editor(settings.store.path, must_exist=False) as queue:
        for first in range(0, len(task_ids), BATCH):
            batch = task_ids[first : first + BATCH]
            queue.add(batch, time.time_ns() // 1_000_000, None, {one: labels[one] for one in batch})


def _ask_again(settings: Settings, task_ids: list[str] | None) -> WideningReport:
    """Make given harvested tasks ready again whose results lack some of the options to retrieve."""
    widening = WideningReport()
    if not task_ids or not settings.store.path.exists():
        return widening
    with open_queue_editor(settings.store.path) as queue:
        for first in range(0, len(task_ids), BATCH):
            batch, now_ms = task_ids[first : first + BATCH], time.time_ns() // 1_000_000
            widening.add(queue.widen(batch, settings.harvest.embedding_options, now_ms))
    widening.tell()
    return widening


def _tell_unchanged(settings: Settings, task_ids: list[str]) -> int:
    """Say which of the tasks that were to be retrieved again hold no more than before; return how many."""
    if not task_ids:
        return 0
    with open_queue_editor(settings.store.path) as queue:
        left = queue.narrower(task_ids, settings.harvest.embedding_options)
    if left:
        results = counted(len(left), "stored result")
        print_error(f"{results} could not be widened, as that of {left[0]}: `harvester show {left[0]}` says why.")
    return len(left)
