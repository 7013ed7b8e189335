"""Cuts the time of a video or audio into clips; all times are seconds."""

from collections.abc import Iterator

import numpy as np

from harvester.simulator.models import MIN_CLIP_S


def clip_offsets(span_s: tuple[float, float], clip_length_s: float) -> list[tuple[float, float]]:
    """Cut a span into clips of `clip_length_s`; a rest shorter than two seconds is dropped."""
    return [(start, end) for start, end in fixed_offsets(span_s, clip_length_s) if end - start >= MIN_CLIP_S]


def fixed_offsets(span_s: tuple[float, float], clip_length_s: float) -> Iterator[tuple[float, float]]:
    """Cut a span into clips of `clip_length_s`; the last one may be shorter."""
    start, end = span_s
    for number in range(int((end - start) / clip_length_s) + 1):
        clip_start = round(start + number * clip_length_s, 6)
        clip_end = min(round(clip_start + clip_length_s, 6), end)
        if clip_end > clip_start:
            yield clip_start, clip_end


def dynamic_offsets(
    span_s: tuple[float, float], shortest_s: float, draw: np.random.Generator
) -> list[tuple[float, float]]:
    """Cut a span into parts of `shortest_s` or more, as scenes do; only a shorter span has a shorter part."""
    start, end = span_s
    cuts = [start]
    while end - cuts[-1] >= 2 * shortest_s:
        length_s = shortest_s * (1 + draw.exponential(0.5))
        cuts.append(round(min(cuts[-1] + length_s, end - shortest_s), 3))
    return list(zip(cuts, [*cuts[1:], end], strict=True))
