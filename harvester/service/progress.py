"""The state of a running harvest at any moment; the pipeline writes it, displays and metrics read it."""

from collections import Counter, deque
from dataclasses import dataclass, field

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.feasibility import Feasibility
from harvester.domain.tasks.task import OPEN_STATES, TaskState
from harvester.service.heartbeats import Heartbeats

RATE_WINDOW_S = 60.0

FEWEST_ENDS = 5
"""Ends: with fewer, their rate is no evidence of how fast the other tasks will end."""


@dataclass(slots=True)
class Progress:
    """Counts and conditions. Times with `_ms` are Unix milliseconds, `started` and `now` monotonic seconds.

    `is_waiting`: a request might go out, but none is worth making yet; `next_due_ms` is when the next task falls due.
    """

    started: float
    counts: dict[TaskState, int] = field(default_factory=lambda: dict.fromkeys(TaskState, 0))
    requests: Counter[Endpoint] = field(default_factory=Counter)
    harvested: int = 0
    ended_otherwise: int = 0
    segments: int = 0
    bytes_received: int = 0
    stale: int = 0
    in_flight: int = 0
    is_waiting: bool = False
    next_due_ms: int | None = None
    nearest_deadline_ms: int | None = None
    blocked_until_ms: int | None = None
    feasibility: Feasibility | None = None
    conditions: dict[str, str] = field(default_factory=dict)
    beats: Heartbeats = field(default_factory=Heartbeats)
    _ends: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))

    @property
    def open(self) -> int:
        """The number of tasks that have not ended."""
        return sum(self.counts[state] for state in OPEN_STATES)

    @property
    def total(self) -> int:
        """The number of all tasks."""
        return sum(self.counts.values())

    def note(self, name: str, text: str | None) -> None:
        """Set a condition, or end it with None."""
        if text is None:
            self.conditions.pop(name, None)
        else:
            self.conditions[name] = text

    def record_transition(self, old: TaskState, new: TaskState, now: float) -> None:
        """Record that a task went from one state to another."""
        self.counts[old] -= 1
        self.counts[new] += 1
        if not new.is_open:
            self._ends.append(now)
            if new is TaskState.HARVESTED:
                self.harvested += 1
            else:
                self.ended_otherwise += 1

    def ends_per_s(self, now: float) -> float:
        """Return how many tasks a second have ended within the last RATE_WINDOW_S."""
        while self._ends and self._ends[0] < now - RATE_WINDOW_S:
            self._ends.popleft()
        span = min(RATE_WINDOW_S, now - self.started)
        return len(self._ends) / span if span > 0 else 0.0

    def eta_s(self, now: float, now_ms: int) -> float | None:
        """Return in about how many seconds the open tasks will have ended; None while that is unknown.

        The estimate uses the recent rate, counted from the first end, because the time before it was a wait. It is not
        sooner than the budget allows, because saved-up requests are soon spent.
        """
        rate = self.ends_per_s(now)
        if len(self._ends) < FEWEST_ENDS or self.is_waiting:
            return None
        rate = max(rate, (len(self._ends) - 1) / max(1.0, now - self._ends[0]))
        allowed_s = (self.feasibility.finish_ms - now_ms) / 1000 if self.feasibility is not None else 0.0
        return max(self.open / rate, allowed_s)
