"""Writes tasks as version 1 does: one function for each shape of JSON."""

from typing import Any

import orjson

from harvester.simulator.entries import times
from harvester.simulator.metadata import number, v1_metadata
from harvester.simulator.tasks import SimulatedTask
from harvester.simulator.vectors import SimulatedEmbeddings

# orjson writes float32 rows as the shortest decimals that give back the same float32, as the API does.
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def status_body(task: SimulatedTask, now_ms: int) -> bytes:
    """Write the answer of `GET /embed/tasks/{id}/status`."""
    return orjson.dumps(
        {
            "_id": task.task_id,
            "model_name": task.request.model.name,
            "status": task.status_at(now_ms),
            "video_embedding": {"metadata": v1_metadata(task)},
        }
    )


def task_body(task: SimulatedTask, now_ms: int) -> bytes:
    """Write the answer of `GET /embed/tasks/{id}` for a task without embeddings: processing or failed."""
    return orjson.dumps(_task(task, now_ms))


def retrieved_body(task: SimulatedTask, now_ms: int, embeddings: SimulatedEmbeddings) -> bytes:
    """Write the answer of `GET /embed/tasks/{id}` for a ready task."""
    document = _task(task, now_ms)
    document["video_embedding"]["segments"] = _segments(embeddings)
    return orjson.dumps(document, option=_OPTIONS)


def _task(task: SimulatedTask, now_ms: int) -> dict[str, Any]:
    return {
        "_id": task.task_id,
        "model_name": task.request.model.name,
        "status": task.status_at(now_ms),
        **times(task, now_ms),
        "video_embedding": {"metadata": v1_metadata(task)},
    }


def _segments(embeddings: SimulatedEmbeddings) -> list[dict[str, Any]]:
    return [
        {
            "embedding_option": place.option,
            # The name of version 2 for the whole, where this version answers for a task of the other.
            "embedding_scope": "video" if place.scope == "asset" else place.scope,
            "end_offset_sec": number(place.end_s),
            "float": vector,
            "start_offset_sec": number(place.start_s),
        }
        for place, vector in zip(embeddings.places, embeddings.vectors, strict=True)
    ]
