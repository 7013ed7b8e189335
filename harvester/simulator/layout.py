"""What each embedding of a task covers: clips, the whole, pages and their quadrants, chunks of text."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

import numpy as np

from harvester.simulator.clips import clip_offsets, dynamic_offsets, fixed_offsets
from harvester.simulator.models import MIN_CLIP_S
from harvester.simulator.requests import MediaRequest
from harvester.simulator.tasks import SimulatedTask
from harvester.simulator.topics import topic_of, topics_in

Quadrant = Literal["top_left", "top_right", "bottom_left", "bottom_right"]
QUADRANTS: tuple[Quadrant, ...] = ("top_left", "top_right", "bottom_left", "bottom_right")

SCENE_S = 12.0
"""Seconds for which a video or audio keeps its topic."""

_CUTS = int.from_bytes(b"cuts")
_ORDER = int.from_bytes(b"order")


@dataclass(frozen=True, slots=True)
class Place:
    """What one embedding covers: a part of the time (seconds), a page, a chunk, or, with none of them, the whole."""

    option: str
    scope: str
    start_s: float | None = None
    end_s: float | None = None
    page: int | None = None
    quadrant: Quadrant | None = None
    chunk: int | None = None
    topics: tuple[str, ...] = ()


def layout_of(seed: int, task: SimulatedTask) -> list[Place]:
    """Return the places of a task in the order of the answer; the same arguments always give the same ones."""
    request = task.request
    if not isinstance(request, MediaRequest):
        return _by_option(seed, task)
    if request.medium in {"video", "audio"}:
        return _by_time(seed, task, request)
    places = list(_of_document(task, request) if request.medium == "document" else [Place("visual", "asset")])
    shown = [replace(place, topics=_topics(seed, task, place)) for place in places]
    order = np.random.default_rng([seed, task.content, _ORDER]).permutation(len(shown))
    return [shown[number] for number in order]


def layout_size(task: SimulatedTask) -> int:
    """Return about how many places the task has, without computing them."""
    request, (start_s, end_s) = task.request, task.span_s
    if not isinstance(request, MediaRequest):
        return int((end_s - start_s) / (request.clip_length_s or MIN_CLIP_S) + 1) * len(request.options)
    if request.medium in {"video", "audio"}:
        return int((end_s - start_s) / (request.clip_length_s or request.min_clip_s) + 1) * (len(request.options) + 1)
    return 5 * task.pages + task.sentences


def _by_option(seed: int, task: SimulatedTask) -> list[Place]:
    """Return the places of version 1: those of one option after those of another."""
    request, places = task.request, []
    if "clip" in request.scopes:
        clips = clip_offsets(task.span_s, request.clip_length_s or MIN_CLIP_S)
        places += [Place("", "clip", start, end) for start, end in clips]
    if "video" in request.scopes:
        places.append(Place("", "video", *task.span_s))
    topics = [_topics(seed, task, place) for place in places]
    return [
        replace(place, option=option, topics=shown)
        for option in request.options
        for place, shown in zip(places, topics, strict=True)
    ]


def _by_time(seed: int, task: SimulatedTask, request: MediaRequest) -> list[Place]:
    """Return the places of a video or audio in version 2: clip after clip, each with its options, then the whole."""
    parts: list[Place] = []
    if {"clip", "local"} & set(request.scopes):
        parts += [Place("", "clip", start, end) for start, end in _parts(seed, task, request)]
    if "asset" in request.scopes:
        parts.append(Place("", "asset", *task.span_s))
    return [
        replace(part, option=option, topics=_topics(seed, task, part, request if option == "fused" else None))
        for part in parts
        for option in (*(request.options if request.is_separate else ()), *(("fused",) if request.is_fused else ()))
    ]


def _parts(seed: int, task: SimulatedTask, request: MediaRequest) -> list[tuple[float, float]]:
    if request.clip_length_s is not None:
        return list(fixed_offsets(task.span_s, request.clip_length_s))
    return dynamic_offsets(task.span_s, request.min_clip_s, np.random.default_rng([seed, task.content, _CUTS]))


def _of_document(task: SimulatedTask, request: MediaRequest) -> Iterator[Place]:
    for option in request.options:
        if "asset" in request.scopes:
            yield Place(option, "asset")
        if "local" in request.scopes and request.max_sentences is not None:
            step = request.max_sentences - request.overlap_sentences
            for chunk in range(max(1, ceil((task.sentences - request.overlap_sentences) / step))):
                yield Place(option, "chunk", chunk=chunk)
        elif "local" in request.scopes:
            for page in range(1, task.pages + 1):
                for quadrant in (None, *(QUADRANTS if request.has_quadrants else ())):
                    yield Place(option, "page", page=page, quadrant=quadrant)


def _topics(seed: int, task: SimulatedTask, place: Place, folded: MediaRequest | None = None) -> tuple[str, ...]:
    """Return what a place shows: what the name of the file or URL says, else a topic for each of its scenes.

    The texts that a client has given for a part of the time count as well, if `folded` has them.
    """
    named = topics_in(task.request.url or task.request.filename)
    shown = set(named or (topic_of(seed, task.content, scene) for scene in _scenes(task, place)))
    for text in folded.timed_texts if folded else ():
        if place.start_s is not None and place.end_s is not None and text.overlaps(place.start_s, place.end_s):
            shown.update(topics_in(text.text))
    return tuple(sorted(shown))


def _scenes(task: SimulatedTask, place: Place) -> Iterable[int]:
    """Return the numbers of the scenes that a place covers."""
    if place.page is not None:
        return [place.page]
    if place.chunk is not None:
        return [place.chunk]
    if place.start_s is None or place.end_s is None:
        return range(1, task.pages + 1) if task.request.medium == "document" else [0]
    if place.scope == "clip":
        return [int((place.start_s + place.end_s) / 2 // SCENE_S)]
    return range(int(place.start_s // SCENE_S), ceil(place.end_s / SCENE_S))
