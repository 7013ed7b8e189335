"""Stored results, for programs: `harvester.open(…)`."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from harvester.dataset.arguments import Filters, result_filter
from harvester.dataset.spaces_wanted import check_values, one_space
from harvester.domain.errors import UsageError
from harvester.domain.results.vectors import VectorSpace

if TYPE_CHECKING:
    from harvester.dataset.vector_table import VectorTable
    from harvester.domain.results.result_filter import ResultFilter
    from harvester.domain.results.vectors import Segment, StoredVideo, VectorBatch
    from harvester.ports.stored_results import StoredResults

BATCH_ROWS = 2048
"""Vectors of a batch, unless the program says how many; those of 512 numbers take 4 MB."""

_ROWS_AT_ONCE = 256
"""Vectors on their way into one matrix: few, so that they fit into the processor's cache."""


class Dataset:
    """The stored results of one database, for reading only; others may write to it meanwhile.

    Threads may share it: each call and each iteration reads through a connection of its own and sees the database as it
    was when the call, or the first step of the iteration, began. One iterator is for one thread at a time. An iteration
    that is not finished keeps the database's log from shrinking, so finish it or drop it.

    Every method raises StoreError if the database cannot be read, and UsageError for a filter that cannot be used: a
    value that it cannot be, or a model, option, scope or medium that no stored vector has.
    """

    def __init__(self, results: StoredResults, name: str) -> None:
        self._results = results
        self._name = name
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Dataset {self._name!a}{', closed' * self._is_closed}>"

    def close(self) -> None:
        """Refuse further calls; tables stay, and iterations that have begun go on."""
        self._is_closed = True

    def vectors(self, *, dim: int | None = None, exact: bool = False, **filters: Unpack[Filters]) -> VectorTable:
        """Return the vectors that meet the filters, which are of one model and one length, as one matrix.

        `dim`: of this length only. `exact`: as float64, the numbers that the API sent, else as float32. Nothing that
        meets the filters gives an empty table. Raises MixedModelsError.
        """
        from harvester.dataset.assembly import empty_batch, joined  # noqa: PLC0415  # numpy
        from harvester.dataset.vector_table import VectorTable  # noqa: PLC0415  # numpy

        wanted = self._wanted(filters)
        likely = self._results.likely_space(wanted)
        if likely is not None and dim in {None, likely[0].dim}:
            space, count = likely
            batch = joined(self._batches(wanted, space, exact=exact), space, count, exact=exact)
            if len(batch.positions) == count:
                # All vectors are here, so there is no other space.
                return VectorTable(batch)
        only, count = one_space(self._results, wanted, dim)
        if only is None:
            return VectorTable(empty_batch(VectorSpace(None, dim or 0), exact=exact))
        return VectorTable(joined(self._batches(wanted, only, exact=exact), only, count, exact=exact))

    def _batches(self, wanted: ResultFilter, space: VectorSpace, *, exact: bool) -> Iterator[VectorBatch]:
        return self._results.vectors(wanted, space, batch_rows=_ROWS_AT_ONCE, exact=exact)

    def iter_vectors(
        self, *, batch_rows: int = BATCH_ROWS, dim: int | None = None, exact: bool = False, **filters: Unpack[Filters]
    ) -> Iterator[VectorTable]:
        """Yield the vectors as tables of `batch_rows` rows, the last one of fewer, in bounded memory.

        The arguments are those of `vectors`. Raises MixedModelsError at once, not at the first step.
        """
        if batch_rows < 1:
            raise UsageError(f"batch_rows={batch_rows} is too few.", remedy="Give 1 or more.")
        wanted = self._wanted(filters)
        space, _ = one_space(self._results, wanted, dim)
        return iter(()) if space is None else self._tables(wanted, space, batch_rows, exact=exact)

    def _tables(
        self, wanted: ResultFilter, space: VectorSpace, batch_rows: int, *, exact: bool
    ) -> Iterator[VectorTable]:
        from harvester.dataset.vector_table import VectorTable  # noqa: PLC0415  # numpy

        for batch in self._results.vectors(wanted, space, batch_rows=batch_rows, exact=exact):
            yield VectorTable(batch)

    def segments(self, **filters: Unpack[Filters]) -> Iterator[Segment]:
        """Yield the records without their vectors, of all models, in the order of `vectors`; in bounded memory."""
        wanted = self._wanted(filters)
        check_values(self._results, wanted)
        return self._results.segments(wanted)

    def videos(self, **filters: Unpack[Filters]) -> list[StoredVideo]:
        """Return the harvested tasks of any medium, in the order of their harvest.

        With `option` or `scope` those with such a vector.
        """
        wanted = self._wanted(filters)
        found = list(self._results.videos(wanted))
        if not found:
            check_values(self._results, wanted)
        return found

    def _wanted(self, filters: Filters) -> ResultFilter:
        if self._is_closed:
            raise UsageError(f"The dataset {self._name!a} is closed.", remedy="Open it again with harvester.open().")
        return result_filter(filters)
