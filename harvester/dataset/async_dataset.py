"""Stored results, for programs on asyncio: `await harvester.aopen(…)`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import anyio.to_thread

from harvester.dataset.dataset import BATCH_ROWS, Dataset

if TYPE_CHECKING:
    from harvester.dataset.arguments import Filters
    from harvester.dataset.vector_table import VectorTable
    from harvester.domain.results.vectors import Segment, StoredVideo

T = TypeVar("T")

SEGMENTS_AT_ONCE = 1000
"""Records that one step in a thread reads."""


class AsyncDataset:
    """A Dataset whose methods run in threads, so that the event loop goes on meanwhile."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Async{repr(self._dataset)[1:]}"

    def close(self) -> None:
        """Refuse further calls, as `Dataset.close`."""
        self._dataset.close()

    async def vectors(self, *, dim: int | None = None, exact: bool = False, **filters: Unpack[Filters]) -> VectorTable:
        """Return the vectors, as `Dataset.vectors`."""
        return await anyio.to_thread.run_sync(partial(self._dataset.vectors, dim=dim, exact=exact, **filters))

    async def iter_vectors(
        self, *, batch_rows: int = BATCH_ROWS, dim: int | None = None, exact: bool = False, **filters: Unpack[Filters]
    ) -> AsyncIterator[VectorTable]:
        """Yield the vectors as tables, as `Dataset.iter_vectors`; errors come at the first step."""
        begin = partial(self._dataset.iter_vectors, batch_rows=batch_rows, dim=dim, exact=exact, **filters)
        tables = await anyio.to_thread.run_sync(begin)
        async for group in _in_threads(tables, 1):
            yield group[0]

    async def segments(self, **filters: Unpack[Filters]) -> AsyncIterator[Segment]:
        """Yield the records without their vectors, as `Dataset.segments`; errors come at the first step."""
        records = await anyio.to_thread.run_sync(partial(self._dataset.segments, **filters))
        async for group in _in_threads(records, SEGMENTS_AT_ONCE):
            for record in group:
                yield record

    async def videos(self, **filters: Unpack[Filters]) -> list[StoredVideo]:
        """Return the harvested tasks, as `Dataset.videos`."""
        return await anyio.to_thread.run_sync(partial(self._dataset.videos, **filters))


async def _in_threads(values: Iterator[T], count: int) -> AsyncIterator[list[T]]:
    """Yield the values in groups of `count`."""
    try:
        while group := await anyio.to_thread.run_sync(_take, values, count):
            yield group
    finally:
        # Frees the connection at once, also after a `break`.
        close: Any = getattr(values, "close", None)
        if close is not None:
            close()


def _take(values: Iterator[T], count: int) -> list[T]:
    return list(islice(values, count))
