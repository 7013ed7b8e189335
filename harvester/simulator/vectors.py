"""The embeddings of a task: segments as columns and one matrix, computed on request, always the same."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harvester.simulator.models import MIN_CLIP_S
from harvester.simulator.tasks import SimulatedTask


@dataclass(frozen=True, slots=True)
class SimulatedEmbeddings:
    """The n segments of one task in the order of the answer; row i of `vectors` belongs to segment i."""

    options: tuple[str, ...]
    scopes: tuple[str, ...]
    start_offsets_s: tuple[float, ...]
    end_offsets_s: tuple[float, ...]
    vectors: npt.NDArray[np.float32]
    """float32[n, dim], each row of unit length."""

    def __len__(self) -> int:
        return len(self.options)


def clip_offsets(span_s: tuple[float, float], clip_length_s: float) -> list[tuple[float, float]]:
    """Cut a span into clips of `clip_length_s`; a rest shorter than two seconds is dropped."""
    start, end = span_s
    clips = []
    for number in range(int((end - start) / clip_length_s) + 1):
        clip_start = round(start + number * clip_length_s, 6)
        clip_end = min(round(clip_start + clip_length_s, 6), end)
        if clip_end - clip_start >= MIN_CLIP_S:
            clips.append((clip_start, clip_end))
    return clips


def segments_per_option(task: SimulatedTask) -> list[tuple[str, float, float]]:
    """Return (scope, start, end) of each segment that one embedding option has; clips come first."""
    segments = []
    if "clip" in task.request.scopes:
        segments += [("clip", start, end) for start, end in clip_offsets(task.span_s, task.request.clip_length_s)]
    if "video" in task.request.scopes:
        segments.append(("video", *task.span_s))
    return segments


def embeddings_of(seed: int, task: SimulatedTask, options: tuple[str, ...]) -> SimulatedEmbeddings:
    """Compute the segments of `options`; an option's vectors do not depend on the other options."""
    segments = segments_per_option(task)
    dim = task.request.model.dim
    vectors = np.empty((len(options) * len(segments), dim), dtype=np.float32)
    for number, option in enumerate(options):
        rows = slice(number * len(segments), (number + 1) * len(segments))
        vectors[rows] = _unit_vectors(_stream(seed, task.task_id, option), len(segments), dim)
    return SimulatedEmbeddings(
        options=tuple(option for option in options for _ in segments),
        scopes=tuple(scope for scope, _, _ in segments) * len(options),
        start_offsets_s=tuple(start for _, start, _ in segments) * len(options),
        end_offsets_s=tuple(end for _, _, end in segments) * len(options),
        vectors=vectors,
    )


def _stream(seed: int, task_id: str, option: str) -> np.random.Generator:
    return np.random.default_rng([seed, int(task_id, 16), int.from_bytes(option.encode())])


def _unit_vectors(draw: np.random.Generator, count: int, dim: int) -> npt.NDArray[np.float64]:
    """Return float64[count, dim] of directions spread evenly over the sphere (normalised Gaussians)."""
    vectors = draw.standard_normal((count, dim))
    # Normalised before the cast to float32: afterwards the rounding of the length would be added to that of
    # the numbers.
    vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, np.newaxis]
    return vectors
