"""The answer to one request."""

from dataclasses import dataclass

from harvester.api.body_buffer import SpooledBody
from harvester.api.decode.body import GLANCE_BYTES, SMALL_BYTES, beginning_id, contains, contains_compressed
from harvester.domain.tasks.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Answered:
    """The client has read the answer: `outcome` is its meaning."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Body:
    """The answer may be a result: a decoder has to read `data`, the body as sent. A long one is in a file."""

    data: bytes | SpooledBody
    encoding: str | None = None

    @property
    def size(self) -> int:
        """The length as sent, in bytes."""
        return len(self.data)

    def beginning(self, count: int) -> bytes:
        """Return the first `count` bytes of a body in a file, or a whole body in memory."""
        return self.data if isinstance(self.data, bytes) else self.data.beginning(count)

    def close(self) -> None:
        """Close the file; mappings of it stay valid. Safe to call twice."""
        if isinstance(self.data, SpooledBody):
            self.data.close()

    def names_another(self, task_id: str) -> bool:
        """Return whether the beginning of the body names another task."""
        named = beginning_id(self.beginning(GLANCE_BYTES), self.encoding)
        return named is not None and named.lower() != task_id.lower()

    def repeats(self, key: bytes) -> bool:
        """Return whether the body contains the key."""
        if isinstance(self.data, bytes):
            return contains(self.data, self.encoding, key)
        return self.data.holds_secret or contains_compressed(
            self.data.beginning(SMALL_BYTES), self.size, self.encoding, key
        )


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to one request: its meaning, or the body that a decoder has to read."""

    content: Answered | Body
    duration_ms: int
    status: int | None = None
    trace_id: str | None = None
    size: int = 0
    """The length of the body as sent, in bytes, whether or not it is still held."""


def is_success(status: int | None) -> bool:
    """Return whether an HTTP status means success; None, for no answer, does not."""
    return status is not None and 200 <= status < 300
