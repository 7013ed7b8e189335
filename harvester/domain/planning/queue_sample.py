"""A sample of the queue at one moment, from which a forecast is made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harvester.domain.planning.feasibility import Deadlines
from harvester.domain.tasks.task import Task, TaskState


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """An open task, and from when on (Unix ms) a request about it may go out."""

    task: Task
    due_ms: int = 0


@dataclass(frozen=True, slots=True)
class QueueSample:
    """A sample of the queue at `at_ms` (Unix milliseconds).

    `sampled` is an even sample of the open tasks, the nearest deadline first; each task stands for `each` (1: all tasks
    are in it). `head` has the tasks of the next requests. `processes` processes have claimed `in_hand` tasks.
    """

    at_ms: int
    open_tasks: int
    ready_due: int = 0
    pending_due: int = 0
    in_hand: int = 0
    processes: int = 0
    each: int = 1
    sampled: Sequence[QueuedTask] = ()
    head: Sequence[QueuedTask] = ()
    deadlines: Deadlines = ()

    @property
    def later(self) -> int:
        """The number of open tasks that are neither due nor claimed."""
        return max(0, self.open_tasks - self.ready_due - self.pending_due - self.in_hand)

    @property
    def next_due_ms(self) -> int | None:
        """When the first of those is due (Unix ms), None without one."""
        return min((turn.due_ms for turn in self.head if turn.due_ms > self.at_ms), default=None)


def sampled_pending(sample: QueueSample) -> Iterable[QueuedTask]:
    """Return the pending tasks of the even sample."""
    return (turn for turn in sample.sampled if turn.task.state is TaskState.PENDING)
