"""What came back for one request."""

from dataclasses import dataclass, replace
from typing import Self

from harvester.api.body_buffer import SpooledBody
from harvester.api.decode.body import GLANCE_BYTES, SMALL_BYTES, beginning_id, holds, holds_compressed
from harvester.domain.tasks.outcomes import Misrouted, Outcome


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `outcome` is None for a result that still has to be decoded from `body`."""

    outcome: Outcome | None
    duration_ms: int
    status: int | None = None
    trace_id: str | None = None
    body: bytes = b""
    encoding: str | None = None
    file: SpooledBody | None = None
    """Holds the body instead, where it is long."""
    dropped_bytes: int = 0
    """The length as sent of a body that is not held any more."""

    @property
    def size(self) -> int:
        """The length of the body as sent, in bytes, whether or not it is still held."""
        return self.dropped_bytes + (len(self.body) if self.file is None else len(self.file))

    def without_body(self) -> Self:
        """Give up the body and return the reply without it; `size` stays."""
        self.drop_body()
        return replace(self, body=b"", encoding=None, file=None, dropped_bytes=self.size)

    def drop_body(self) -> None:
        """Give up the file; what is mapped from it stays."""
        if self.file is not None:
            self.file.close()

    def names_another(self, task_id: str | None) -> bool:
        """Return whether it is another task's answer, as its outcome or the beginning of its body shows."""
        if task_id is None:
            return False
        if isinstance(self.outcome, Misrouted):
            return True
        beginning = self.body if self.file is None else self.file.beginning(GLANCE_BYTES)
        named = beginning_id(beginning, self.encoding)
        return named is not None and named.lower() != task_id.lower()

    def repeats(self, key: bytes) -> bool:
        """Return whether the body holds the key."""
        if self.file is None:
            return holds(self.body, self.encoding, key)
        return self.file.holds_secret or holds_compressed(
            self.file.beginning(SMALL_BYTES), self.size, self.encoding, key
        )


def is_success(status: int | None) -> bool:
    """Return whether an HTTP status is one of success; without an answer it is not."""
    return status is not None and 200 <= status < 300
