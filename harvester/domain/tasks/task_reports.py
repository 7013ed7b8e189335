"""Reports of a store for users: the status of the database, and the details of one task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.limits.pause import Pause
from harvester.domain.tasks.model_gaps import ModelGaps
from harvester.domain.tasks.queue_reports import Deadline, Troubled
from harvester.domain.tasks.records import Attempt
from harvester.domain.tasks.task import TaskState


@dataclass(frozen=True, slots=True)
class TaskError:
    """The last error of a task. Unix milliseconds."""

    task_id: str
    state: TaskState
    code: str
    message: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The status at `at_ms` (Unix milliseconds): counts, deadlines, the last errors, and how much is stored.

    `deadlines` are those of the open tasks with their number, the nearest first. `file_bytes` includes the write-ahead
    log (`log_bytes`); `free_bytes` are those of its volume.
    """

    at_ms: int
    counts: dict[TaskState, int]
    nearest_deadline: Deadline | None
    deadlines: list[tuple[int, int]]
    oldest_open_task_id: str | None
    oldest_open_added_at_ms: int | None
    last_errors: list[TaskError]
    segments: int
    video_seconds: float
    file_bytes: int
    blocked_until_ms: dict[Endpoint, int]
    held: Troubled | None = None
    """The number of open tasks whose last answers brought no result; their ends wait for a confirmation."""
    log_bytes: int = 0
    free_bytes: int | None = None
    truncated: int = 0
    """The number of stored results whose input the model has read in part only."""
    incomplete: int = 0
    incomplete_task_id: str | None = None
    """How many stored results lack something, and the task of one of them."""
    filtered: int = 0
    """The number of stored results that were retrieved for some of the embedding options only."""
    model_gaps: ModelGaps = field(default_factory=ModelGaps)
    pause: Pause | None = None
    """The pause of all requests that a person has asked for."""

    @property
    def open(self) -> int:
        """The number of tasks that have not ended."""
        return sum(count for state, count in self.counts.items() if state.is_open)


@dataclass(frozen=True, slots=True)
class SegmentGroup:
    """The segments of one option and scope, from the first to the last second, page and chunk.

    None where they have none. `uncertain` is the number of those with an uncertainty.
    """

    option: str | None
    scope: str | None
    count: int
    start: float | None
    end: float | None
    dim: int
    dtype: str
    start_page: int | None = None
    end_page: int | None = None
    first_chunk: int | None = None
    last_chunk: int | None = None
    uncertain: int = 0


@dataclass(frozen=True, slots=True)
class TaskDetails:
    """The details of one task. `task`, `video`, `listed` and `kept` (of its body) are rows by column name."""

    task: dict[str, Any]
    video: dict[str, Any] | None
    scopes: list[str]
    groups: list[SegmentGroup]
    attempts: list[Attempt]
    listed: dict[str, Any] | None = None
    kept: dict[str, Any] | None = None
    options: Sequence[str] = ()
    tokens: Mapping[str, int] = field(default_factory=dict)
    """How many tokens of each medium the model has read."""
    warnings: list[str] = field(default_factory=list)
    """The parts that the stored result lacks, in sentences."""
    retrieve_options: tuple[str, ...] | None = None
    """The embedding options that version 1 is asked for: empty for all, None where the setting decides or all came."""
    labels: Mapping[str, str] = field(default_factory=dict)
