"""What a store reports about the queue: deadlines, ends, troubles, and what waits for a confirmation."""

from dataclasses import dataclass

from harvester.domain.tasks.task import TaskState

UNKNOWN = "unknown"
"""The reason for which a task is held back that the API does not know; other reasons are error codes."""

EVEN_DUE_MS = -1
"""All held tasks sleep until after this time, also those that are due."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The open task that the platform drops first. Unix milliseconds."""

    task_id: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Urgency:
    """How much time the open tasks have left, and how long they have waited. Unix milliseconds, None for no task."""

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
    """Open tasks of which an error was the last answer, with the latest as an example."""

    count: int
    example_task_id: str
    example_message: str
