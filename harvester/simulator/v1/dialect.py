"""How version 1 writes: flat problems, and the result inside `video_embedding`."""

from typing import Any

import orjson

from harvester.domain.tasks.task import ApiVersion
from harvester.simulator.tasks import SimulatedTask
from harvester.simulator.v1 import documents
from harvester.simulator.vectors import SimulatedEmbeddings


class V1:
    """Version 1; see `Dialect`."""

    version: ApiVersion = "v1"
    collection = "embedding_tasks"
    results = b'"segments":[{'
    vector = "float"
    start = "start_offset_sec"
    first_text = "model_name"

    def knows(self, task: SimulatedTask) -> bool:
        """Whether the version can express the task."""
        return task.request.medium == "video"

    def problem(self, code: str, message: str) -> bytes:
        """Write a refusal."""
        return orjson.dumps({"code": code, "message": message})

    def task(self, task: SimulatedTask, now_ms: int) -> bytes:
        """Write the answer about a task without results."""
        return documents.task_body(task, now_ms)

    def result(self, task: SimulatedTask, now_ms: int, embeddings: SimulatedEmbeddings) -> bytes:
        """Write the answer about a ready task."""
        return documents.retrieved_body(task, now_ms, embeddings)

    def parts(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the entries of a result."""
        segments: list[dict[str, Any]] = document["video_embedding"]["segments"]
        return segments

    def about(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the metadata of a result."""
        metadata: dict[str, Any] = document["video_embedding"]["metadata"]
        return metadata

    def without_result(self, document: dict[str, Any], status: str) -> None:
        """Change the answer to one with another status and without results."""
        document["status"] = status
        document.get("video_embedding", {}).pop("segments", None)
