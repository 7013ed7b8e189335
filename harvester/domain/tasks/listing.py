"""Values about the tasks on a page of the account's list."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.outcomes import Failed, Processing, Ready
from harvester.domain.tasks.records import Attempt, Decision
from harvester.domain.tasks.task import ApiVersion, Task, TaskState, deadline_ms


@dataclass(frozen=True, slots=True)
class ListedTask:
    """One entry of the list; `outcome` is the outcome of a status call at the same time.

    `version` is the only API version that can have made the task, None if both can.
    """

    task_id: str
    outcome: Ready | Failed | Processing
    metadata: MediaMetadata
    version: ApiVersion | None = None

    @property
    def created_at_ms(self) -> int | None:
        """When the task was created, in Unix milliseconds; None if unknown."""
        return self.metadata.created_at_ms

    def describe(self, task: Task) -> Task:
        """Return `task` with the video, the creation time and the deadline from this entry."""
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
    """The stored row of a task on a page, read after the page.

    `task` lacks the video and may lack the deadline (see `ListedTask.describe`), and it may have ended. `is_claimed`: a
    process has claimed it. `is_forgotten`: there is no row but a tombstone, so the page must not queue the task.
    """

    task: Task
    is_claimed: bool
    is_forgotten: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the task is `pending` or `ready`."""
        return self.task.state.is_open and not self.is_forgotten


@dataclass(frozen=True, slots=True)
class ListedChange:
    """The change of one open task by its entry.

    `task` is the row that was read, described by the entry; the store applies the change only while the row has the
    same state and fencing number. `is_new`: there was no row. `decision` None: the row stays as it is.
    """

    task: Task
    listed: ListedTask
    decision: Decision | None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class ListSettlement:
    """The changes by one page, stored in one transaction; the page was requested at `at_ms` (Unix milliseconds).

    `claimed` are the tasks that the page was requested for; `finished` are those of them that must have finished,
    because the page does not show them. `attempt` is the request, without outcome; None for discovery, which charges no
    task.
    """

    changes: Sequence[ListedChange]
    at_ms: int
    claimed: Sequence[Task] = ()
    finished: Sequence[Task] = ()
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class UnnamedResult:
    """A harvested task whose model is unknown; `harvested_at_ms` is Unix milliseconds."""

    task: Task
    harvested_at_ms: int


def new_task(task_id: str, now_ms: int) -> Task:
    """Return a task that is not stored yet, queued at `now_ms` (Unix ms); its entry sets the deadline."""
    return Task(row_id=0, task_id=task_id, state=TaskState.PENDING, added_at_ms=now_ms, expires_at_ms=0)
