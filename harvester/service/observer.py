"""Observers of a harvest, which keep statistics of answers and ends."""

from typing import Protocol

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import Task, TaskState
from harvester.service.clock import Clock

LISTED = "listed"
"""The outcome of a list request that returned a page."""

MAX_REMEMBERED = 100_000


class Observer(Protocol):
    """Records every answer and every end; see `harvester.web.metrics.Metrics`."""

    def answered(self, endpoint: Endpoint, outcome: str, duration_s: float, received_bytes: int) -> None:
        """Record the outcome of a request; `outcome` is the `kind` of a class in `domain.tasks.outcomes`, or LISTED."""
        ...

    def ended(
        self,
        state: TaskState,
        *,
        ready_to_stored_s: float | None,
        segments: int,
        stored_bytes: int,
        reason: str | None = None,
    ) -> None:
        """Record that a task has ended, and how long its result was ready before it was stored, if known.

        `reason` is the error code of a task that is not harvested.
        """
        ...


class NullObserver:
    """Keeps no statistics."""

    def answered(self, endpoint: Endpoint, outcome: str, duration_s: float, received_bytes: int) -> None:
        """Do nothing."""

    def ended(
        self,
        state: TaskState,
        *,
        ready_to_stored_s: float | None,
        segments: int,
        stored_bytes: int,
        reason: str | None = None,
    ) -> None:
        """Do nothing."""


class ReadyTimes:
    """Since when this process knows that a task is ready: the start of the first request that showed it.

    Another process may end such a task, so the number of entries is bounded. Times are Unix milliseconds.
    """

    def __init__(self) -> None:
        self._since_ms: dict[int, int] = {}

    def record_transition(self, task: Task, new: TaskState, asked_at_ms: int) -> int | None:
        """Record the state that a request gave to the task; return since when a task that is now harvested was ready.

        Return None for a task that was known to be ready before this process asked about it.
        """
        if new is TaskState.READY:
            if task.state is TaskState.PENDING:
                self._remember(task.row_id, asked_at_ms)
            return None
        since_ms = self.forget(task.row_id)
        if new is not TaskState.HARVESTED:
            return None
        # Retrieved without asking first: it was ready when the request began; nothing earlier is known.
        return asked_at_ms if since_ms is None and task.state is TaskState.PENDING else since_ms

    def forget(self, task_key: int) -> int | None:
        """Return since when the task was known to be ready, None if that is not known here, and forget it."""
        return self._since_ms.pop(task_key, None)

    def _remember(self, task_key: int, since_ms: int) -> None:
        self._since_ms[task_key] = since_ms
        if len(self._since_ms) > MAX_REMEMBERED:
            del self._since_ms[next(iter(self._since_ms))]


class EndStatistics:
    """Reports each end to an observer, with the time for which the result was ready."""

    def __init__(self, observer: Observer, clock: Clock) -> None:
        self._observer = observer
        self._clock = clock
        self._ready = ReadyTimes()

    def record_transition(
        self, task: Task, state: TaskState, asked_at_ms: int, settlement: Settlement | None = None
    ) -> None:
        """Remember since when a task is ready, or report its end."""
        since_ms = self._ready.record_transition(task, state, asked_at_ms)
        if state.is_open:
            return
        embeddings = None if settlement is None else settlement.embeddings
        problem = None if settlement is None else settlement.decision.problem
        self._observer.ended(
            state,
            ready_to_stored_s=None if since_ms is None else max(0, self._clock.wall_ms() - since_ms) / 1000,
            segments=0 if embeddings is None else embeddings.count,
            stored_bytes=0 if embeddings is None else embeddings.number_bytes,
            reason=None if problem is None else problem.code,
        )

    def record_stale(self, settlement: Settlement) -> None:
        """Forget since when the task is ready: another process stores its end."""
        self._ready.forget(settlement.task.row_id)
