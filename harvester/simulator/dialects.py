"""How each version of the API writes the same things, and where its answers keep them."""

from typing import Any, Protocol

from harvester.domain.tasks.task import ApiVersion
from harvester.simulator.request_log import version_of
from harvester.simulator.tasks import SimulatedTask
from harvester.simulator.v1.dialect import V1
from harvester.simulator.v2.dialect import V2
from harvester.simulator.vectors import SimulatedEmbeddings


class Dialect(Protocol):
    """One version of the API."""

    @property
    def version(self) -> ApiVersion:
        """Its name."""
        ...

    @property
    def collection(self) -> str:
        """What a 404 names as the place where a task is missing."""
        ...

    @property
    def results(self) -> bytes:
        """The beginning of a list of results that is not empty, as JSON text."""
        ...

    @property
    def vector(self) -> str:
        """The key of a vector."""
        ...

    @property
    def start(self) -> str:
        """The key of the beginning of a segment."""
        ...

    @property
    def first_text(self) -> str:
        """The key of a text that each result has, outside of its entries."""
        ...

    def knows(self, task: SimulatedTask) -> bool:
        """Whether the version can express the task."""
        ...

    def problem(self, code: str, message: str) -> bytes:
        """Write a refusal."""
        ...

    def task(self, task: SimulatedTask, now_ms: int) -> bytes:
        """Write the answer about one task without results: processing or failed."""
        ...

    def result(self, task: SimulatedTask, now_ms: int, embeddings: SimulatedEmbeddings) -> bytes:
        """Write the answer about one ready task."""
        ...

    def parts(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the entries of a result, to be changed in place."""
        ...

    def about(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the metadata of a result, to be changed in place."""
        ...

    def without_result(self, document: dict[str, Any], status: str) -> None:
        """Change the answer about a task to one with another status and without results."""
        ...


DIALECTS: dict[ApiVersion, Dialect] = {"v1": V1(), "v2": V2()}


def dialect_of(path: str) -> Dialect:
    """Return the dialect of a request by its path, prefix included."""
    return DIALECTS[version_of(path)]
