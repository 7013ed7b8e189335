"""The requests of a harvest without this program: the least that is possible, and each task polled by itself.

Both are calculated, not run: requests under the same limit, and answers that take no time.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

SDK_POLLS_EVERY_S = 5.0
"""Seconds: the default interval of the SDK's `wait_for_done`."""


@dataclass(frozen=True, slots=True)
class FutureTask:
    """When a task is queued, is ready, and expires: seconds from the start."""

    queued_s: float
    ready_s: float
    expires_s: float


@dataclass(slots=True)
class Reckoned:
    """The requests, and for each stored task how many seconds it was ready before."""

    polls: int = 0
    retrievals: int = 0
    makespan_s: float = 0.0
    ready_to_stored_s: list[float] = field(default_factory=list)

    def store(self, task: FutureTask, at_s: float) -> None:
        self.retrievals += 1
        self.makespan_s = max(self.makespan_s, at_s)
        self.ready_to_stored_s.append(at_s - task.ready_s)


class Slots:
    """Moments at which a request may go out: evenly spaced, and at most `per_day` in a day from the first one on."""

    def __init__(self, per_minute: float, per_day: int = 0) -> None:
        self._interval_s = 60 / per_minute
        self._per_day = per_day
        self._next_s = 0.0
        self._day_ends_s = 0.0
        self._left_today = 0

    def take(self, earliest_s: float) -> float:
        """Return when a request goes out that may do so from `earliest_s` on; calls come in the order of requests."""
        at_s = max(self._next_s, earliest_s)
        if self._per_day:
            if at_s < self._day_ends_s and not self._left_today:
                at_s = self._day_ends_s
            if at_s >= self._day_ends_s:
                self._day_ends_s, self._left_today = at_s + 86_400, self._per_day
            self._left_today -= 1
        self._next_s = at_s + self._interval_s
        return at_s


def clairvoyant(tasks: Sequence[FutureTask], slots: Slots) -> Reckoned:
    """Retrieve each task once, as soon as it is ready and in the order of deadlines: no strategy can end earlier."""
    reckoned = Reckoned()
    coming = sorted(range(len(tasks)), key=lambda number: tasks[number].ready_s, reverse=True)
    waiting: list[tuple[float, int]] = []
    while coming or waiting:
        at_s = slots.take(tasks[coming[-1]].ready_s if not waiting else 0.0)
        while coming and tasks[coming[-1]].ready_s <= at_s:
            number = coming.pop()
            heapq.heappush(waiting, (tasks[number].expires_s, number))
        while waiting and waiting[0][0] <= at_s:
            heapq.heappop(waiting)
        if waiting:
            reckoned.store(tasks[heapq.heappop(waiting)[1]], at_s)
    return reckoned


def polled_one_by_one(tasks: Sequence[FutureTask], slots: Slots, stop_after_s: float) -> Reckoned:
    """Poll each task every few seconds from its queueing on, then retrieve it; the longest wait goes first."""
    reckoned = Reckoned()
    turns = [(task.queued_s, number, False) for number, task in enumerate(tasks)]
    heapq.heapify(turns)
    while turns:
        due_s, number, is_ready = heapq.heappop(turns)
        task, at_s = tasks[number], slots.take(due_s)
        if at_s >= min(task.expires_s, stop_after_s):
            continue
        if is_ready:
            reckoned.store(task, at_s)
        else:
            reckoned.polls += 1
            is_ready = at_s >= task.ready_s
            heapq.heappush(turns, (at_s if is_ready else at_s + SDK_POLLS_EVERY_S, number, is_ready))
    return reckoned
