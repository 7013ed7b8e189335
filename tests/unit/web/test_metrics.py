from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.planning.feasibility import Budget, assess
from harvester.domain.tasks.outcomes import Refused
from harvester.domain.tasks.queue_reports import Urgency
from harvester.domain.tasks.task import DAY_MS, TaskState
from harvester.web.gauges import gauges
from harvester.web.metrics import Metrics
from tests.support.web_builders import NOW, SeenHarvest

CALM = Urgency(None, 0, None)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def page(harvest: SeenHarvest | None = None, urgency: Urgency | None = CALM, metrics: Metrics | None = None) -> Samples:
    """Read the page as Prometheus does."""
    text = (metrics or Metrics()).exposition(gauges(harvest or SeenHarvest(), urgency)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def test_an_answer_counts_by_endpoint_and_outcome_with_its_duration_and_bytes() -> None:
    metrics = Metrics()
    metrics.answered(Endpoint.STATUS, "ready", 0.2, 100)
    metrics.answered(Endpoint.STATUS, "ready", 0.4, 50)

    samples = page(metrics=metrics)

    assert value(samples, "harvester_requests_total", endpoint="status", outcome="ready") == 2
    assert value(samples, "harvester_request_duration_seconds_bucket", endpoint="status", le="0.25") == 1
    assert value(samples, "harvester_request_duration_seconds_count", endpoint="status") == 2
    assert value(samples, "harvester_received_bytes_total") == 150


def test_an_end_counts_by_state_with_what_was_stored() -> None:
    metrics = Metrics()
    metrics.ended(TaskState.HARVESTED, ready_to_stored_s=3.0, segments=7, stored_bytes=14_336)
    metrics.ended(TaskState.HARVESTED, ready_to_stored_s=None, segments=1, stored_bytes=2048)

    samples = page(metrics=metrics)

    assert value(samples, "harvester_tasks_ended_total", state="harvested") == 2
    assert value(samples, "harvester_ready_to_stored_seconds_count") == 1
    assert value(samples, "harvester_ready_to_stored_seconds_bucket", le="5.0") == 1
    assert value(samples, "harvester_segments_stored_total") == 8
    assert value(samples, "harvester_stored_bytes_total") == 16_384


def test_an_end_without_a_result_counts_by_reason_and_codes_that_are_unknown_count_as_others() -> None:
    metrics = Metrics()
    for reason in ("task_failed_input", "task_failed_input", "video_too_beautiful", None):
        metrics.ended(TaskState.FAILED, ready_to_stored_s=None, segments=0, stored_bytes=0, reason=reason)
    metrics.ended(TaskState.HARVESTED, ready_to_stored_s=None, segments=1, stored_bytes=8)

    samples, name = page(metrics=metrics), "harvester_tasks_ended_without_result_total"

    assert value(samples, name, state="failed", reason="task_failed_input") == 2
    assert value(samples, name, state="failed", reason="other") == 2
    assert value(samples, name, state="expired", reason="result_expired") == 0


@pytest.mark.parametrize("state", [state for state in TaskState if not state.is_open])
def test_every_series_of_ends_begins_at_zero_so_that_the_first_event_is_seen(state: TaskState) -> None:
    assert value(page(), "harvester_tasks_ended_total", state=state.value) == 0


def test_every_series_of_requests_begins_at_zero() -> None:
    assert value(page(), "harvester_requests_total", endpoint="retrieve", outcome="refused") == 0


def test_each_instance_has_a_registry_of_its_own() -> None:
    Metrics().answered(Endpoint.STATUS, "ready", 0.2, 100)

    assert value(page(), "harvester_requests_total", endpoint="status", outcome="ready") == 0


@pytest.mark.parametrize(
    ("outcome", "is_proven"), [("retrieved", True), ("gone", True), ("throttled", False), ("transient", False)]
)
def test_only_answers_that_need_a_good_key_prove_it(outcome: str, is_proven: bool) -> None:  # noqa: FBT001
    metrics = Metrics()
    metrics.answered(Endpoint.STATUS, outcome, 0.2, 100)

    assert metrics.is_key_proven == is_proven


def test_tasks_are_shown_by_state() -> None:
    harvest = SeenHarvest()
    harvest.progress.counts[TaskState.PENDING] = 5

    samples = page(harvest)

    assert value(samples, "harvester_tasks", state="pending") == 5
    assert value(samples, "harvester_tasks", state="expired") == 0


def test_urgency_is_shown_in_seconds_from_now() -> None:
    samples = page(urgency=Urgency(NOW + DAY_MS, 3, NOW - 60_000))

    assert value(samples, "harvester_nearest_deadline_seconds") == 86_400
    assert value(samples, "harvester_expiring_tasks") == 3
    assert value(samples, "harvester_queue_age_seconds") == 60


def test_tasks_at_risk_are_shown_once_the_deadlines_are_assessed() -> None:
    harvest = SeenHarvest()
    before = value(page(harvest), "harvester_tasks_at_risk")
    harvest.progress.feasibility = assess([(NOW + 60_000, 100)], NOW, Budget(pace_per_s=1.0))

    assert (before, value(page(harvest), "harvester_tasks_at_risk")) == (0, 39)


def test_a_deadline_that_has_passed_is_negative() -> None:
    assert value(page(urgency=Urgency(NOW - 5000, 1, NOW)), "harvester_nearest_deadline_seconds") == -5


def test_with_nothing_open_there_is_no_deadline_and_no_age() -> None:
    samples = page()

    assert value(samples, "harvester_nearest_deadline_seconds") is None
    assert value(samples, "harvester_queue_age_seconds") == 0


def test_the_rate_and_the_blocks_are_shown_by_endpoint() -> None:
    harvest = SeenHarvest()
    harvest.throttle.limit = RateLimit(50, 1)
    harvest.throttle.blocked[Endpoint.RETRIEVE] = 120.0

    samples = page(harvest)

    assert value(samples, "harvester_rate_limit_requests_per_minute") == 50
    assert value(samples, "harvester_blocked_until_timestamp_seconds", endpoint="retrieve") == NOW / 1000 + 120
    assert value(samples, "harvester_blocked_until_timestamp_seconds", endpoint="status") == 0


def test_a_refused_key_is_shown() -> None:
    assert value(page(SeenHarvest(refusal=Refused("no"))), "harvester_key_refused") == 1
    assert value(page(), "harvester_key_refused") == 0


def test_conditions_are_shown_also_while_there_are_none() -> None:
    harvest = SeenHarvest()
    harvest.progress.conditions |= {"api": "most requests fail", "discovery": "no list"}

    samples = page(harvest)

    assert value(samples, "harvester_degraded", what="api") == 1
    assert value(samples, "harvester_degraded", what="database") == 0
    assert value(samples, "harvester_degraded", what="budget") == 0
    assert value(samples, "harvester_degraded", what="discovery") == 1


def test_a_database_that_cannot_be_read_leaves_the_rest_of_the_page() -> None:
    samples = page(urgency=None)

    assert value(samples, "harvester_degraded", what="database") == 1
    assert value(samples, "harvester_expiring_tasks") is None
    assert value(samples, "harvester_tasks", state="pending") == 0


@pytest.mark.parametrize("is_of", [lambda name: name.endswith("_created"), lambda name: name.startswith("python_")])
def test_metrics_that_the_client_library_adds_are_left_out(is_of: Callable[[str], bool]) -> None:
    assert [name for name, _ in page() if is_of(name)] == []
