"""Opens stored results for programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from harvester.app.stores import stored_results
from harvester.dataset.dataset import Dataset
from harvester.domain.errors import UsageError

if TYPE_CHECKING:
    from harvester.dataset.async_dataset import AsyncDataset

_SCHEME = "sqlite:///"


def open_dataset(place: str | os.PathLike[str]) -> Dataset:
    """Open the stored results of a database for reading, beside a running daemon; never makes a file.

    `place` is the path of the SQLite file, or its URL: `sqlite:///harvester.db`, `sqlite:////srv/harvester.db`. Raises
    StoreError if there is none, or it cannot be read: NotOursError, NewerSchemaError; UsageError for another URL.
    """
    path = _path(place)
    return Dataset(stored_results(path), str(path))


async def open_async_dataset(place: str | os.PathLike[str]) -> AsyncDataset:
    """Open the stored results of a database for a program on asyncio; see `open`."""
    # A program that reads without an event loop loads no asyncio.
    import anyio.to_thread  # noqa: PLC0415

    from harvester.dataset.async_dataset import AsyncDataset  # noqa: PLC0415

    return AsyncDataset(await anyio.to_thread.run_sync(open_dataset, place))


def _path(place: str | os.PathLike[str]) -> Path:
    text = os.fspath(place)
    if not text:
        raise UsageError("The path of the database is empty.", remedy='Write it as harvester.open("harvester.db").')
    if text.startswith(_SCHEME):
        return Path(unquote(text.removeprefix(_SCHEME)))
    if "://" in text:
        scheme = text.partition("://")[0]
        raise UsageError(
            f"This version reads no databases of {scheme!a}.",
            remedy="Give the path of a SQLite file, or sqlite:///PATH.",
        )
    return Path(text)
