"""What a task is: its states, its deadline, and what is remembered between two attempts."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from harvester.domain.tasks.task_id import created_at_hint_ms

DAY_MS = 24 * 60 * 60 * 1000

RETENTION_MS = 7 * DAY_MS
"""The platform keeps embeddings for seven days (documented)."""

NEVER_ANSWERED_MS = 30 * DAY_MS
"""How long a task that is past its deadline is asked about without any answer; the deadline may be a guess."""


ApiVersion = Literal["v1", "v2"]
"""The versions of the API: in version 2 one call asks for the status and for the result."""


CLOCK_SET_MS = 1_704_067_200_000
"""1 January 2024. The embed tasks of this API are younger: a clock that shows an earlier time was never set."""


class TaskState(StrEnum):
    """`pending → ready → harvested`, or one of the four other ends."""

    PENDING = "pending"
    READY = "ready"
    HARVESTED = "harvested"
    FAILED = "failed"
    EXPIRED = "expired"
    MISSING = "missing"
    REJECTED = "rejected"

    @property
    def is_open(self) -> bool:
        """Whether there is still something to do about a task in this state."""
        return self in OPEN_STATES


OPEN_STATES = frozenset({TaskState.PENDING, TaskState.READY})
END_STATES = frozenset(TaskState) - OPEN_STATES


def deadline_ms(task_id: str, *, created_at_ms: int | None, added_at_ms: int) -> int:
    """Return when the platform drops the embeddings, in Unix milliseconds.

    Counted from `created_at` of the API if known, else from the time inside an ObjectId, but at the latest from the
    moment the task was queued: later it cannot have been created, unless the clock was not set then.
    """
    if created_at_ms is not None:
        return created_at_ms + RETENTION_MS
    hint = created_at_hint_ms(task_id)
    if hint is None:
        return added_at_ms + RETENTION_MS
    return (hint if added_at_ms < CLOCK_SET_MS else min(hint, added_at_ms)) + RETENTION_MS


def age_ms(created_at_ms: int, added_at_ms: int, now_ms: int) -> int:
    """Return the age of a task in milliseconds, never negative; all three times are Unix milliseconds.

    A task that was created after it was queued was not: the API's clock is ahead of the one that queued it. But that
    one may never have been set.
    """
    return max(0, now_ms - (created_at_ms if added_at_ms < CLOCK_SET_MS else min(created_at_ms, added_at_ms)))


@dataclass(slots=True, unsafe_hash=True)
class Task:
    """An open task, claimed for one attempt. Times are Unix milliseconds.

    `claim` is the fencing number: a result is stored only while it is still the row's. The counters are those
    that decisions depend on: `failures` in a row, answers that said `gone`, downloads that were `invalid`. At
    `unfinished_at_ms` the API last said that the task was not finished. Since `doubted_at_ms` its answers have brought
    no result. `version` is the API version that knows the task, if not the configured one. `other_id` is what the last
    result named in place of `task_id` ('' for no id). `seen_with` is the fingerprint of the key that knew it.
    `error_code` and `error_message` are of the last answer that was an error.

    Each look makes a thousand of them, and `frozen` would make that take eight times as long: that nobody changes one,
    the type checker sees to.
    """

    key: Final[int]
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

    @property
    def is_dated(self) -> bool:
        """Whether it is known when the task was created, from the API or from its id."""
        return self.created_at_ms is not None or created_at_hint_ms(self.task_id) is not None

    @property
    def born_ms(self) -> int:
        """When the task was created, as well as it is known; without a date that is when it was queued."""
        return self.expires_at_ms - RETENTION_MS

    def age_ms(self, now_ms: int) -> int:
        """Return the time since the task was created, as well as it is known; never negative."""
        return age_ms(self.born_ms, self.added_at_ms, now_ms)

    def is_past_deadline(self, now_ms: int) -> bool:
        """Whether the platform may have dropped the embeddings by now."""
        return now_ms >= self.expires_at_ms
