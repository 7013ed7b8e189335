"""Fetches the embeddings that TwelveLabs computes, and gives them to programs.

A program may rely on the names in `__all__`; every other name in this package may change. Importing this loads no HTTP
client, no numpy and no database: what needs them is loaded when it is used.
"""

import importlib
import os
import typing

from harvester._version import __version__
from harvester.domain.errors import (
    HarvesterError,
    InvalidTaskId,
    KeyRefusedError,
    MachineError,
    MixedModelsError,
    MovedFileError,
    NewerSchemaError,
    NotOursError,
    PausedError,
    StoreBusyError,
    StoreError,
    UsageError,
)

if typing.TYPE_CHECKING:
    from harvester.app.library import Harvester, HarvestSummary
    from harvester.dataset.async_dataset import AsyncDataset
    from harvester.dataset.dataset import Dataset
    from harvester.dataset.vector_table import VectorTable
    from harvester.domain.results.vectors import Segment, StoredVideo

__all__ = [
    "AsyncDataset",
    "Dataset",
    "HarvestSummary",
    "Harvester",
    "HarvesterError",
    "InvalidTaskId",
    "KeyRefusedError",
    "MachineError",
    "MixedModelsError",
    "MovedFileError",
    "NewerSchemaError",
    "NotOursError",
    "PausedError",
    "Segment",
    "StoreBusyError",
    "StoreError",
    "StoredVideo",
    "UsageError",
    "VectorTable",
    "__version__",
    "aopen",
    "open",
]

_LOADED_WHEN_USED = {
    "AsyncDataset": "harvester.dataset.async_dataset",
    "Dataset": "harvester.dataset.dataset",
    "HarvestSummary": "harvester.app.library",
    "Harvester": "harvester.app.library",
    "Segment": "harvester.domain.results.vectors",
    "StoredVideo": "harvester.domain.results.vectors",
    "VectorTable": "harvester.dataset.vector_table",
}


def open(place: str | os.PathLike[str]) -> "Dataset":  # noqa: A001  # harvester.open
    """Open the stored results of a database for reading, beside a running daemon; never makes a file.

    `place` is the path of the SQLite file, or its URL: `sqlite:///harvester.db`, `sqlite:////srv/harvester.db`. Raises
    StoreError if there is none, or it cannot be read: NotOursError, NewerSchemaError; UsageError for another URL.
    """
    from harvester.app.reading import open_dataset  # noqa: PLC0415

    return open_dataset(place)


async def aopen(place: str | os.PathLike[str]) -> "AsyncDataset":
    """Open the stored results of a database for a program on asyncio, as `open` does."""
    from harvester.app.reading import open_async_dataset  # noqa: PLC0415

    return await open_async_dataset(place)


if not typing.TYPE_CHECKING:
    # Hidden from type checkers, which would accept every name.
    def __getattr__(name: str) -> typing.Any:
        if name not in _LOADED_WHEN_USED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_LOADED_WHEN_USED[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
