"""The outcomes of a request about a task. Every answer and every exception of the HTTP library becomes one of these.

`kind` is stored with each attempt and is a label of metrics: renaming a class must not change it. `code` and `message`
describe the problem; they are None if there is none.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from harvester.domain.tasks.embeddings import MediaMetadata, TaskEmbeddings

MAX_SHOWN_ID = 128


@dataclass(frozen=True, slots=True)
class Ready:
    """The status is `ready`: the embeddings can be retrieved. `metadata` describes the video.

    `received_id`, here and below, is the `_id` in the answer, None without one.
    """

    kind: ClassVar[str] = "ready"
    code: ClassVar[None] = None
    message: ClassVar[None] = None
    metadata: MediaMetadata | None = field(default=None, compare=False)
    received_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The answer has the embeddings, and they passed all checks."""

    kind: ClassVar[str] = "retrieved"
    code: ClassVar[None] = None
    message: ClassVar[None] = None
    embeddings: TaskEmbeddings


@dataclass(frozen=True, slots=True)
class Processing:
    """The task has not finished; `status` is the API's word for it, even an unknown one. `metadata` as with Ready."""

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
    """404 or 410: the API does not know the task, or no longer."""

    kind: ClassVar[str] = "gone"
    message: str
    code: str = "resource_not_exists"


@dataclass(frozen=True, slots=True)
class UnknownHere:
    """One API version does not know the task, and the other one has not been asked: no evidence against the task."""

    kind: ClassVar[str] = "unknown_here"
    message: str
    code: str = "resource_not_exists"


@dataclass(frozen=True, slots=True)
class Empty:
    """The task is `ready` without segments: this happens shortly before a result appears, and after it was dropped."""

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
    """429, or a failure that asks to wait: the answer says nothing about the task.

    `retry_after_s` is None if the answer states no wait. `is_api` as with Transient.
    """

    kind: ClassVar[str] = "throttled"
    message: str
    retry_after_s: float | None = None
    code: str = "too_many_requests"
    is_api: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """401 or 403: the API refuses the key, which says nothing about the task. `is_key_invalid`: for every call."""

    kind: ClassVar[str] = "refused"
    message: str
    code: str = "api_key_invalid"
    is_key_invalid: bool = False


@dataclass(frozen=True, slots=True)
class Transient:
    """A temporary failure: network, time-out, 5xx, a cut body, a proxy's page.

    `is_api`: the answer has the form of the API's errors, with a code.
    """

    kind: ClassVar[str] = "transient"
    message: str
    code: str
    is_api: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Misrouted:
    """The answer names another task: it may belong to another request, so it says nothing about this task."""

    kind: ClassVar[str] = "misrouted"
    received_id: str
    message: str
    code: str = "another_id"


@dataclass(frozen=True, slots=True)
class Invalid:
    """A complete answer whose embeddings are not acceptable; `message` says which part."""

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
    | UnknownHere
    | Empty
    | InvalidRequest
    | Throttled
    | Refused
    | Transient
    | Misrouted
    | Invalid
)


def misrouted(outcome: Outcome, task_id: str) -> Misrouted | None:
    """Return Misrouted if the answer names another task than `task_id`; None if it names that one, or none.

    Upper and lower case are the same.
    """
    received = (
        outcome.embeddings.received_id if isinstance(outcome, Retrieved) else getattr(outcome, "received_id", None)
    )
    if isinstance(outcome, Misrouted) or received is None or received.lower() == task_id.lower():
        return None
    return Misrouted(received, message=f"The answer names another task: {received[:MAX_SHOWN_ID]}.")
