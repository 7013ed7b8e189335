"""Reports of a store about the queue: deadlines, ended tasks, errors, and tasks that wait for a confirmation."""

from dataclasses import dataclass

from harvester.domain.tasks.task import TaskState

UNKNOWN = "unknown"
"""The reason why a task is held back that the API does not know; other reasons are error codes."""

EVEN_DUE_MS = -1
"""Unix milliseconds before all times: as a bound, it includes every held task, also those that are due."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The open task that the platform drops first. Unix milliseconds."""

    task_id: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Urgency:
    """The deadlines of the open tasks, and since when they wait. Unix milliseconds, None without such a task."""

    nearest_deadline_ms: int | None
    expiring_within_a_day: int
    oldest_added_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Ends:
    """Tasks that ended in the same state for the same reason, with one of them as an example."""

    state: TaskState
    code: str
    count: int
    example_task_id: str
    example_message: str | None


@dataclass(frozen=True, slots=True)
class Troubled:
    """Open tasks whose last answer was an error, with the latest one as an example."""

    count: int
    example_task_id: str
    example_message: str
