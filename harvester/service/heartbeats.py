"""Heartbeats: a stage that waits for work is idle, however long; a stage that has work must report in."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Heartbeats:
    """When each stage last reported in, by name. Times are monotonic seconds.

    A stage may run as several tasks at a time; the one that has been silent for longest counts.
    """

    last: dict[str, float] = field(default_factory=dict)
    _in_hand: dict[int, tuple[str, float]] = field(default_factory=dict)

    @contextmanager
    def at_work(self, stage: str, monotonic: Callable[[], float]) -> Iterator[None]:
        """Count the block as a piece of work of the current task."""
        task, now = id(asyncio.current_task()), monotonic()
        self.last[stage] = now
        self._in_hand[task] = (stage, now)
        try:
            yield
        finally:
            del self._in_hand[task]
            self.last[stage] = monotonic()

    def beat(self, now: float) -> None:
        """Report in during a piece of work that is long or waits; outside of one, do nothing."""
        task = id(asyncio.current_task())
        if task in self._in_hand:
            stage, _ = self._in_hand[task]
            self.last[stage] = now
            self._in_hand[task] = (stage, now)

    def is_idle(self, stage: str) -> bool:
        """Whether the stage waits for work."""
        return all(busy != stage for busy, _ in self._in_hand.values())

    def silent_s(self, stage: str, now: float) -> float:
        """Return for how many seconds the stage has had work without reporting in; 0 while it is idle."""
        return max((now - since for busy, since in self._in_hand.values() if busy == stage), default=0.0)
