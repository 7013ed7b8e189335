"""The parts that a result lacks: options, scopes, clips, pages and pieces of text that it should have.

The answer is sentences for a person. A result that lacks something is stored as it is: the platform has no other.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from harvester.domain.tasks.embeddings import MediaMetadata

SHORTEST_CLIP_S = 2.0
"""Seconds: no clip is shorter, and version 1 of the API drops a shorter rest at the end."""

TOLERANCE_S = 0.001
"""Seconds by which the times of neighbouring clips may differ."""

_LEAST_GAP_S = SHORTEST_CLIP_S - TOLERANCE_S

Span = tuple[float, float]
"""Start and end in seconds."""

_WHOLE = frozenset({"video", "asset"})
_PARTS = frozenset({"clip", "local", "page", "chunk"})
_SAME_SCOPES = {"video": _WHOLE, "asset": _WHOLE, "clip": frozenset({"clip", "local"}), "local": _PARTS}
"""For a scope of the metadata, the scopes of its segments: the versions and the media have their own words."""

_FUSED = "fused"

_CLIP_SCOPES = _SAME_SCOPES["clip"]


class _DescribedColumns(Protocol):
    """The columns of a result, as `TaskEmbeddings` has them, and its description; vectors do not matter here."""

    @property
    def metadata(self) -> MediaMetadata: ...
    @property
    def options(self) -> Sequence[str | None]: ...
    @property
    def scopes(self) -> Sequence[str | None]: ...
    @property
    def starts(self) -> Sequence[float | None]: ...
    @property
    def ends(self) -> Sequence[float | None]: ...
    @property
    def start_pages(self) -> Sequence[int | None]: ...
    @property
    def end_pages(self) -> Sequence[int | None]: ...
    @property
    def chunk_indexes(self) -> Sequence[int | None]: ...


def missing_parts(embeddings: _DescribedColumns, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what a result lacks, one sentence for each; empty for a whole one.

    `asked` are the embedding options that the result was asked for, none for all: others are not missing.
    """
    return (
        *_missing_options(embeddings, asked),
        *_missing_scopes(embeddings),
        *_missing_clips(embeddings),
        *_missing_pages(embeddings),
    )


def _missing_options(embeddings: _DescribedColumns, asked: Sequence[str]) -> Iterator[str]:
    found = set(embeddings.options)
    if found == {_FUSED}:
        # One vector stands for all options, if the task was made so.
        return
    for option in dict.fromkeys(embeddings.metadata.options):
        if option not in found and None not in found and (not asked or option in asked):
            yield f"No segment has the option {option}, which the task was made with."


def _missing_scopes(embeddings: _DescribedColumns) -> Iterator[str]:
    found = set(embeddings.scopes)
    for scope in dict.fromkeys(embeddings.metadata.scopes):
        if None not in found and not found & _SAME_SCOPES.get(scope, {scope}):
            yield f"No segment has the scope {scope}, which the task was made with."


@dataclass(slots=True)
class _Coverage:
    """The time that clips of one option cover, in seconds: from the first start to the last end, without the gaps."""

    first: float
    last: float
    gaps: list[Span]


def _missing_clips(embeddings: _DescribedColumns) -> Iterator[str]:
    clips, whole = _spans(embeddings)
    if not clips:
        return
    covered = {option: _coverage(sorted(spans)) for option, spans in clips.items() if _are_timed(spans)}
    begin, end = _embedded_span(embeddings.metadata, covered.values(), whole)
    for option, spans in clips.items():
        name = "clips without an option" if option is None else f"clips of {option}"
        sentences = list(_gaps(name, covered[option], begin, end)) if option in covered else []
        yield from sentences or _too_few(name, len(spans), embeddings.metadata.video_clip_length, end - begin)


def _spans(embeddings: _DescribedColumns) -> tuple[dict[str | None, list[Any]], list[Span]]:
    """Return start and end (seconds or None) of the clips of each option, and of the segments for the whole."""
    options, scopes = dict.fromkeys(embeddings.options), set(embeddings.scopes)
    if len(options) == 1 and scopes <= _CLIP_SCOPES:
        # Most results are like this.
        return {option: list(zip(embeddings.starts, embeddings.ends, strict=True)) for option in options}, []
    clips: dict[str | None, list[Any]] = {option: [] for option in options}
    whole: list[Span] = []
    columns = (embeddings.options, embeddings.scopes, embeddings.starts, embeddings.ends)
    for option, scope, start, end in zip(*columns, strict=True):
        if scope in _CLIP_SCOPES:
            clips[option].append((start, end))
        elif scope in _WHOLE and start is not None and end is not None:
            whole.append((start, end))
    return {option: spans for option, spans in clips.items() if spans}, whole


def _are_timed(spans: Iterable[Any]) -> bool:
    return None not in chain.from_iterable(spans)


def _coverage(spans: Sequence[Span]) -> _Coverage:
    """Return what ascending spans cover."""
    (first, last), gaps = spans[0], []
    for start, end in spans:
        if start - last >= _LEAST_GAP_S:
            gaps.append((last, start))
        last = max(last, end)
    return _Coverage(first, last, gaps)


def _embedded_span(metadata: MediaMetadata, clips: Iterable[_Coverage], whole: Sequence[Span]) -> Span:
    """Return from when to when clips must be, in seconds: the API may have embedded only a part of the input.

    Its description says which part; version 1 does not, so there the vector of the whole part says it. If neither
    does, clips that begin late show that there is a part, whose end only the clips themselves tell.
    """
    all_spans = [*((one.first, one.last) for one in clips), *whole]
    first, last = min((start for start, _ in all_spans), default=0.0), max((end for _, end in all_spans), default=0.0)
    begin, end = metadata.start_offset_sec, metadata.end_offset_sec
    if begin is None and end is None and (whole or first >= _LEAST_GAP_S):
        return first, last
    duration = last if metadata.duration is None else metadata.duration
    return begin or 0.0, max(last, duration if end is None else min(end, duration))


def _gaps(name: str, covered: _Coverage, begin: float, end: float) -> Iterator[str]:
    gaps = [(begin, covered.first), *covered.gaps] if covered.first - begin >= _LEAST_GAP_S else covered.gaps
    if len(gaps) == 1:
        yield f"The {name} have a gap from {gaps[0][0]:g} s to {gaps[0][1]:g} s."
    elif gaps:
        yield f"The {name} have {len(gaps)} gaps, the first from {gaps[0][0]:g} s to {gaps[0][1]:g} s."
    if end - covered.last >= SHORTEST_CLIP_S + TOLERANCE_S:
        yield f"The {name} end at {covered.last:g} s, but the embedded part of the input ends at {end:g} s."


def _too_few(name: str, count: int, clip_length_s: float | None, span_s: float) -> Iterator[str]:
    if clip_length_s is None or clip_length_s < SHORTEST_CLIP_S or not math.isfinite(span_s):
        return
    # A last clip that is shorter by less than the tolerance is there, unless that makes it too short.
    tolerance_s = TOLERANCE_S if clip_length_s >= SHORTEST_CLIP_S + TOLERANCE_S else -TOLERANCE_S
    expected = int((span_s + tolerance_s) / clip_length_s)
    if count < expected:
        yield f"There are {count} {name}, but {span_s:g} s make {expected} of {clip_length_s:g} s."


def _missing_pages(embeddings: _DescribedColumns) -> Iterator[str]:
    """Yield what is missing between the first and the last page, and before the last piece of text."""
    if not embeddings.start_pages and not embeddings.chunk_indexes:
        return
    pages = [
        (start, start if end is None else end)
        for start, end in zip(embeddings.start_pages, embeddings.end_pages or embeddings.start_pages, strict=True)
        if start is not None
    ]
    if pages:
        yield from _holes("page", sorted(pages), min(pages)[0])
    yield from _holes("chunk", sorted((one, one) for one in embeddings.chunk_indexes if one is not None), 0)


def _holes(name: str, ranges: Sequence[tuple[int, int]], first: int) -> Iterator[str]:
    """Yield how many numbers from `first` on are in none of the ascending ranges, and the first of them."""
    following, missing, count = first, None, 0
    for start, end in ranges:
        if start > following:
            missing = following if missing is None else missing
            count += start - following
        following = max(following, end + 1)
    if missing is not None:
        others = "" if count == 1 else f", nor {count - 1} more of the {name}s up to {following - 1}"
        yield f"No segment has {name} {missing}{others}."
