"""A task: its states, its deadline, and what the store keeps between two attempts."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from harvester.domain.tasks.task_id import created_at_hint_ms

DAY_MS = 24 * 60 * 60 * 1000

RETENTION_MS = 7 * DAY_MS
"""Milliseconds for which the platform keeps embeddings (documented: seven days)."""

NEVER_ANSWERED_MS = 30 * DAY_MS
"""Milliseconds of doubt after which an unanswered task past its deadline expires; the deadline may be a guess."""


ApiVersion = Literal["v1", "v2"]
"""The versions of the API; in version 2 one call returns both the status and the result."""


def other_version(version: ApiVersion) -> ApiVersion:
    """Return the version of the API that `version` is not."""
    return "v2" if version == "v1" else "v1"


CLOCK_SET_MS = 1_704_067_200_000
"""Unix milliseconds, 1 January 2024. This API has no older embed tasks, so a clock before that was never set."""


class TaskState(StrEnum):
    """The states of a task: `pending → ready → harvested`, or one of the four other ends."""

    PENDING = "pending"
    READY = "ready"
    HARVESTED = "harvested"
    FAILED = "failed"
    EXPIRED = "expired"
    MISSING = "missing"
    REJECTED = "rejected"

    @property
    def is_open(self) -> bool:
        """Whether a task in this state still needs requests."""
        return self in OPEN_STATES


OPEN_STATES = frozenset({TaskState.PENDING, TaskState.READY})
END_STATES = frozenset(TaskState) - OPEN_STATES


def deadline_ms(task_id: str, *, created_at_ms: int | None, added_at_ms: int) -> int:
    """Return when the platform drops the embeddings, in Unix milliseconds.

    Count from `created_at` of the API if known, else from the time inside an ObjectId, but at the latest from the time
    when the task was queued: it cannot be younger, unless the clock was not set then.
    """
    if created_at_ms is not None:
        return created_at_ms + RETENTION_MS
    hint = created_at_hint_ms(task_id)
    if hint is None:
        return added_at_ms + RETENTION_MS
    return (hint if added_at_ms < CLOCK_SET_MS else min(hint, added_at_ms)) + RETENTION_MS


def age_ms(created_at_ms: int, added_at_ms: int, now_ms: int) -> int:
    """Return the age of a task in milliseconds, never negative; all three times are Unix milliseconds.

    A creation time after the time of queueing shows that the API's clock is ahead, so count from the earlier one,
    unless the clock of the queueing machine was never set.
    """
    return max(0, now_ms - (created_at_ms if added_at_ms < CLOCK_SET_MS else min(created_at_ms, added_at_ms)))


@dataclass(slots=True, unsafe_hash=True)
class Task:
    """A row of the queue. Times are Unix milliseconds.

    - `claim`: the fencing number; the store accepts a result only while the row has the same number.
    - `failures`: temporary failures in a row; `gone`: "not found" answers; `invalid`: unacceptable downloads.
    - `unfinished_at_ms`: when the API last said that the task had not finished.
    - `doubted_at_ms`: since when its answers have brought no result.
    - `version`: the API version that knows the task; None while no answer has identified it.
    - `denied_by`: the API version that gave the last of the "not found" answers, None without one.
    - `other_id`: the id that the last result named in place of `task_id` ('' for no id).
    - `seen_with`: the fingerprint of the API key that knew the task.
    - `error_code`, `error_message`: from the last answer that was an error.
    - `retrieve_options`: what version 1 is asked for; empty for everything, None where the setting decides.

    Not `frozen`, because each query makes a thousand tasks and `frozen` takes eight times as long; `Final` lets the
    type checker prevent changes.
    """

    row_id: Final[int]
    task_id: Final[str]
    state: Final[TaskState]
    added_at_ms: Final[int]
    expires_at_ms: Final[int]
    created_at_ms: Final[int | None] = None
    failures: Final[int] = 0
    gone: Final[int] = 0
    invalid: Final[int] = 0
    claim: Final[int] = 0
    unfinished_at_ms: Final[int | None] = None
    model_name: Final[str | None] = None
    duration_s: Final[float | None] = None
    doubted_at_ms: Final[int | None] = None
    version: Final[ApiVersion | None] = None
    other_id: Final[str | None] = None
    seen_with: Final[str | None] = None
    error_code: Final[str | None] = None
    error_message: Final[str | None] = None
    denied_by: Final[ApiVersion | None] = None
    retrieve_options: Final[tuple[str, ...] | None] = None

    @property
    def is_denied_once(self) -> bool:
        """Whether one API version does not know the task, and the other has not answered yet."""
        return self.version is None and self.gone == 1

    @property
    def is_dated(self) -> bool:
        """Whether the creation time is known, from the API or from the id."""
        return self.created_at_ms is not None or created_at_hint_ms(self.task_id) is not None

    @property
    def created_ms_estimate(self) -> int:
        """The best estimate of the creation time: the API's, else the id's, else the time when it was queued."""
        return self.expires_at_ms - RETENTION_MS

    def age_ms(self, now_ms: int) -> int:
        """Return the milliseconds since the task was created, by the best estimate; never negative."""
        return age_ms(self.created_ms_estimate, self.added_at_ms, now_ms)

    def is_past_deadline(self, now_ms: int) -> bool:
        """Whether the platform may have dropped the embeddings by now."""
        return now_ms >= self.expires_at_ms
