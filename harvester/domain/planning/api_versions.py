"""Which version of the API to ask about a task, and by which call."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.known_versions import MAX_KNOWN, KnownVersions
from harvester.domain.planning.planned_requests import TaskRequest
from harvester.domain.tasks.task import ApiVersion, Task, other_version

GONE_ANSWERS = 3
"""A 404 and its two confirmations, each on a new connection; the next confirmation asks the other API version."""


@dataclass(slots=True)
class ApiVersions:
    """Chooses the API version for each task, and learns which versions the tasks are of.

    A task is asked in the version that knows it. While that is unknown it is asked in the version of its neighbours in
    time, without any in `first`; after a denial in the version that has not denied it last. `is_first_given`: a person
    has said that tasks are of the version `first`.
    """

    first: ApiVersion = "v1"
    known: KnownVersions = field(default_factory=KnownVersions)
    is_first_given: bool = True
    _identified: OrderedDict[str, tuple[Task, ApiVersion]] = field(default_factory=OrderedDict)
    """The tasks that were identified last, with their versions, by task id: pages show them or omit them."""

    def of(self, task: Task) -> ApiVersion:
        """Return the API version that knows the task, as far as is known."""
        if task.version is not None:
            return task.version
        if task.denied_by is not None:
            return other_version(task.denied_by)
        return self.known.near(task.created_ms_estimate) or self.first

    def learn(self, task: Task, version: ApiVersion | None) -> None:
        """Learn that an answer of that version has identified the task; no effect where that was known before."""
        if version is not None and task.version is None:
            self.known.learn(task.created_ms_estimate, version)
            if len(self._identified) == MAX_KNOWN:
                self._identified.popitem(last=False)
            self._identified[task.task_id] = task, version

    def identified(self, task_ids: Iterable[str] | None = None) -> dict[str, Task]:
        """Return, with their versions, the tasks that were identified last, or those of them with the given ids."""
        known = self._identified
        chosen = known if task_ids is None else [task_id for task_id in task_ids if task_id in known]
        return {task_id: replace(known[task_id][0], version=known[task_id][1]) for task_id in chosen}

    @property
    def is_nothing_known(self) -> bool:
        """Whether neither an answer nor a person has said yet of which version any task is."""
        return not self.is_first_given and not self.known.has_any

    def has_status_call(self, task: Task) -> bool:
        """Whether the API version that knows the task has a status call."""
        return self.of(task) == "v1"

    def result_endpoint(self, task: Task) -> Endpoint:
        """Return the call for a task whose result is requested without asking first.

        A 404 of a retrieval may mean that the result does not exist yet; only the status shows whether the task exists.
        """
        is_confirmed = task.gone > 0 and not task.is_denied_once
        return Endpoint.STATUS if is_confirmed and self.has_status_call(task) else Endpoint.RETRIEVE

    def request(self, endpoint: Endpoint, task: Task, chance: float = 1.0, *, is_question: bool = False) -> TaskRequest:
        """Return the request about a task; after GONE_ANSWERS it asks the other API version whether it knows the task.

        Version 2 has no status call: its retrieval says both.
        """
        version = self.of(task)
        if task.gone == GONE_ANSWERS:
            version = version if task.version is None else other_version(version)
            endpoint = Endpoint.STATUS
        if version == "v2":
            endpoint = Endpoint.RETRIEVE
        return TaskRequest(endpoint, task, chance, is_question, version)
