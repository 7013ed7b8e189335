"""Values that the service passes to the store or gets from it; every store uses the same ones."""

from dataclasses import dataclass, field

from harvester.domain.tasks.embeddings import MediaMetadata, TaskEmbeddings
from harvester.domain.tasks.task import ApiVersion, Task, TaskState

LONGEST_SLEEP_MS = 25 * 3600 * 1000
"""Milliseconds: no claimed task falls due later than this after the claim, because a claim lasts a day at most."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a task is not harvested (yet): a stable code, and a message of the API or of the program."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The next row of a task. Times are Unix milliseconds; `next_attempt_at_ms` 0 means at once, or an ended task."""

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
    denied_by: ApiVersion | None = None
    other_id: str | None = None
    seen_with: str | None = None
    problem: Problem | None = None
    is_held_back: bool = field(default=False, compare=False)
    """Whether the task waits because most answers bring no result."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request about a task, for its history. `bytes` counts the received body, before decompression."""

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
    """The result of one attempt on a claimed task. `charged` is False if the answer said nothing about the task.

    `body` is the received body if it could not be decoded; the store keeps it if the task ends. `metadata` describes
    the video if the answer had no embeddings. `retrieve_options` is what the result was asked for, None if that is
    stored already. `warnings` says what the result lacks.
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
    retrieve_options: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """The owner of a lease, when it ends, and when it was taken or renewed, in Unix milliseconds."""

    owner: str
    until_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class HeldLeases:
    """The tasks that one owner has claimed: `count` tasks until `until_ms`, by the owner's clock (Unix milliseconds).

    `length_ms` is the length of the lease; None if an older version of the program took it.
    """

    owner: str
    until_ms: int
    length_ms: int | None
    count: int
