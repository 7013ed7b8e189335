"""The gauges for Prometheus: queue, deadlines, rate limit, conditions."""

import platform
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from harvester._version import __version__
from harvester.domain.tasks.queue_reports import Urgency
from harvester.service.disk_space import LOG, SPACE
from harvester.web.harvest_view import HarvestView, blocked_until_ms

WATCHED_CONDITIONS = ("api", "database", "budget", SPACE, LOG)


def gauges(view: HarvestView, urgency: Urgency | None) -> Iterator[Metric]:
    """Describe the harvest as it is now. `urgency` is None if the database cannot be read."""
    progress = view.progress
    counts = {state.value: count for state, count in progress.counts.items()}
    yield _labelled("harvester_tasks", "Tasks in each state.", "state", counts)
    yield _gauge(
        "harvester_requests_in_flight", "Tasks asked about whose result is not stored yet.", progress.in_flight
    )
    yield _gauge(
        "harvester_tasks_at_risk",
        "Open tasks that the request budget will not save before the platform drops their embeddings.",
        progress.feasibility.at_risk if progress.feasibility is not None else 0,
    )
    if urgency is not None:
        yield from _urgency(view.clock.wall_ms(), urgency)
    yield from _limits(view)
    yield from _disk_space(view)
    yield from _troubles(view, is_readable=urgency is not None)
    build = {"version": __version__, "python": platform.python_version()}
    info = GaugeMetricFamily("harvester_build_info", "Always 1; the labels say what runs.", labels=tuple(build))
    info.add_metric(tuple(build.values()), 1)
    yield info


def _urgency(now_ms: int, urgency: Urgency) -> Iterator[Metric]:
    waited_ms = now_ms - urgency.oldest_added_at_ms if urgency.oldest_added_at_ms is not None else 0
    yield _gauge("harvester_queue_age_seconds", "Since the oldest open task was queued.", max(0, waited_ms) / 1000)
    yield _gauge(
        "harvester_expiring_tasks",
        "Open tasks whose embeddings the platform drops within 24 h, or has dropped.",
        urgency.expiring_within_a_day,
    )
    if urgency.nearest_deadline_ms is not None:
        yield _gauge(
            "harvester_nearest_deadline_seconds",
            "Until the platform drops the embeddings of the most urgent open task; negative once it has.",
            (urgency.nearest_deadline_ms - now_ms) / 1000,
        )


def _limits(view: HarvestView) -> Iterator[Metric]:
    yield _gauge(
        "harvester_rate_limit_requests_per_minute",
        "The rate in force; 0 means unlimited.",
        view.throttle.limit.requests_per_minute,
    )
    blocked = {endpoint.value: (until or 0) / 1000 for endpoint, until in blocked_until_ms(view).items()}
    yield _labelled(
        "harvester_blocked_until_timestamp_seconds",
        "Until when the API accepts no requests of this class, Unix time; 0 if it accepts them.",
        "endpoint",
        blocked,
    )


def _disk_space(view: HarvestView) -> Iterator[Metric]:
    space = view.reader.space()
    yield _gauge(
        "harvester_database_log_bytes",
        "Length of the write-ahead log; it grows while another program keeps a read transaction open.",
        space.log_bytes,
    )
    if space.free_bytes is not None:
        yield _gauge("harvester_database_free_bytes", "Free space on the volume of the database.", space.free_bytes)


def _troubles(view: HarvestView, *, is_readable: bool) -> Iterator[Metric]:
    conditions = view.progress.conditions
    degraded = {what: float(what in conditions) for what in {*WATCHED_CONDITIONS, *conditions}}
    if not is_readable:
        degraded["database"] = 1.0
    yield _labelled("harvester_degraded", "1 while the condition holds: work is slow or stopped.", "what", degraded)
    yield _gauge("harvester_key_refused", "1 once the API has refused the key.", float(view.refusal is not None))
    yield CounterMetricFamily(
        "harvester_stale_results",
        "Results refused because another process had taken the task.",
        value=view.progress.stale,
    )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key in sorted(values):
        family.add_metric([key], values[key])
    return family
