"""Forecast the next requests of a harvest, and the number of requests that it takes, without sending any."""

from collections.abc import Sequence
from dataclasses import dataclass

from harvester.domain.planning.feasibility import REQUESTS_PER_TASK, Feasibility, assess
from harvester.domain.planning.forecast_conditions import Conditions
from harvester.domain.planning.next_requests import Call, next_requests
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.queue_sample import QueueSample
from harvester.domain.planning.request_estimate import Expected, estimate_requests
from harvester.domain.planning.todo import Todo, what_to_do


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast: due tasks by request, the first calls, and the estimated total; `finish_ms` is Unix ms."""

    todo: Todo
    calls: Sequence[Call]
    expected: Expected
    feasibility: Feasibility
    finish_ms: int


def preview(sample: QueueSample, conditions: Conditions, times: ProcessingTimes) -> Forecast:
    """Return the forecast; pure."""
    expected = estimate_requests(sample, conditions, times)
    per_task = max(REQUESTS_PER_TASK, expected.needed / max(1, sample.open_tasks))
    feasibility = assess(sample.deadlines, sample.at_ms, conditions.budget, requests_per_task=per_task)
    finish_ms = max(feasibility.finish_ms, expected.finished_ms or 0)
    todo, calls = what_to_do(sample, conditions, times), next_requests(sample, conditions, times)
    return Forecast(todo, calls, expected, feasibility, finish_ms)
