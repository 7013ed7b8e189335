"""`harvester plan`: shows what would happen next, and why."""

import time
from typing import Annotated, Any

import typer

from harvester.app.forecast import read_forecast
from harvester.app.stores import open_insights
from harvester.cli.console import print_error, print_json, print_report
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.cli.options import Strategy as StrategyOption
from harvester.domain.limits.pause import Pause
from harvester.reports.pause_text import RESUME, pause_times
from harvester.reports.plan_json import as_json
from harvester.reports.plan_report import PlanReport
from harvester.reports.plan_text import lines
from harvester.settings.model import Settings, load_settings

Calls = Annotated[
    int, typer.Option("--calls", metavar="N", min=0, max=100, help="How many of the next requests to show.")
]


def plan(
    *,
    calls: Calls = 10,
    strategy: StrategyOption = None,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Show what would happen next, and why.

    Shows the request budget in force, the due tasks, the next requests with their reasons, the number of requests that
    the queue needs, when the last task will be done, and the tasks at risk. Sends no request and writes nothing.

    Example: harvester plan --strategy status
    """
    overrides: dict[str, dict[str, Any]] = {"store": {"path": db}, "harvest": {"strategy": strategy}}
    settings = load_settings(config, overrides).settings
    report, pause = _read_report(settings, calls)
    if json:
        print_json(as_json(report, pause))
        return
    for line in lines(report):
        print_report(line)
    if pause is not None:
        print_error(f"Paused {pause_times(pause)}: nothing of this happens before the end; {RESUME}.")
    typer.echo(f"database {settings.store.path}", err=True)


def _read_report(settings: Settings, calls: int) -> tuple[PlanReport, Pause | None]:
    """Read one moment of the database, and compute the plan, which does not consider the pause."""
    now_ms = time.time_ns() // 1_000_000
    with open_insights(settings.store.path) as insights:
        return read_forecast(insights, settings, now_ms, calls), insights.pause(now_ms)
