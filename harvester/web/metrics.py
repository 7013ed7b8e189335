"""Counters and histograms of the pipeline, and the page for Prometheus."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from harvester.domain.limits.endpoint import POLL_ENDPOINTS, Endpoint
from harvester.domain.tasks.failures import FAILURE_CODES, failed_state
from harvester.domain.tasks.outcomes import Outcome
from harvester.domain.tasks.task import END_STATES, TaskState
from harvester.reports.error_codes import UNKNOWN, explain
from harvester.service.observer import LISTED
from harvester.web.health import KEY_PROVING

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REQUEST_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
READY_TO_STORED_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 86_400)

OTHER_REASON = "other"

OUTCOMES = tuple(sorted(outcome.kind for outcome in get_args(Outcome)))


class Metrics:
    """An observer of the pipeline (see `harvester.service.observer.Observer`), with a registry of its own."""

    def __init__(self) -> None:
        self.requests: Tally[tuple[Endpoint, str]] = Tally()
        self.is_key_proven = False
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "harvester_requests",
            "Requests that ended, by what they ended in.",
            ["endpoint", "outcome"],
            registry=registry,
        )
        self._durations = Histogram(
            "harvester_request_duration_seconds",
            "From sending a request to the last byte of its answer.",
            ["endpoint"],
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )
        self._received = Counter("harvester_received_bytes", "Bytes of answers, as sent.", registry=registry)
        self._ended = Counter(
            "harvester_tasks_ended", "Tasks that this process has ended.", ["state"], registry=registry
        )
        self._lost = Counter(
            "harvester_tasks_ended_without_result",
            "Tasks that this process has ended without a result, by the reason.",
            ["state", "reason"],
            registry=registry,
        )
        self._ready_to_stored = Histogram(
            "harvester_ready_to_stored_seconds",
            "From the request that found a task ready to the commit of its embeddings.",
            buckets=READY_TO_STORED_BUCKETS_S,
            registry=registry,
        )
        self._segments = Counter("harvester_segments_stored", "Segments stored.", registry=registry)
        self._stored = Counter("harvester_stored_bytes", "Bytes of vectors stored.", registry=registry)
        self._begin_at_zero()

    def answered(self, endpoint: Endpoint, outcome: str, duration_s: float, received_bytes: int) -> None:
        """Count the outcome of a request."""
        self.requests[endpoint, outcome] += 1
        self.is_key_proven = self.is_key_proven or outcome in KEY_PROVING
        self._requests.labels(endpoint.value, outcome).inc()
        self._durations.labels(endpoint.value).observe(duration_s)
        self._received.inc(received_bytes)

    def ended(
        self,
        state: TaskState,
        *,
        ready_to_stored_s: float | None,
        segments: int,
        stored_bytes: int,
        reason: str | None = None,
    ) -> None:
        """Count the end of a task; the label `reason` has a code that is known, because others are without number."""
        self._ended.labels(state.value).inc()
        if state is not TaskState.HARVESTED:
            known = reason is not None and explain(reason) is not UNKNOWN
            self._lost.labels(state.value, reason if known else OTHER_REASON).inc()
        self._segments.inc(segments)
        self._stored.inc(stored_bytes)
        if ready_to_stored_s is not None:
            self._ready_to_stored.observe(ready_to_stored_s)

    def exposition(self, gauges: Iterable[Metric]) -> bytes:
        """Return the page: all counters and histograms, and `gauges` as they are now."""
        return generate_latest(_Page(self._registry, gauges))

    def _begin_at_zero(self) -> None:
        # A series that begins with its first event hides that event from `increase()`.
        for endpoint in POLL_ENDPOINTS:
            self._durations.labels(endpoint.value)
            for outcome in (*OUTCOMES, LISTED) if endpoint is Endpoint.LIST else OUTCOMES:
                self._requests.labels(endpoint.value, outcome)
        for state in END_STATES:
            self._ended.labels(state.value)
        for code in FAILURE_CODES:
            self._lost.labels(failed_state(code), code)


class _Page(Collector):
    """The metrics of one scrape, without the `_created` series that the library adds to each counter."""

    def __init__(self, counted: Collector, gauges: Iterable[Metric]) -> None:
        self._counted = counted
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for metric in self._counted.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
        yield from self._gauges
