"""The list of tasks: which ones are wanted, and what is said of each. Times are Unix milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harvester.domain.tasks.task import TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """The conditions that a task must all meet; those that are None or empty let every task through.

    `reasons` are error codes of tasks that are not harvested. `name` is a pattern of the file's name with `*`, `?` and
    `[…]`. `since_ms`: ended at that time or later, or still open and queued then. `ended_before_ms`: ended before.
    """

    states: tuple[TaskState, ...] = ()
    reasons: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    input_types: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    since_ms: int | None = None
    ended_before_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One task of the list. `key` is its place in the order of the list: that in which tasks were queued.

    `reason` and `message` are those of its last error, if it is not harvested; the words of the API are unchanged.
    """

    key: int
    task_id: str
    state: TaskState
    reason: str | None
    message: str | None
    model_name: str | None
    input_type: str | None
    input_filename: str | None
    input_url: str | None
    duration_s: float | None
    segments: int | None
    added_at_ms: int
    ended_at_ms: int | None
    expires_at_ms: int | None
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TaskCount:
    """How many tasks there are, how many segments are stored of them, and how many of them are open."""

    tasks: int
    segments: int
    open: int
