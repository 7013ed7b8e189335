"""The first requests of an account of which nothing is known: few, because all may ask the wrong API version."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from harvester.domain.planning.planned_requests import PlannedRequest, TaskRequest
from harvester.domain.tasks.outcomes import Outcome, UnknownHere
from harvester.domain.tasks.task import Task

MAX_TRIES = 4
"""Tasks whose API version is asked for at a time while that of no task is known."""

TRY_S = 30.0
"""Seconds after which a task without an answer no longer keeps others waiting."""


@dataclass(slots=True)
class FirstTries:
    """The tasks that were asked about while no version was known, until an answer shows which version knows them."""

    _until: dict[int, float] = field(default_factory=dict)

    def fitting(self, requests: Iterable[PlannedRequest], now: float) -> list[PlannedRequest]:
        """Return the requests without those that would be too many tries at `now` (monotonic seconds)."""
        self._until = {row_id: until for row_id, until in self._until.items() if now < until}
        room, fitting = MAX_TRIES - len(self._until), []
        for request in requests:
            if is_try(request):
                room -= 1
            if room >= 0 or not is_try(request):
                fitting.append(request)
        return fitting

    def sent(self, requests: Iterable[PlannedRequest], now: float) -> None:
        """Record that these requests go out."""
        self._until |= {request.tasks[0].row_id: now + TRY_S for request in requests if is_try(request)}

    def answered(self, task: Task, outcome: Outcome) -> None:
        """Record an answer: after a denial of one version the other has yet to answer."""
        if not isinstance(outcome, UnknownHere):
            self._until.pop(task.row_id, None)


def is_try(request: PlannedRequest) -> bool:
    """Whether the request may ask the wrong API version."""
    return isinstance(request, TaskRequest) and request.task.version is None and request.task.gone == 0
