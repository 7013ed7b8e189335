"""What answers say about the medium of a task: the same facts under the names of each version."""

from typing import Any

from harvester.simulator.requests import MediaRequest
from harvester.simulator.tasks import SimulatedTask

_V1_SCOPES = {"local": "clip", "asset": "video"}
_V2_SCOPES = {"video": "asset"}


def v1_metadata(task: SimulatedTask) -> dict[str, Any]:
    """Return the metadata of a video as version 1 names it; of a task of version 2 without the length of clips."""
    request = task.request
    clip_length = {} if request.clip_length_s is None else {"video_clip_length": number(request.clip_length_s)}
    scopes = [_V1_SCOPES.get(scope, scope) for scope in request.scopes]
    return {"duration": number(task.duration_s), **_source(task), **clip_length, "video_embedding_scope": scopes}


def v2_metadata(task: SimulatedTask) -> dict[str, Any]:
    """Return the `metadata` of a result of version 2."""
    request = task.request
    has_clip_length = request.medium == "video" and request.clip_length_s is not None
    return {
        "input_type": request.medium,
        **_source(task),
        "embedding_options": list(request.options),
        "embedding_scopes": [_V2_SCOPES.get(scope, scope) for scope in request.scopes],
        **_times(task),
        **({"clip_length": number(request.clip_length_s)} if has_clip_length else {}),
        **({"embedding_dimension": request.dim} if request.model.counts_tokens else {}),
    }


def listed_metadata(task: SimulatedTask) -> dict[str, Any]:
    """Return the `metadata` of an entry of the list, which is named by the version that made the task."""
    request = task.request
    if not isinstance(request, MediaRequest):
        return v1_metadata(task)
    if task.fails and request.medium in {"document", "image"}:
        return _source(task)
    named: dict[str, Any] = {
        f"{request.medium}_embedding_option": list(request.options),
        f"{request.medium}_embedding_scope": list(request.scopes),
    }
    if request.medium == "video" and request.clip_length_s is not None:
        named["video_clip_length"] = number(request.clip_length_s)
    return {**_source(task), **_times(task), **named}


def number(value: float | None) -> float | int | None:
    """Write whole numbers without a fraction, as the API does: `6`, not `6.0`."""
    return int(value) if value is not None and float(value).is_integer() else value


def _source(task: SimulatedTask) -> dict[str, Any]:
    request = task.request
    if request.url:
        return {"input_url": request.url}
    return {"input_filename": request.filename} if request.filename else {}


def _times(task: SimulatedTask) -> dict[str, Any]:
    request = task.request
    if request.medium in {"document", "image"}:
        return {}
    times = {"duration": number(task.duration_s)}
    if request.span_s is not None:
        start_s, end_s = task.span_s
        times |= {"start_offset_sec": number(start_s), "end_offset_sec": number(end_s)}
    return times
