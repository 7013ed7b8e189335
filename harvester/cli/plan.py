"""`harvester plan`: shows what would happen next, and why."""

import time
from typing import Annotated, Any

import typer

from harvester.app.stores import open_insights
from harvester.cli.console import print_error, print_json, print_report
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.cli.options import Strategy as StrategyOption
from harvester.domain.limits.endpoint import POLL_ENDPOINTS, RateLimit
from harvester.domain.limits.pause import Pause
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.forecast import preview
from harvester.domain.planning.forecast_conditions import Conditions
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.strategy import Strategy, affordable_strategy
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
    limit = RateLimit(settings.rate.requests_per_minute, settings.rate.burst)
    times = ProcessingTimes()
    with open_insights(settings.store.path) as insights:
        found = insights.queue_sample(now_ms)
        times.load(insights.processing_times())
        pacer, pause = insights.limits_in_force(limit, now_ms), insights.pause(now_ms)
        versions = ApiVersions(settings.api.first_version)
        versions.known.load(insights.known_versions())
    now = now_ms / 1000
    pacer.press(found.deadlines, now, now_ms)
    budget, preferred = pacer.results_budget(now, now_ms), Strategy(settings.harvest.strategy)
    conditions = Conditions(
        budget=budget,
        strategy=affordable_strategy(preferred, found.open_tasks, budget.rate_per_s),
        versions=versions,
        waits_ms={endpoint: now_ms + round(pacer.endpoint_wait_s(endpoint, now) * 1000) for endpoint in POLL_ENDPOINTS},
        start_ms=round(pacer.ready_at() * 1000),
        calls=calls,
    )
    limits = {endpoint: pacer.budget(endpoint, now) for endpoint in pacer.endpoints}
    return PlanReport(found, conditions, limits, times, preview(found, conditions, times), preferred), pause
