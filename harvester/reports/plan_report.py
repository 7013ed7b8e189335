"""What `plan` reports: the queue, the conditions of a harvest and its forecast."""

from collections.abc import Mapping
from dataclasses import dataclass

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.limits.endpoint_state import EndpointBudget
from harvester.domain.planning.forecast import Forecast
from harvester.domain.planning.forecast_conditions import Conditions
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.queue_sample import QueueSample
from harvester.domain.planning.strategy import Strategy


@dataclass(frozen=True, slots=True)
class PlanReport:
    """The queue, the conditions and the forecast; `limits` has the known limits of each endpoint.

    The strategy of the conditions differs from `preferred` if the budget is too small for that one.
    """

    sample: QueueSample
    conditions: Conditions
    limits: Mapping[Endpoint, EndpointBudget]
    times: ProcessingTimes
    preview: Forecast
    preferred: Strategy
