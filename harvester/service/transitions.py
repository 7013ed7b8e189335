"""Passes the state that a stored answer gave to a task on to all parts that count or show it."""

from typing import Protocol

import structlog

from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import Task, TaskState
from harvester.domain.tasks.task_id import is_same_id
from harvester.ports.log import get_logger
from harvester.service.clock import Clock
from harvester.service.progress import Progress

log = get_logger()


class TransitionListener(Protocol):
    """Records transitions of tasks after the store has accepted them."""

    def record_transition(
        self, task: Task, state: TaskState, asked_at_ms: int, settlement: Settlement | None = None
    ) -> None:
        """Record that the store accepted an answer which gives `state` to the task; it may be the old state.

        `asked_at_ms` (Unix milliseconds) is when the request began. `settlement` is what was stored; None for a page of
        the list.
        """
        ...

    def record_stale(self, settlement: Settlement) -> None:
        """Record that the store did not accept a result: another process has claimed the task since."""
        ...


class Transitions:
    """Passes each transition on to every listener, in their order."""

    def __init__(self, *listeners: TransitionListener) -> None:
        self._listeners = listeners

    def record_transition(
        self, task: Task, state: TaskState, asked_at_ms: int, settlement: Settlement | None = None
    ) -> None:
        """Record the state that a request gave to a task; see TransitionListener."""
        for listener in self._listeners:
            listener.record_transition(task, state, asked_at_ms, settlement)

    def record_stale(self, settlement: Settlement) -> None:
        """Record a result that was not accepted; see TransitionListener."""
        for listener in self._listeners:
            listener.record_stale(settlement)


class ProgressListener:
    """Keeps the counts of `progress`."""

    def __init__(self, progress: Progress, clock: Clock) -> None:
        self._progress = progress
        self._clock = clock

    def record_transition(
        self,
        task: Task,
        state: TaskState,
        asked_at_ms: int,  # noqa: ARG002
        settlement: Settlement | None = None,
    ) -> None:
        """Count the task in its new state."""
        self._progress.record_transition(task.state, state, self._clock.monotonic())
        if settlement is not None and settlement.embeddings is not None:
            self._progress.segments += settlement.embeddings.count

    def record_stale(self, settlement: Settlement) -> None:  # noqa: ARG002
        """Count the result."""
        self._progress.stale += 1


class TransitionLog:
    """Writes a line for each stored answer about one task: at level info for an end, else at level debug."""

    def record_transition(
        self,
        task: Task,
        state: TaskState,
        asked_at_ms: int,  # noqa: ARG002
        settlement: Settlement | None = None,
    ) -> None:
        """Write the line."""
        if settlement is None:
            return
        bound, attempt, embeddings = _bound(settlement), settlement.attempt, settlement.embeddings
        if state is TaskState.HARVESTED and embeddings is not None:
            received_id = embeddings.received_id
            if received_id is not None and not is_same_id(received_id, task.task_id):
                bound.warning("the answer names another id", received_id=received_id)
            if settlement.warnings:
                bound.info("the result is incomplete", missing=list(settlement.warnings))
            bound.info("harvested", segments=embeddings.count)
        elif not state.is_open:
            bound.info(state.value, code=attempt.code, reason=attempt.message)
        elif settlement.decision.problem is not None:
            bound.debug("will be tried again", code=attempt.code, reason=attempt.message)
        else:
            bound.debug("asked", outcome=attempt.outcome)

    def record_stale(self, settlement: Settlement) -> None:
        """Write a warning."""
        _bound(settlement).warning("stale result refused: somebody else has this task now")


def _bound(settlement: Settlement) -> structlog.stdlib.BoundLogger:
    attempt = settlement.attempt
    return log.bind(
        task_id=settlement.task.task_id,
        trace_id=attempt.trace_id,
        bytes=attempt.bytes,
        duration_ms=attempt.duration_ms,
    )
