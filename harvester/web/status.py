"""The document of `/status.json`: the fields of `harvester status --json`, and those that only the daemon has."""

from typing import Any

from harvester._version import __version__
from harvester.domain.limits.endpoint import POLL_ENDPOINTS
from harvester.domain.planning.feasibility import Feasibility
from harvester.domain.tasks.task_reports import StatusReport
from harvester.reports.status import as_json
from harvester.web.harvest_view import HarvestView, blocked_until_ms
from harvester.web.health import stages_as_json
from harvester.web.metrics import Metrics


def status_document(
    report: StatusReport, feasibility: Feasibility, view: HarvestView, metrics: Metrics
) -> dict[str, Any]:
    """Return the status of the database and of the harvest that runs on it."""
    progress, limit, now = view.progress, view.throttle.limit, view.clock.monotonic()
    return as_json(report, view.database, feasibility, progress.conditions) | {
        "version": __version__,
        "database": str(view.database.resolve()),
        "at_ms": view.clock.wall_ms(),
        "uptime_s": round(now - progress.started, 3),
        "harvested": progress.harvested,
        "ended_otherwise": progress.ended_otherwise,
        "ends_per_s": round(progress.ends_per_s(now), 3),
        "eta_s": progress.eta_s(now, report.at_ms),
        "throttle": {
            "requests_per_minute": limit.requests_per_minute,
            "burst": limit.burst,
            "blocked_until_ms": {endpoint.value: at for endpoint, at in blocked_until_ms(view).items()},
        },
        "stages": stages_as_json(progress.beats, now),
        "requests": {
            "sent": {endpoint.value: progress.requests[endpoint] for endpoint in POLL_ENDPOINTS},
            "ended": _by_endpoint(metrics),
            "in_flight": progress.in_flight,
            "received_bytes": progress.bytes_received,
        },
    }


def _by_endpoint(metrics: Metrics) -> dict[str, dict[str, int]]:
    requests = sorted(metrics.requests.items())
    return {
        polled.value: {outcome: count for (endpoint, outcome), count in requests if endpoint is polled}
        for polled in POLL_ENDPOINTS
    }
