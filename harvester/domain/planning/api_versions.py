"""Which version of the API to ask about a task, and by which call."""

from dataclasses import dataclass

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.planned_requests import TaskRequest
from harvester.domain.tasks.task import ApiVersion, Task

GONE_ANSWERS = 3
"""A 404 and its two confirmations, each on a new connection; the next confirmation asks the other API version."""


@dataclass(frozen=True, slots=True)
class ApiVersions:
    """Chooses the API version for each task: the one that knows it, or `configured` while that is unknown."""

    configured: ApiVersion = "v1"

    def of(self, task: Task) -> ApiVersion:
        """Return the API version that knows the task, as far as is known."""
        return task.version or self.configured

    def has_status_call(self, task: Task) -> bool:
        """Whether the API version that knows the task has a status call."""
        return self.of(task) == "v1"

    def other(self, task: Task) -> ApiVersion:
        """Return the API version that has not been asked about the task."""
        return "v2" if self.of(task) == "v1" else "v1"

    def result_endpoint(self, task: Task) -> Endpoint:
        """Return the call for a task whose result is requested without asking first.

        A 404 of a retrieval may mean that the result does not exist yet; only the status shows whether the task exists.
        """
        return Endpoint.STATUS if task.gone and self.has_status_call(task) else Endpoint.RETRIEVE

    def request(self, endpoint: Endpoint, task: Task, chance: float = 1.0, *, is_question: bool = False) -> TaskRequest:
        """Return the request about a task; after GONE_ANSWERS it asks the other API version."""
        version = task.version
        if task.gone == GONE_ANSWERS:
            version = self.other(task)
            endpoint = Endpoint.STATUS if version == "v1" else Endpoint.RETRIEVE
        return TaskRequest(endpoint, task, chance, is_question, version)
