"""Reading what was harvested, for programs; others may write meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # Only for types: `import harvester` loads no numpy.
    from harvester.domain.results.result_filter import ResultFilter
    from harvester.domain.results.vectors import KnownValues, ResultTask, Segment, StoredVideo, VectorBatch, VectorSpace


class StoredResults(Protocol):
    """The stored results as they are when an iteration begins, for any thread. Each method raises StoreError."""

    def spaces(self, wanted: ResultFilter) -> Sequence[tuple[VectorSpace, int]]:
        """Return the spaces of the vectors that meet the filter, each with its number of vectors, the largest first."""
        ...

    def likely_space(self, wanted: ResultFilter) -> tuple[VectorSpace, int] | None:
        """Return what `spaces` would probably say if it found one space, in much less time; None to ask `spaces`.

        A reader of `vectors` who finds as many knows that there are no others: the number counts the vectors of all
        tasks that meet the filter, the length is that of one task. None if there are none or of several models, or if
        they are not counted quickly.
        """
        ...

    def vectors(
        self, wanted: ResultFilter, space: VectorSpace, *, batch_rows: int, exact: bool = False
    ) -> Iterator[VectorBatch]:
        """Yield the vectors of one space that meet the filter, by task in order of harvest, then by position.

        A batch has at most `batch_rows` rows. The numbers are float32, or with `exact` float64:
        the numbers that the API sent.
        """
        ...

    def tasks(self, wanted: ResultFilter) -> Iterator[ResultTask]:
        """Yield the tasks that have vectors that meet the filter, in order of harvest."""
        ...

    def segments(self, wanted: ResultFilter) -> Iterator[Segment]:
        """Yield the records of all spaces that meet the filter, in the order of `vectors`."""
        ...

    def videos(self, wanted: ResultFilter) -> Iterator[StoredVideo]:
        """Yield the tasks with a stored result that meet the filter, in order of harvest.

        With options or scopes in the filter those that have such a vector.
        """
        ...

    def known_values(self) -> KnownValues:
        """Return the values that filters can name; reads the rows of all segments."""
        ...
