"""The forecast of a harvest that begins now: `plan` shows it, and `status` when it will be done."""

from harvester.domain.limits.endpoint import POLL_ENDPOINTS, RateLimit
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.costs import least_wait_s
from harvester.domain.planning.forecast import preview
from harvester.domain.planning.forecast_conditions import Conditions
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.questions import LOOKED_MS
from harvester.domain.planning.strategy import Strategy, affordable_strategy
from harvester.ports.insights import Insights
from harvester.reports.plan_report import PlanReport
from harvester.settings.model import Settings


def read_forecast(insights: Insights, settings: Settings, now_ms: int, calls: int = 0) -> PlanReport:
    """Read one moment of the store, and compute the forecast with the next `calls` requests. Raises StoreError.

    A pause is not considered.
    """
    found = insights.queue_sample(now_ms)
    times = ProcessingTimes(least_wait_s=least_wait_s(found.open_tasks))
    times.load(insights.processing_times())
    pacer = insights.limits_in_force(RateLimit(settings.rate.requests_per_minute, settings.rate.burst), now_ms)
    versions = ApiVersions(settings.api.first_version)
    versions.known.load(insights.known_versions())
    now = now_ms / 1000
    pacer.press(found.deadlines, now, now_ms)
    budget, preferred = pacer.results_budget(now, now_ms), Strategy(settings.harvest.strategy)
    is_known = pacer.has_quota_of_day(now) or insights.is_heard_since(now_ms - LOOKED_MS, now_ms)
    conditions = Conditions(
        budget=budget,
        strategy=affordable_strategy(preferred, found.open_tasks, budget.rate_per_s),
        versions=versions,
        waits_ms={endpoint: now_ms + round(pacer.endpoint_wait_s(endpoint, now) * 1000) for endpoint in POLL_ENDPOINTS},
        start_ms=round(pacer.ready_at() * 1000),
        calls=calls,
        target_latency_s=settings.harvest.target_latency_s,
        looks_first=not is_known,
    )
    limits = {endpoint: pacer.budget(endpoint, now) for endpoint in pacer.endpoints}
    return PlanReport(found, conditions, limits, times, preview(found, conditions, times), preferred)
