"""What commands and pages read of a store, beside whoever writes to it. Times are Unix milliseconds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # `harvester status` needs none of the planning that a sample of the queue belongs to.
    from harvester.domain.limits.endpoint import RateLimit
    from harvester.domain.limits.pacer import Pacer
    from harvester.domain.planning.forecast import QueueSample
    from harvester.domain.planning.processing_time import Key, LifeTable
    from harvester.domain.tasks.dead_letter import Payload
    from harvester.domain.tasks.queue_reports import Urgency
    from harvester.domain.tasks.task_reports import StatusReport, TaskDetails
    from harvester.ports.space import SpaceUsed


class Insights(Protocol):
    """One moment of a store. Each method raises StoreError."""

    def status(self, now_ms: int) -> StatusReport:
        """Return counts, deadlines, last errors, and how much is stored."""
        ...

    def urgency(self, now_ms: int) -> Urgency:
        """Return how much time the open tasks have left."""
        ...

    def limits_in_force(self, limit: RateLimit, now_ms: int, *, has_status_call: bool = True) -> Pacer:
        """Return the configured `limit` and all that is known beside it, for seconds of `now_ms / 1000`."""
        ...

    def queue_sample(self, now_ms: int) -> QueueSample:
        """Return the queue as a harvest that begins now would find it."""
        ...

    def processing_times(self) -> dict[Key, LifeTable]:
        """Return what is known of processing times."""
        ...

    def task(self, task_id: str) -> TaskDetails | None:
        """Return all that is known of a task; None if it was never queued."""
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
        """Open one moment of the store. Raises StoreError."""
        ...

    def why_not_writable(self) -> str | None:
        """Return in a sentence why the store cannot be written now, None if it can. Writes nothing."""
        ...

    def space(self) -> SpaceUsed:
        """Return what the log takes, and what is free on the volume."""
        ...
