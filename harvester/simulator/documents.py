"""Writes tasks as the API does: one function for each shape of JSON."""

from typing import Any

import orjson

from harvester.simulator import rfc3339
from harvester.simulator.listing import Page
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
            "video_embedding": {"metadata": _metadata(task)},
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


def page_body(page: Page, now_ms: int) -> bytes:
    """Write the answer of `GET /embed/tasks`."""
    return orjson.dumps(
        {
            "data": [_task(task, now_ms) for task in page.tasks],
            "page_info": {
                "limit_per_page": page.query.page_limit,
                "page": page.query.page,
                "total_page": page.total_page,
                "total_results": page.total_results,
            },
        }
    )


def _task(task: SimulatedTask, now_ms: int) -> dict[str, Any]:
    document: dict[str, Any] = {
        "_id": task.task_id,
        "created_at": rfc3339.format_ms(task.created_at_ms),
        "model_name": task.request.model.name,
        "status": task.status_at(now_ms),
    }
    if now_ms >= task.finished_at_ms:
        document["updated_at"] = rfc3339.format_ms(task.finished_at_ms)
    document["video_embedding"] = {"metadata": _metadata(task)}
    return document


def _metadata(task: SimulatedTask) -> dict[str, Any]:
    request = task.request
    source = {"input_url": request.url} if request.url else {"input_filename": request.filename}
    return {
        "duration": _number(task.duration_s),
        **source,
        "video_clip_length": _number(request.clip_length_s),
        "video_embedding_scope": list(request.scopes),
    }


def _segments(embeddings: SimulatedEmbeddings) -> list[dict[str, Any]]:
    columns = zip(
        embeddings.options,
        embeddings.scopes,
        embeddings.end_offsets_s,
        embeddings.vectors,
        embeddings.start_offsets_s,
        strict=True,
    )
    return [
        {
            "embedding_option": option,
            "embedding_scope": scope,
            "end_offset_sec": _number(end),
            "float": vector,
            "start_offset_sec": _number(start),
        }
        for option, scope, end, vector, start in columns
    ]


def _number(value: float) -> float | int:
    """Write whole numbers without a fraction, as the API does: `6`, not `6.0`."""
    return int(value) if float(value).is_integer() else value
