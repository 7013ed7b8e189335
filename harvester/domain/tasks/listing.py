"""Values about the tasks that a page of the account's list names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.outcomes import Failed, Processing, Ready
from harvester.domain.tasks.records import Attempt, Decision
from harvester.domain.tasks.task import Task, TaskState, deadline_ms


@dataclass(frozen=True, slots=True)
class ListedTask:
    """One entry of the list; `outcome` is what a status call would have said."""

    task_id: str
    outcome: Ready | Failed | Processing
    metadata: MediaMetadata

    @property
    def created_at_ms(self) -> int | None:
        """When the task was created, in Unix milliseconds."""
        return self.metadata.created_at_ms

    def describe(self, task: Task) -> Task:
        """Return `task` with the video, the creation time and the deadline that this entry gives it."""
        created = task.created_at_ms if self.created_at_ms is None else self.created_at_ms
        return replace(
            task,
            created_at_ms=created,
            expires_at_ms=deadline_ms(task.task_id, created_at_ms=created, added_at_ms=task.added_at_ms),
            model_name=self.metadata.model_name,
            duration_s=self.metadata.duration,
        )


@dataclass(frozen=True, slots=True)
class ListedRow:
    """The stored row of a task that a page names, as it was when the page was read.

    `task` lacks the video and may lack the deadline: see `ListedTask.describe`. It may have ended. `is_claimed`: a
    process works on it.
    """

    task: Task
    is_claimed: bool

    @property
    def is_open(self) -> bool:
        """Whether there is still something to do about the task."""
        return self.task.state.is_open


@dataclass(frozen=True, slots=True)
class ListedChange:
    """What an entry makes of one open task.

    `task` is the row that was read, described by the entry: the change is stored only while the row has the same state
    and fencing number. `is_new`: there was no row. `decision` None: the row stays as it is.
    """

    task: Task
    listed: ListedTask
    decision: Decision | None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class ListSettlement:
    """What one page says about open tasks, stored in one transaction; `at_ms` (Unix milliseconds) it was requested.

    `claimed` are the tasks that the page was requested for; `finished` are those of them that have finished because the
    page does not show them. `attempt` is the request, without outcome; None for discovery, which is charged to no task.
    """

    changes: Sequence[ListedChange]
    at_ms: int
    claimed: Sequence[Task] = ()
    finished: Sequence[Task] = ()
    attempt: Attempt | None = None


def new_task(task_id: str, now_ms: int) -> Task:
    """Return a task that is not stored yet, queued now; without a deadline, which its entry gives."""
    return Task(key=0, task_id=task_id, state=TaskState.PENDING, added_at_ms=now_ms, expires_at_ms=0)
