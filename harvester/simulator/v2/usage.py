"""The tokens that a task of Marengo 3.5 has used, by type of content."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from harvester.simulator.layout import Place
from harvester.simulator.tasks import SimulatedTask

_VIDEO_TOKENS_PER_S = 55.4
_AUDIO_TOKENS_PER_S = 4.46
_PAGE_TOKENS = 221
_SENTENCE_TOKENS = 22
_IMAGE_TOKENS = 256

_TYPES = {
    ("video", "visual"): "video",
    ("video", "audio"): "audio",
    ("audio", "audio"): "audio",
    ("document", "visual"): "document",
    ("document", "text"): "text",
    ("image", "visual"): "image",
}


def usage_of(task: SimulatedTask, places: Sequence[Place]) -> dict[str, Any] | None:
    """Return the `usage` of a result; None for a model that does not report it."""
    request = task.request
    if not request.model.counts_tokens:
        return None
    start_s, end_s = task.span_s
    pages = len([place for place in places if place.page is not None]) or task.pages
    amounts = {
        "video": ceil((end_s - start_s) * _VIDEO_TOKENS_PER_S),
        "audio": ceil((end_s - start_s) * _AUDIO_TOKENS_PER_S),
        "document": pages * _PAGE_TOKENS,
        "text": task.sentences * _SENTENCE_TOKENS,
        "image": _IMAGE_TOKENS,
    }
    types = [_TYPES[request.medium, option] for option in request.options]
    usage: dict[str, Any] = {"input_tokens": {one: amounts[one] for one in types}, "truncated": task.is_truncated}
    return usage | {"truncation_reason": "model_context_window"} if task.is_truncated else usage
