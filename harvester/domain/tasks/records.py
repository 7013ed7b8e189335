"""Values that the service hands to the store or gets from it; any store takes and returns the same ones."""

from dataclasses import dataclass

from harvester.domain.tasks.embeddings import MediaMetadata, TaskEmbeddings
from harvester.domain.tasks.task import ApiVersion, Task, TaskState

LONGEST_SLEEP_MS = 25 * 3600 * 1000
"""No claimed task falls due later than this after the claim: a claim lasts a day at most."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a task is not harvested (yet): a stable code, and the API's or the program's words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The next row of a task. `next_attempt_at_ms` 0 means at once; an end has none."""

    state: TaskState
    next_attempt_at_ms: int = 0
    expires_at_ms: int = 0
    created_at_ms: int | None = None
    failures: int = 0
    gone: int = 0
    invalid: int = 0
    unfinished_at_ms: int | None = None
    doubted_at_ms: int | None = None
    version: ApiVersion | None = None
    other_id: str | None = None
    seen_with: str | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request about a task, for its story. `bytes` as received, before decompression."""

    at_ms: int
    endpoint: str
    outcome: str
    http_status: int | None = None
    code: str | None = None
    message: str | None = None
    trace_id: str | None = None
    bytes: int = 0
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of one claimed task. `charged` is false where the answer said nothing about the task.

    `body` is what came, where it could not be understood: it is kept if the task ends by it. `metadata` is what an
    answer without embeddings said about the video.
    """

    task: Task
    decision: Decision
    attempt: Attempt
    settled_at_ms: int
    embeddings: TaskEmbeddings | None = None
    body: bytes | None = None
    encoding: str | None = None
    charged: bool = True
    metadata: MediaMetadata | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Who claims, until when, and when it was taken or renewed; Unix milliseconds."""

    owner: str
    until_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class HeldLeases:
    """What one owner has in hand: `count` tasks until `until_ms`, by the owner's clock (Unix milliseconds).

    `length_ms` is for how long they were taken or renewed; None for what an older version has claimed.
    """

    owner: str
    until_ms: int
    length_ms: int | None
    count: int
