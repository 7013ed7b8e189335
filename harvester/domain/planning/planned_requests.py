"""The requests of a plan: about one task, or for a page of the list, which answers for many."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.list_reader import ListQuery
from harvester.domain.tasks.task import ApiVersion, Task


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """One request about one task; `chance` is the probability that it has finished.

    `version` is the API version to ask, None for the one that new tasks are asked in first. `is_question`: it need not
    bring a result.
    """

    endpoint: Endpoint
    task: Task
    chance: float = 1.0
    is_question: bool = False
    version: ApiVersion | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether the request needs a new connection, because its answer is to confirm another one.

        The first answer of the second API version confirms nothing, and further ones follow before an end.
        """
        task = self.task
        is_confirmed = task.gone > 0 and not task.is_denied_once
        return is_confirmed or task.invalid > 0 or task.doubted_at_ms is not None or task.other_id is not None

    @property
    def is_other_version(self) -> bool:
        """Whether it asks another API version than the one that knows the task or, unknown, has denied it last."""
        last = self.task.version or self.task.denied_by
        return last is not None and self.version not in (None, last)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The task, as a tuple."""
        return (self.task,)

    @property
    def cost(self) -> float:
        """The expected number of requests without a result."""
        if not self.is_question:
            return 0.0
        return 1.0 - self.chance if self.endpoint is Endpoint.RETRIEVE else 1.0

    def claimed(self, tasks: Mapping[int, Task]) -> "TaskRequest | None":
        """Return the same request about the claimed task; None if the task was not claimed."""
        task = tasks.get(self.task.row_id)
        return None if task is None else replace(self, task=task)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One request for a page of the list, which answers for many tasks; it names the models of `harvested` ones."""

    query: ListQuery
    tasks: tuple[Task, ...]
    harvested: tuple[Task, ...] = ()
    endpoint: Endpoint = Endpoint.LIST
    is_question: bool = True
    cost: float = 1.0

    def claimed(self, tasks: Mapping[int, Task]) -> "ListRequest | None":
        """Return the same request about its claimed tasks; None if none was claimed."""
        mine = tuple(tasks[task.row_id] for task in self.tasks if task.row_id in tasks)
        return replace(self, tasks=mine) if mine else None


PlannedRequest = TaskRequest | ListRequest
