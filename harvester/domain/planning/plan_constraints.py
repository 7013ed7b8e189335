"""The constraints of a plan."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.costs import PRICE_AT_TARGET
from harvester.domain.planning.list_versions import ListVersions
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import ApiVersion, Task


class PageKind(NamedTuple):
    """The version whose list is asked, and whether for the tasks in processing only."""

    version: ApiVersion
    only_processing: bool


@dataclass(frozen=True, slots=True)
class PlanConstraints:
    """The constraints of a plan.

    - `limit`: the most requests in the plan; `questions`: the most of them that are expected to bring no result.
    - `versions`: which API version to ask about each task; `lists`: whose list shows it.
    - `now`: monotonic seconds.
    - `closed`: the endpoints that must wait now; `has_list`: the list may be requested now or soon.
    - `looks_first`: nothing has been heard of the API yet, so ask although no request is worth its cost.
    - `ask_every_task`: the user wants an answer about each task now.
    - `evidence_ago_s`: seconds since the API last showed that it is healthy; without such evidence no task ends.
    - `price`: requests that a second of waiting of one finished task is worth.
    - `trust_estimates`: at least 90 % of recent estimates that a task has finished were right.
    - `trust_list_gaps`: the same of inferences from tasks that a page of the tasks in processing did not show.
    - `unlisted`: row ids of tasks that the list does not show.
    """

    limit: int = 1
    questions: int = 1
    strategy: Strategy = Strategy.AUTO
    versions: ApiVersions = field(default_factory=ApiVersions)
    closed: frozenset[Endpoint] = frozenset()
    has_list: bool = True
    looks_first: bool = False
    ask_every_task: bool = False
    evidence_ago_s: float = 0.0
    trust_estimates: bool = True
    trust_list_gaps: bool = True
    unlisted: Container[int] = frozenset()
    lists: ListVersions = field(default_factory=ListVersions)
    now: float = 0.0
    price: float = PRICE_AT_TARGET

    def list_of(self, task: Task) -> ApiVersion:
        """Return the API version whose list is asked about the task."""
        return self.lists.of(task, self.versions, self.now)

    def pages_for(self, task: Task) -> Iterator[PageKind]:
        """Yield the kinds of pages that may answer for the task."""
        is_gap_trusted = self.trust_list_gaps and not self.versions.is_nothing_known
        # While nothing is known of versions, absence from a list says nothing: ask for the finished tasks, too.
        only_processing = (
            self.strategy is not Strategy.LIST and is_gap_trusted and not self.lists.needs_entry(task, self.versions)
        )
        for version in self.lists.candidates(task, self.versions, self.now):
            yield PageKind(version, only_processing)
