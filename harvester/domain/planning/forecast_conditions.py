"""The conditions under which a harvest is forecast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.costs import TARGET_S, waiting_price
from harvester.domain.planning.feasibility import Budget
from harvester.domain.planning.queue_sample import QueueSample
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a forecast with `calls` requests.

    A finished task may wait `target_latency_s` on average; `looks_first`: the harvest begins with a look, because the
    API has not answered lately. Times are Unix milliseconds: no request goes out before `start_ms`, none to an
    endpoint before its `waits_ms`.
    """

    budget: Budget
    strategy: Strategy = Strategy.AUTO
    versions: ApiVersions = field(default_factory=ApiVersions)
    waits_ms: Mapping[Endpoint, int] = field(default_factory=dict)
    start_ms: int = 0
    calls: int = 10
    target_latency_s: float = TARGET_S
    looks_first: bool = False

    def price(self, open_tasks: int) -> float:
        """Return the requests that a second of waiting of one finished task is worth."""
        return waiting_price(self.target_latency_s, open_tasks, self.budget.rate_per_s)


def is_listable(task: Task, conditions: Conditions) -> bool:
    """Whether a page of the list answers for the task."""
    return task.is_dated and conditions.strategy is not Strategy.STATUS


def listable(tasks: Sequence[Task], sample: QueueSample, conditions: Conditions) -> int:
    """Return the number of tasks that pages answer for; with strategy `auto`, a single task needs no page."""
    count = sum(is_listable(task, conditions) for task in tasks)
    return 0 if count * sample.each == 1 and conditions.strategy is Strategy.AUTO else count
