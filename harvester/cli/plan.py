"""`harvester plan`: shows what would happen next, and why."""

import time
from typing import Annotated, Any

import typer

from harvester.app.forecast import read_forecast
from harvester.app.stores import open_insights
from harvester.cli.console import print_json, print_note, print_report
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.cli.options import Strategy as StrategyOption
from harvester.cli.watch_options import Every, Watch, watch_every_s
from harvester.domain.limits.pause import Pause
from harvester.reports.pause_text import RESUME, pause_times
from harvester.reports.plan_json import as_json
from harvester.reports.plan_report import PlanReport
from harvester.reports.plan_text import lines
from harvester.settings.model import Settings, load_settings

Calls = Annotated[
    int, typer.Option("--calls", metavar="N", min=0, max=100, help="How many of the next requests to show.")
]


def plan(  # noqa: PLR0913  # one parameter for each option
    *,
    calls: Calls = 10,
    strategy: StrategyOption = None,
    watch: Watch = False,
    every: Every = None,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Show what would happen next, and why.

    Shows the request budget in force, the due tasks, the next requests with their reasons, the number of requests that
    the queue needs, when the last task will be done, and the tasks at risk. Sends no request and writes nothing.

    Example: harvester plan --strategy status
    """
    every_s = watch_every_s("plan", every, is_watched=watch, as_json=json)
    overrides: dict[str, dict[str, Any]] = {"store": {"path": db}, "harvest": {"strategy": strategy}}
    settings = load_settings(config, overrides).settings
    if every_s is not None:
        from harvester.cli.watch import watch as show_repeatedly  # noqa: PLC0415  # rich, 40 ms

        raise typer.Exit(show_repeatedly(lambda: _lines(*_read_report(settings, calls)), every_s))
    report, pause = _read_report(settings, calls)
    if json:
        print_json(as_json(report, pause))
        return
    for line in _lines(report, pause):
        print_report(line)
    print_note(f"database {settings.store.path}")


def _read_report(settings: Settings, calls: int) -> tuple[PlanReport, Pause | None]:
    """Read one moment of the database, and compute the plan, which does not consider the pause."""
    now_ms = time.time_ns() // 1_000_000
    with open_insights(settings.store.path) as insights:
        return read_forecast(insights, settings, now_ms, calls), insights.pause(now_ms)


def _lines(report: PlanReport, pause: Pause | None) -> list[str]:
    """Return the plan for people; a pause comes first, because --watch cuts the end on a low terminal."""
    if pause is None:
        return list(lines(report))
    return [f"PAUSED {pause_times(pause)}: nothing of this happens before the end; {RESUME}.", "", *lines(report)]
