"""The state of the queue with the forecast of `plan`: `harvester status` shows it, and the daemon's `/status.json`."""

from dataclasses import replace

from harvester.domain.limits.endpoint import RateLimit
from harvester.domain.planning.feasibility import Feasibility, assess
from harvester.domain.tasks.task_reports import StatusReport
from harvester.ports.insights import Insights
from harvester.settings.model import Settings


def read_status(insights: Insights, settings: Settings, now_ms: int) -> tuple[StatusReport, Feasibility]:
    """Read one moment of the store, and compare the open tasks with the rate in force. Raises StoreError.

    `finish_ms` is when `plan` expects the last open task to be done.
    """
    report = insights.status(now_ms)
    if not report.open:
        limit = RateLimit(settings.rate.requests_per_minute, settings.rate.burst)
        budget = insights.limits_in_force(limit, now_ms).results_budget(now_ms / 1000, now_ms)
        return report, assess(report.deadlines, now_ms, budget)
    from harvester.app.forecast import read_forecast  # noqa: PLC0415  # the planner is loaded for open tasks only

    forecast = read_forecast(insights, settings, now_ms).preview
    return report, replace(forecast.feasibility, finish_ms=forecast.finish_ms)
