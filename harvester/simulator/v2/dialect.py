"""How version 2 writes: nested problems, and the result as `data`."""

from typing import Any

import orjson

from harvester.domain.tasks.task import ApiVersion
from harvester.simulator.failures import FAILURES
from harvester.simulator.tasks import SimulatedTask
from harvester.simulator.v2 import documents
from harvester.simulator.vectors import SimulatedEmbeddings


class V2:
    """Version 2; see `Dialect`."""

    version: ApiVersion = "v2"
    collection = "embed_tasks"
    results = b'"data":[{'
    vector = "embedding"
    start = "start_sec"
    first_text = "input_type"

    def knows(self, task: SimulatedTask) -> bool:  # noqa: ARG002  # every medium has a place here
        """Whether the version can express the task."""
        return True

    def problem(self, code: str, message: str) -> bytes:
        """Write a refusal."""
        return orjson.dumps({"error": {"code": code, "message": message}})

    def task(self, task: SimulatedTask, now_ms: int) -> bytes:
        """Write the answer about a task without results."""
        return documents.task_body(task, now_ms)

    def result(self, task: SimulatedTask, now_ms: int, embeddings: SimulatedEmbeddings) -> bytes:
        """Write the answer about a ready task."""
        return documents.retrieved_body(task, now_ms, embeddings)

    def parts(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the entries of a result."""
        entries: list[dict[str, Any]] = document["data"]
        return entries

    def about(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the metadata of a result."""
        metadata: dict[str, Any] = document["metadata"]
        return metadata

    def without_result(self, document: dict[str, Any], status: str) -> None:
        """Change the answer to one with another status and without results."""
        document |= {"status": status, "data": None}
        if status == "failed":
            document["error"] = {"message": FAILURES["platform"].message}
