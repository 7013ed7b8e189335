"""Which request to make next: retrieve before asking, the nearest deadline first, and ask when it pays."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from harvester.domain.pacing import Endpoint
from harvester.domain.tasks import Task, TaskState

LIKELY_FINISHED_MS = 15 * 60 * 1_000
"""An older task is asked for its result straight away: a retrieval costs what a status costs, and may deliver."""

MIN_CHECK_MS = 5_000
MAX_CHECK_MS = 10 * 60 * 1_000
CHECK_SHARE_OF_AGE = 0.2


class Rng(Protocol):
    """The one random number that spreads checks; `random.Random` has it."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number between `a` and `b`."""
        ...


@dataclass(frozen=True, slots=True)
class Action:
    """One request: ask `endpoint` about `task`."""

    endpoint: Endpoint
    task: Task


def plan(tasks: Iterable[Task], now_ms: int, *, has_status_call: bool = True) -> list[Action]:
    """Return one action for each due task, in the order in which budget should be spent on them."""
    ordered = sorted(tasks, key=lambda task: (task.state is not TaskState.READY, task.expires_at_ms, task.key))
    return [Action(_endpoint(task, now_ms) if has_status_call else Endpoint.RETRIEVE, task) for task in ordered]


def _endpoint(task: Task, now_ms: int) -> Endpoint:
    if task.state is TaskState.READY or task.age_ms(now_ms) >= LIKELY_FINISHED_MS:
        return Endpoint.RETRIEVE
    return Endpoint.STATUS


def deferred_until_ms(action: Action, blocked_until_ms: int, now_ms: int) -> int:
    """Return when a task whose call may not go out is worth another look.

    When the block ends; or before, when the task is old enough to be asked for its result straight away, which is
    another call.
    """
    if action.endpoint is Endpoint.RETRIEVE:
        return blocked_until_ms
    other_call_at_ms = now_ms + LIKELY_FINISHED_MS - action.task.age_ms(now_ms)
    return min(blocked_until_ms, max(other_call_at_ms, now_ms + MIN_CHECK_MS))


def next_check_delay_ms(task: Task, now_ms: int, rng: Rng) -> int:
    """Return the wait until an unfinished task is worth another request: a fifth of its age, 5 s to 10 min.

    Spread by a tenth either way, so that tasks that were submitted together do not fall due together.
    """
    share = task.age_ms(now_ms) * CHECK_SHARE_OF_AGE
    return int(min(MAX_CHECK_MS, max(MIN_CHECK_MS, share * rng.uniform(0.9, 1.1))))
