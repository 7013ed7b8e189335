"""Compares the tasks of files that an earlier export has written with those that are stored now.

A file holds whole tasks. What it lacks is read off the file itself, so no second record of it can be wrong: a task is
new if the file has no rows of its present harvest under its present model; rows of another harvest are stale.
A task takes a few numbers here, not its names: files of millions of tasks are compared within bounded memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from harvester.domain.results.vectors import ResultTask


class HarvestedTask(Protocol):
    """What is compared; a task of a file and a stored one have it."""

    @property
    def task_id(self) -> str:
        """Its id."""
        ...

    @property
    def harvested_at(self) -> int:
        """When its rows were harvested; Unix milliseconds."""
        ...

    @property
    def input_filename(self) -> str | None:
        """The name of its file."""
        ...


class Marks:
    """Hashes of tasks, of their harvests, and of their files' names; 64 bits each."""

    def __init__(self, tasks: Iterable[tuple[HarvestedTask, str | None]]) -> None:
        ids, harvests, names = array("q"), array("q"), array("q")
        for task, model in tasks:
            ids.append(hash(task.task_id))
            harvests.append(harvest_mark(task, model))
            names.append(hash(task.input_filename))
        self.ids: Any = np.frombuffer(ids, np.int64)
        self.harvests: Any = np.frombuffer(harvests, np.int64)
        self.names: Any = np.frombuffer(names, np.int64)


def harvest_mark(task: HarvestedTask, model: str | None) -> int:
    """Return the hash of one harvest of a task; the model may become known later."""
    return hash(f"{task.task_id}\n{task.harvested_at}\n{model}")


def stale_harvests(former: Marks, stored: Marks, *, latest: bool) -> frozenset[int]:
    """Return the marks of the harvests whose rows must go: those of a task that is stored otherwise now.

    With `latest` also those of a task that is not stored or not wanted, but another one of its name is.
    """
    is_stored = np.isin(former.ids, stored.ids)
    is_stale = is_stored & ~np.isin(former.harvests, stored.harvests)
    if latest:
        is_stale |= ~is_stored & np.isin(former.names, stored.names) & (former.names != hash(None))
    return frozenset(former.harvests[is_stale].tolist())


class MarkSet:
    """A set of marks, of eight bytes each."""

    def __init__(self, *marks: Any) -> None:
        self._sorted = array("q", np.sort(np.concatenate([np.empty(0, np.int64), *marks])).tobytes())

    def __contains__(self, mark: int) -> bool:
        place = bisect_left(self._sorted, mark)
        return place < len(self._sorted) and self._sorted[place] == mark


def compare(held: Sequence[Marks], stored: Iterable[ResultTask], on_new: Callable[[ResultTask], None]) -> Marks:
    """Call `on_new` with each stored task whose present harvest is in no file; return the marks of all stored ones."""
    known = MarkSet(*(marks.harvests for marks in held))

    def heard() -> Iterator[tuple[HarvestedTask, str | None]]:
        for task in stored:
            if harvest_mark(task, task.model_name) not in known:
                on_new(task)
            yield task, task.model_name

    return Marks(heard())


def is_kept(stale: frozenset[int], model: str | None) -> Callable[[HarvestedTask], bool]:
    """Return a function that says whether the rows of a task stay."""
    return lambda task: harvest_mark(task, model) not in stale


@dataclass(slots=True)
class NewTasks:
    """The ids of tasks to add, in order of harvest, as texts of many ids."""

    chunk_ids: int = 500
    count: int = 0
    _texts: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def add(self, task: ResultTask) -> None:
        """Add a task."""
        self.count += 1
        self._open.append(task.task_id)
        if len(self._open) == self.chunk_ids:
            self._texts.append("\n".join(self._open))
            self._open = []

    def chunks(self) -> Iterator[tuple[str, ...]]:
        """Yield the ids."""
        for text in self._texts:
            yield tuple(text.split("\n"))
        if self._open:
            yield tuple(self._open)
