"""The embeddings of a task: places and one matrix, computed on request, always the same."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harvester.simulator.layout import Place, layout_of
from harvester.simulator.tasks import SimulatedTask
from harvester.simulator.topics import near_topics, to_unit_length

_UNCERTAINTY = "uncertainty of "


@dataclass(frozen=True, slots=True)
class SimulatedEmbeddings:
    """The n embeddings of one task in the order of the answer; row i of `vectors` belongs to place i."""

    places: tuple[Place, ...]
    vectors: npt.NDArray[np.float32]
    """float32[n, dim], each row of unit length, unless it is the beginning of a longer one."""
    uncertainties: npt.NDArray[np.float32] | None = None
    """float32[n, dim] where the request asked for them."""

    def __len__(self) -> int:
        return len(self.places)

    @property
    def options(self) -> tuple[str, ...]:
        """The embedding option of each."""
        return tuple(place.option for place in self.places)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scope of each."""
        return tuple(place.scope for place in self.places)

    @property
    def start_offsets_s(self) -> tuple[float | None, ...]:
        """Where each begins, in seconds; None for documents and images."""
        return tuple(place.start_s for place in self.places)

    @property
    def end_offsets_s(self) -> tuple[float | None, ...]:
        """Where each ends, in seconds; None for documents and images."""
        return tuple(place.end_s for place in self.places)


def embeddings_of(seed: int, task: SimulatedTask, options: tuple[str, ...] | None = None) -> SimulatedEmbeddings:
    """Compute the embeddings of `options` (all, if None); an option's vectors do not depend on the other options."""
    places = [place for place in layout_of(seed, task) if options is None or place.option in options]
    model, dimension = task.request.model, task.request.dim
    vectors = np.empty((len(places), dimension), dtype=np.float32)
    uncertainties = np.empty_like(vectors) if task.request.has_uncertainty else None
    for option in dict.fromkeys(place.option for place in places):
        rows = [number for number, place in enumerate(places) if place.option == option]
        noise = directions(_stream(seed, task, option), len(rows), model.dim)
        vectors[rows] = near_topics(model, [places[row].topics for row in rows], noise)[:, :dimension]
        if uncertainties is not None:
            draw = _stream(seed, task, _UNCERTAINTY + option)
            uncertainties[rows] = uncertain(draw, len(rows), model.dim)[:, :dimension]
    return SimulatedEmbeddings(tuple(places), vectors, uncertainties)


def directions(draw: np.random.Generator, count: int, dim: int) -> npt.NDArray[np.float64]:
    """Return float64[count, dim] of directions spread evenly over the sphere (normalised Gaussians)."""
    return to_unit_length(draw.standard_normal((count, dim)))


def uncertain(draw: np.random.Generator, count: int, dim: int) -> npt.NDArray[np.float64]:
    """Return float64[count, dim] of uncertainties: small, and never negative."""
    return np.abs(draw.normal(0.0, 0.08, (count, dim)))


def _stream(seed: int, task: SimulatedTask, option: str) -> np.random.Generator:
    name = f"{task.request.model.name} {option}"
    return np.random.default_rng([seed, task.content, int.from_bytes(name.encode())])
