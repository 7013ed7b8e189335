"""The read side of a store, for commands and pages; others may write meanwhile. Times are Unix milliseconds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # Only for types: `harvester status` starts without the planning modules.
    from harvester.domain.limits.endpoint import RateLimit
    from harvester.domain.limits.pacer import Pacer
    from harvester.domain.limits.pause import Pause
    from harvester.domain.planning.processing_time import Key, LifeTable
    from harvester.domain.planning.queue_sample import QueueSample
    from harvester.domain.tasks.dead_letter import Payload
    from harvester.domain.tasks.queue_reports import Urgency
    from harvester.domain.tasks.task import ApiVersion
    from harvester.domain.tasks.task_list import TaskCount, TaskFilter, TaskLine
    from harvester.domain.tasks.task_reports import StatusReport, TaskDetails
    from harvester.ports.space import SpaceUsed


class Insights(Protocol):
    """A view of a store at one moment. Each method raises StoreError."""

    def status(self, now_ms: int) -> StatusReport:
        """Return counts, deadlines, last errors, and how much is stored."""
        ...

    def urgency(self, now_ms: int) -> Urgency:
        """Return how much time the open tasks have left."""
        ...

    def limits_in_force(self, limit: RateLimit, now_ms: int) -> Pacer:
        """Return a pacer with the configured `limit` and the learned limits; its time is `now_ms / 1000` seconds."""
        ...

    def pause(self, now_ms: int) -> Pause | None:
        """Return the pause of all requests that a person has asked for; None without one."""
        ...

    def known_versions(self) -> list[tuple[int, ApiVersion]]:
        """Return the creation times and API versions of the newest tasks whose version is known, the newest last."""
        ...

    def is_heard_since(self, since_ms: int, now_ms: int) -> bool:
        """Return whether one of the last requests since `since_ms` has had an answer of the API."""
        ...

    def queue_sample(self, now_ms: int) -> QueueSample:
        """Return the queue as a harvest that begins now would find it."""
        ...

    def processing_times(self) -> dict[Key, LifeTable]:
        """Return the learned processing times."""
        ...

    def task(self, task_id: str) -> TaskDetails | None:
        """Return all that is stored about a task; None if it was never queued."""
        ...

    def tasks(self, wanted: TaskFilter, *, after: int, limit: int) -> list[TaskLine]:
        """Return the first `limit` tasks with a `TaskLine.key` above `after` that meet the filter, in that order."""
        ...

    def count_tasks(self, wanted: TaskFilter) -> TaskCount:
        """Count the tasks that meet the filter."""
        ...

    def label_keys(self) -> list[str]:
        """Return the keys of all labels, in order."""
        ...

    def api_json(self, task_id: str) -> bytes | None:
        """Return the JSON that the API sent, floats to the last digit; None if the task is not harvested."""
        ...

    def payload(self, task_key: int) -> Payload | None:
        """Return the stored body of a result that could not be decoded, by the row id of its task; None without one."""
        ...


class StoreReader(Protocol):
    """Opens a store for reading, from any thread; the writer never waits for a reader."""

    def insights(self) -> AbstractContextManager[Insights]:
        """Open a view of the store at one moment. Raises StoreError."""
        ...

    def why_not_writable(self) -> str | None:
        """Return a sentence that says why the store cannot be written now, None if it can. Writes nothing."""
        ...

    def space(self) -> SpaceUsed:
        """Return the bytes of the log, and the free bytes of the volume."""
        ...
