"""The common record of every export and destination, by column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class VectorSpace(NamedTuple):
    """Vectors that can be compared: those of one model with one length."""

    model_name: str | None
    """None if neither the API nor a person named the model."""
    dim: int
    """How many numbers a vector has."""


class ResultTask(NamedTuple):
    """What all records of one task have in common."""

    task_id: str
    model_name: str | None
    input_type: str | None
    input_filename: str | None
    input_url: str | None
    duration: float | None
    """Seconds."""
    harvested_at: int
    """Unix milliseconds."""
    labels: Mapping[str, str]


class TaskColumns(Sequence[ResultTask]):
    """Tasks, kept as columns: an object for each of many small tasks takes longer than reading their vectors."""

    def __init__(self, columns: Iterable[Sequence[Any]]) -> None:
        """Take a column for each field of ResultTask."""
        self._columns = tuple(columns)

    @classmethod
    def of(cls, tasks: Sequence[ResultTask]) -> Self:
        """Return the columns of these tasks."""
        return cls([getattr(task, name) for task in tasks] for name in ResultTask._fields)

    def column(self, name: str) -> Sequence[Any]:
        """Return this field of each task."""
        return self._columns[ResultTask._fields.index(name)]

    def __len__(self) -> int:
        return len(self._columns[0])

    @overload
    def __getitem__(self, at: int) -> ResultTask: ...
    @overload
    def __getitem__(self, at: slice) -> TaskColumns: ...
    def __getitem__(self, at: int | slice) -> ResultTask | TaskColumns:
        if isinstance(at, slice):
            return TaskColumns(column[at] for column in self._columns)
        return ResultTask(*[column[at] for column in self._columns])

    def __iter__(self) -> Iterator[ResultTask]:
        return map(ResultTask._make, zip(*self._columns, strict=True))

    def __add__(self, other: TaskColumns) -> TaskColumns:
        return TaskColumns([*mine, *others] for mine, others in zip(self._columns, other._columns, strict=True))

    def taken(self, places: Sequence[int]) -> TaskColumns:
        """Return the tasks at these places, which rise."""
        first, end = places[0], places[-1] + 1
        if end - first == len(places):
            return self[first:end]
        return TaskColumns([column[at] for at in places] for column in self._columns)


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """Some vectors of one space, as columns of `n` rows; the rows of a task follow each other, in order of position."""

    space: VectorSpace
    matrix: NDArray[np.float32 | np.float64]
    """`[n, dim]`, C-contiguous, in the byte order of the machine."""
    tasks: TaskColumns
    """The tasks of the rows, each once, in order of their rows."""
    task_index: NDArray[np.int32]
    """`[n]`: the place of the row's task in `tasks`."""
    positions: NDArray[np.int64]
    """`[n]`: the place of the segment in the API's result, from 0. Position and task id make the record's id."""
    options: Sequence[str | None]
    scopes: Sequence[str | None]
    starts: NDArray[np.float64]
    """`[n]`, seconds; NaN where the API gave none."""
    ends: NDArray[np.float64]
    """`[n]`, seconds; NaN where the API gave none."""
    start_pages: Sequence[int | None]
    end_pages: Sequence[int | None]
    quadrants: Sequence[str | None]
    chunk_indexes: Sequence[int | None]


@dataclass(frozen=True, slots=True)
class Segment:
    """The common record of one vector, without the vector."""

    id: str
    """The task id, a colon and the position."""
    task_id: str
    position: int
    """The place of the segment in the API's result, from 0."""
    model_name: str | None
    input_type: str | None
    embedding_option: str | None
    embedding_scope: str | None
    start_offset_sec: float | None
    end_offset_sec: float | None
    start_page: int | None
    end_page: int | None
    quadrant: str | None
    chunk_index: int | None
    input_filename: str | None
    input_url: str | None
    duration: float | None
    """Seconds."""
    harvested_at: int
    """Unix milliseconds."""
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A task with its stored result, whatever its medium."""

    task_id: str
    input_filename: str | None
    input_url: str | None
    input_type: str | None
    model_name: str | None
    duration: float | None
    """Seconds."""
    clip_length: float | None
    """Seconds; the length of a clip of any medium."""
    created_at: int | None
    """Unix milliseconds: when the API made the task; None if it did not say."""
    harvested_at: int
    """Unix milliseconds."""
    segments: int
    """How many vectors it has."""
    options: Mapping[str, int]
    """How many vectors each embedding option has; without those that have none."""
    labels: Mapping[str, str]
    superseded: bool
    """Whether a task that the API made later has the same file name."""


@dataclass(frozen=True, slots=True)
class KnownValues:
    """The values that at least one stored vector has, each in alphabetical order."""

    models: Sequence[str]
    options: Sequence[str]
    scopes: Sequence[str]
    input_types: Sequence[str]
