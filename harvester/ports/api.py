"""The answers of the API, as the service gets them, and who decodes their bodies."""

from dataclasses import dataclass
from typing import Protocol

from harvester.domain.tasks.outcomes import Outcome
from harvester.ports.spooled_body import SpooledBody


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


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to one request: its meaning, or the body that a decoder has to read."""

    content: Answered | Body
    duration_ms: int
    status: int | None = None
    trace_id: str | None = None
    size: int = 0
    """The length of the body as sent, in bytes, whether or not it is still held."""
    options: tuple[str, ...] = ()
    """The embedding options that the request asked for; empty for everything."""


class BodyDecoder(Protocol):
    """Decodes the bodies of retrievals."""

    workers: int

    async def decode(self, body: bytes | SpooledBody, encoding: str | None) -> Outcome:
        """Return the meaning of a retrieval's body."""
        ...
