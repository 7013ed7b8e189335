"""`harvester backfill`: harvest now, until every task has ended."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from harvester.cli.options import ConfigFile, Database, IdColumn, IdField, IdFile, Strategy, TaskIds
from harvester.service import signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from harvester.app import Harvest
    from harvester.cli.harvest_display import Summary
    from harvester.settings.model import Settings

NoWait = Annotated[bool, typer.Option("--no-wait", help="Ask about each task once, and leave what is not ready.")]
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
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Harvest now, until each task has ended.

    Takes the given tasks, or all that are open.

    Ctrl-C finishes and stores what is being downloaded; a second one stops at once. Run it again to go on.

    Example: harvester backfill --file ids.txt --deadline 2h
    """
    import anyio  # noqa: PLC0415

    from harvester.cli.durations import parse_duration_s  # noqa: PLC0415
    from harvester.cli.harvest_process import prepare_process, warn_of_excess  # noqa: PLC0415
    from harvester.cli.id_arguments import collect_task_ids  # noqa: PLC0415
    from harvester.cli.logs import configure_logs  # noqa: PLC0415
    from harvester.settings.api_key import resolve_api_key  # noqa: PLC0415
    from harvester.settings.machine import read_limits  # noqa: PLC0415
    from harvester.settings.machine_defaults import fitted, refuse_too_little  # noqa: PLC0415
    from harvester.settings.model import load_settings  # noqa: PLC0415
    from harvester.store.sqlite.connection import check_exists  # noqa: PLC0415

    signals.end_on_hangup()
    prepare_process()
    limits = read_limits()
    refuse_too_little(limits)
    loaded = fitted(load_settings(config, {"store": {"path": db}, "harvest": {"strategy": strategy}}), limits)
    limit_s = parse_duration_s(deadline, "--deadline") if deadline is not None else None
    key = resolve_api_key(loaded.settings, os.environ)
    given = collect_task_ids(ids, file, column=column, field=field)
    # The display tells what happens; the log adds to it only what somebody asked for.
    is_asked = loaded.origins["log.level"] != "default"
    configure_logs(loaded.settings.log.level if is_asked else "warning", loaded.settings.log.format)
    warn_of_excess(loaded.settings, limits)
    if given.task_ids is None:
        # Without ids there must be a queue already; a misspelt path would otherwise look like an empty one.
        check_exists(loaded.settings.store.path)
    job = Job(loaded.settings, only=given.task_ids, no_wait=no_wait, limit_s=limit_s)
    exit_code = anyio.run(job.run, key.reveal)
    raise typer.Exit(exit_code or (1 if given.refused else 0))


class Job:
    """One backfill, from opening the database to its summary."""

    def __init__(self, settings: "Settings", *, only: list[str] | None, no_wait: bool, limit_s: float | None) -> None:
        self._settings = settings
        self._only = only
        self._no_wait = no_wait
        self._limit_s = limit_s
        self._is_over_time = False

    async def run(self, key: "Callable[[], str]") -> int:
        """Harvest, show it, print the summary, and return the exit code. Raises HarvesterError."""
        import anyio  # noqa: PLC0415

        from harvester.app import open_harvest  # noqa: PLC0415
        from harvester.cli.harvest_display import print_summary, show_progress  # noqa: PLC0415
        from harvester.service.lifecycle import stopping_on_signals  # noqa: PLC0415
        from harvester.service.scheduler import Until  # noqa: PLC0415

        until = Until.ASKED if self._no_wait else Until.ENDED
        async with open_harvest(self._settings, key, until=until, only=self._only) as harvest:
            started_ms = harvest.clock.wall_ms()
            async with stopping_on_signals(lambda: self._drain(harvest)) as stop, anyio.create_task_group() as group:
                group.start_soon(show_progress, harvest.progress, harvest.clock, name="display")
                if self._limit_s is not None:
                    group.start_soon(self._stop_in_time, harvest, self._limit_s, name="deadline")
                await harvest.scheduler.run()
                group.cancel_scope.cancel()
            summary = await self._summary(harvest, started_ms, stop.description)
            print_summary(summary)
        harvest.raise_if_refused()
        if stop.exit_code is not None:
            return stop.exit_code
        return 0 if harvest.progress.open == 0 and not summary.ends else 1

    async def _stop_in_time(self, harvest: "Harvest", limit_s: float) -> None:
        import anyio  # noqa: PLC0415

        await anyio.sleep(limit_s)
        self._is_over_time = True
        harvest.scheduler.stop()

    def _drain(self, harvest: "Harvest") -> None:
        harvest.scheduler.stop()
        if harvest.progress.in_flight:
            grace_s = self._settings.harvest.grace_s
            note = f"Finishing {harvest.progress.in_flight} under way, {grace_s:g} s at most; again to stop at once."
            # Over a live display this is printed above it.
            print(note, file=sys.stderr, flush=True)  # noqa: T201

    async def _summary(self, harvest: "Harvest", started_ms: int, why: str | None) -> "Summary":
        from harvester.cli.harvest_display import Summary  # noqa: PLC0415
        from harvester.service.deadline_monitor import foresee  # noqa: PLC0415
        from harvester.store.sqlite.counts import EVEN_DUE_MS  # noqa: PLC0415

        if self._is_over_time:
            why = why or "The time is up."
        elapsed_s = harvest.clock.monotonic() - harvest.progress.started
        # The clock may have been corrected since the start: what ended before and after that both counts.
        started_ms = min(started_ms, harvest.clock.wall_ms() - round(elapsed_s * 1000))
        return Summary(
            harvest.progress,
            await harvest.store.ends(started_ms if self._only is None else 0),
            elapsed_s,
            await foresee(harvest.store, harvest.throttle, harvest.clock.wall_ms()),
            why,
            await harvest.store.troubled(started_ms),
            await harvest.store.held_by_reason(EVEN_DUE_MS),
        )
