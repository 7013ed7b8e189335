"""`harvester discover`: queue the tasks of the account."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from harvester.cli.console import print_data, print_error, print_json, print_note
from harvester.cli.durations import parse_duration_s
from harvester.cli.logs import configure_logs
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.domain.errors import UsageError
from harvester.domain.tasks.task import TaskState
from harvester.service.discovery_report import DiscoveryReport
from harvester.service.lifecycle import stopping_on_signals
from harvester.settings.api_key import resolve_api_key
from harvester.settings.model import Settings, load_settings

Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="How far back to look: 90m, 12h, 7d; else discovery.since_days."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the ids that would be queued; write nothing.")]

DAY_S = 24 * 3600
LONGEST_S = 7 * DAY_S


def discover(
    *,
    since: Since = None,
    dry_run: DryRun = False,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Queue every task that the account has made.

    One request lists up to 50 tasks; those that have finished are queued as ready. Known tasks that the list shows as
    finished become ready as well. `harvester run` does this by itself with discovery.enabled.

    Example: harvester discover --since 12h
    """
    loaded = load_settings(config, {"store": {"path": db}})
    settings = loaded.settings
    since_s = settings.discovery.since_days * DAY_S if since is None else _since_s(since)
    key = resolve_api_key(settings, os.environ)
    is_asked = loaded.origins["log.level"] != "default"
    configure_logs(settings.log.level if is_asked else "warning", settings.log.format)
    report, exit_code = anyio.run(partial(_discover, settings, key.reveal, since_s=since_s, dry_run=dry_run))
    if report is None:
        raise typer.Exit(exit_code)
    _print(report, as_json=json, dry_run=dry_run, place=settings.store.path)
    if report.problem is not None:
        print_error(f"{report.problem} Run `harvester discover` again.")
    raise typer.Exit(0 if report.is_complete else 1)


def _since_s(text: str) -> float:
    seconds = parse_duration_s(text, "--since")
    if seconds > LONGEST_S:
        raise UsageError(f"--since {text!a} is too far back.", remedy="Embeddings are kept for seven days: 7d.")
    return seconds


async def _discover(
    settings: Settings, key: Callable[[], str], *, since_s: float, dry_run: bool
) -> tuple[DiscoveryReport | None, int]:
    """Return the report, or None and the exit code after a signal. Raises HarvesterError."""
    # They load aiohttp and numpy, which are not needed to report a missing key.
    from harvester.app.discovery import discover_once  # noqa: PLC0415
    from harvester.app.key_check import key_refused  # noqa: PLC0415

    report = None
    scope = anyio.CancelScope()
    async with stopping_on_signals(scope.cancel) as stop:
        with scope:
            report = await discover_once(settings, key, since_s=since_s, dry_run=dry_run)
    if report is None:
        # Whole pages have been stored, and the next discovery finds the rest.
        print_note(stop.description or "")
    elif report.refusal is not None:
        raise key_refused(report.refusal)
    return report, stop.exit_code or 0


def _print(report: DiscoveryReport, *, as_json: bool, dry_run: bool, place: Path) -> None:
    if as_json:
        ids = {"new_task_ids": report.queued.new_ids} if dry_run else {}
        print_json(_as_json(report) | ids)
        return
    for task_id in report.queued.new_ids if dry_run else ():
        print_data(task_id)
    is_written = not dry_run and place.exists()
    print_note(f"{'; '.join(_facts(report))}: {place if is_written else 'nothing written'}")


def _as_json(report: DiscoveryReport) -> dict[str, Any]:
    queued = report.queued
    return {
        "new": len(queued.new_ids),
        "new_ready": queued.new_states[TaskState.READY],
        "new_failed": queued.new_states[TaskState.FAILED],
        "known": queued.known,
        "known_now_ready": queued.moved[TaskState.READY],
        "known_now_failed": queued.moved[TaskState.FAILED],
        "invalid": report.invalid,
        "requests": report.requests,
        "problem": report.problem,
    }


def _facts(report: DiscoveryReport) -> Iterator[str]:
    queued = report.queued
    new = ", ".join(f"{queued.new_states[state]} {state}" for state in _REPORTED if queued.new_states[state])
    moved = ", ".join(f"{queued.moved[state]} now {state}" for state in _REPORTED if queued.moved[state])
    yield (
        f"{len(queued.new_ids)} new{f' ({new})' if new else ''}, {queued.known} known{f' ({moved})' if moved else ''}"
    )
    if report.invalid:
        yield f"{report.invalid} impossible ids"
    yield f"{report.requests} request{'' if report.requests == 1 else 's'}"


_REPORTED = (TaskState.READY, TaskState.FAILED)
