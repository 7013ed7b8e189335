"""What a request about a task can end in. Every answer and every vendor exception becomes one of these.

`kind` is stored with each attempt and is a label of metrics: renaming a class must not change it. `code` and `message`
say what went wrong, None where nothing did.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from harvester.domain.tasks.embeddings import MediaMetadata, TaskEmbeddings

MAX_SHOWN_ID = 128


@dataclass(frozen=True, slots=True)
class Ready:
    """The status says `ready`: the embeddings can be retrieved. `metadata` is what it said about the video.

    `received_id`, here and below, is the `_id` that the answer gave; None if it gave none.
    """

    kind: ClassVar[str] = "ready"
    code: ClassVar[None] = None
    message: ClassVar[None] = None
    metadata: MediaMetadata | None = field(default=None, compare=False)
    received_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The embeddings themselves, checked."""

    kind: ClassVar[str] = "retrieved"
    code: ClassVar[None] = None
    message: ClassVar[None] = None
    embeddings: TaskEmbeddings


@dataclass(frozen=True, slots=True)
class Processing:
    """Not finished yet; `status` is what the API called it, known or not. `metadata` as with Ready."""

    kind: ClassVar[str] = "processing"
    code: ClassVar[None] = None
    message: ClassVar[None] = None
    status: str = "processing"
    created_at_ms: int | None = None
    metadata: MediaMetadata | None = field(default=None, compare=False)
    received_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The platform could not embed this video."""

    kind: ClassVar[str] = "failed"
    message: str
    code: str = "task_failed"
    received_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class NotFound:
    """404 or 410: the API does not know the task (any more)."""

    kind: ClassVar[str] = "gone"
    message: str
    code: str = "resource_not_exists"


@dataclass(frozen=True, slots=True)
class Empty:
    """`ready`, but without segments: seen shortly before a result appears, and after it was dropped."""

    kind: ClassVar[str] = "empty"
    message: str = "The task is ready but the answer holds no segments."
    code: str = "no_segments"
    received_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class InvalidRequest:
    """400 `parameter_invalid`: the API will never accept this id."""

    kind: ClassVar[str] = "unacceptable"
    message: str
    code: str = "parameter_invalid"


@dataclass(frozen=True, slots=True)
class Throttled:
    """429: says nothing about the task. `retry_after_s` is None where the answer gave no time."""

    kind: ClassVar[str] = "throttled"
    message: str
    retry_after_s: float | None = None
    code: str = "too_many_requests"


@dataclass(frozen=True, slots=True)
class Refused:
    """401 or 403: the key is not accepted; says nothing about the task. `is_key`: nor is it for any other call."""

    kind: ClassVar[str] = "refused"
    message: str
    code: str = "api_key_invalid"
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class Transient:
    """A failure that passes: network, time-out, 5xx, a cut body, a proxy's page."""

    kind: ClassVar[str] = "transient"
    message: str
    code: str


@dataclass(frozen=True, slots=True)
class Misrouted:
    """The answer names the id of another task: it may belong to another request, so it says nothing about this one."""

    kind: ClassVar[str] = "misrouted"
    received_id: str
    message: str
    code: str = "another_id"


@dataclass(frozen=True, slots=True)
class Invalid:
    """A complete answer that is not acceptable as embeddings; `message` says where."""

    kind: ClassVar[str] = "invalid"
    message: str
    code: str = "payload_invalid"
    received_id: str | None = field(default=None, compare=False)


Outcome = (
    Ready
    | Retrieved
    | Processing
    | Failed
    | NotFound
    | Empty
    | InvalidRequest
    | Throttled
    | Refused
    | Transient
    | Misrouted
    | Invalid
)


def misrouted(outcome: Outcome, task_id: str) -> Misrouted | None:
    """Return what an answer is that names another task than the one asked for; None if it names that one, or none.

    Ids are compared without regard to case. The decision about embeddings under another id asks here too.
    """
    received = (
        outcome.embeddings.received_id if isinstance(outcome, Retrieved) else getattr(outcome, "received_id", None)
    )
    if isinstance(outcome, Misrouted) or received is None or received.lower() == task_id.lower():
        return None
    return Misrouted(received, message=f"The answer names another task: {received[:MAX_SHOWN_ID]}.")
