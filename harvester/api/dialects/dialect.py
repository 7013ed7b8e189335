"""What the client must know of a version of the API."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from harvester.domain.limits.endpoint import Endpoint, LimitReport
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Outcome
from harvester.domain.tasks.task import ApiVersion


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The beginning of an error's body as received, and the server's time then in Unix seconds."""

    content: bytes
    encoding: str | None
    received_s: float = 0.0


class Dialect(Protocol):
    """One version of the API: its calls, and what its answers mean. Paths are segments below the base URL."""

    version: ClassVar[ApiVersion]
    list_path: ClassVar[tuple[str, ...]]

    def task_path(self, task_id: str, endpoint: Endpoint) -> tuple[str, ...]:
        """Return the path of a call about one task."""
        ...

    def brings_result(self, endpoint: Endpoint) -> bool:
        """Return whether the answer of a call about one task may be its embeddings."""
        ...

    def filters_options(self, endpoint: Endpoint) -> bool:
        """Return whether a call about one task can be restricted to some embedding options."""
        ...

    def read_status(self, body: bytes, encoding: str | None) -> Outcome:
        """Return the outcome of the 200 answer of a call about one task that brings no result."""
        ...

    def read_entry(self, entry: Any) -> ListedTask | None:
        """Return the task of an entry of the list; None for an entry without an acceptable id."""
        ...

    def read_error(self, endpoint: Endpoint, status: int, body: ErrorBody, report: LimitReport) -> Outcome:
        """Return the outcome of an answer other than 200; `report` has the wait that its headers ask for."""
        ...
