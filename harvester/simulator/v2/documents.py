"""Writes tasks as version 2 does: status and result in one."""

from typing import Any

import orjson

from harvester.simulator.entries import times
from harvester.simulator.failures import EXPIRED, FAILURES
from harvester.simulator.layout import Place
from harvester.simulator.metadata import number, v2_metadata
from harvester.simulator.rfc3339 import format_trimmed_ms
from harvester.simulator.tasks import SimulatedTask
from harvester.simulator.v2.usage import usage_of
from harvester.simulator.vectors import SimulatedEmbeddings

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def task_body(task: SimulatedTask, now_ms: int) -> bytes:
    """Write the answer of `GET /embed-v2/tasks/{id}` for a task without embeddings: processing or failed."""
    document: dict[str, Any] = {"_id": task.task_id, "status": task.status_at(now_ms)}
    if document["status"] == "failed":
        document |= times(task, now_ms)
        message = task.failure or FAILURES["incomplete"].message
        return orjson.dumps({**document, "data": None, "error": {"message": message}})
    return orjson.dumps({**document, "data": None})


def expired_body(task: SimulatedTask) -> bytes:
    """Write the answer for a task past its retention that is not unknown."""
    return orjson.dumps(
        {
            "_id": task.task_id,
            "status": "failed",
            "created_at": format_trimmed_ms(task.created_at_ms),
            "updated_at": format_trimmed_ms(task.expires_at_ms),
            "data": None,
            "error": {"message": EXPIRED},
        }
    )


def created_body(task: SimulatedTask) -> bytes:
    """Write the answer of `POST /embed-v2/tasks`."""
    request = task.request
    metadata = {"metadata": {"embedding_dimension": request.dim}} if request.model.counts_tokens else {}
    return orjson.dumps({"_id": task.task_id, "status": "processing", "data": None, **metadata})


def retrieved_body(task: SimulatedTask, now_ms: int, embeddings: SimulatedEmbeddings) -> bytes:
    """Write the answer of `GET /embed-v2/tasks/{id}` for a ready task."""
    usage = usage_of(task, embeddings.places)
    document = {
        "_id": task.task_id,
        "status": "ready",
        **times(task, now_ms),
        "data": data(embeddings),
        **({} if usage is None else {"usage": usage}),
        "metadata": v2_metadata(task),
    }
    return orjson.dumps(document, option=_OPTIONS)


def data(embeddings: SimulatedEmbeddings) -> list[dict[str, Any]]:
    """Return the entries of a result; they hold numpy rows, for orjson."""
    entries = []
    for row, (place, vector) in enumerate(zip(embeddings.places, embeddings.vectors, strict=True)):
        found: dict[str, Any] = {"embedding": vector}
        if embeddings.uncertainties is not None:
            found["embedding_uncertainty"] = embeddings.uncertainties[row]
        found["embedding_option"] = place.option
        found["embedding_scope"] = "asset" if place.scope == "video" else place.scope
        entries.append(found | _where(place))
    return entries


def _where(place: Place) -> dict[str, Any]:
    """Return the fields about the part that an entry covers; which are null and which absent depends on the medium."""
    if place.chunk is not None:
        return {"chunk_index": place.chunk}
    times_s = {"start_sec": number(place.start_s), "end_sec": number(place.end_s)}
    if place.page is None:
        return times_s
    pages = {"start_page_number": place.page, "end_page_number": place.page, "quadrant": place.quadrant}
    return {**times_s, **pages, "chunk_index": None}
