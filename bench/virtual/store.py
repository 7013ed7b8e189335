"""The real store without its thread: each transaction runs in the caller."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self, TypeVar

import anyio.lowlevel

from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.store import Store
from harvester.store.sqlite.transaction import in_transaction

T = TypeVar("T")


class InlineStore(Store):
    """All methods of `Store`, on a database of its own in memory; a transaction takes no virtual time."""

    def __init__(self) -> None:
        super().__init__(Path(":memory:"))
        self._connection = _in_memory()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    async def transact(self, body: Callable[[sqlite3.Connection], T]) -> T:
        # Other tasks run meanwhile, as they do while the writer's thread works.
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return in_transaction(self._connection, body)

    async def read(self, body: Callable[[sqlite3.Connection], T]) -> T:
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return body(self._connection)


def _in_memory() -> sqlite3.Connection:
    """Return an empty database as the store makes it; the file that it is copied from is removed."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with TemporaryDirectory() as folder, closing(open_for_writing(Path(folder) / "harvester.db")) as made:
        made.backup(connection)
        connection.text_factory = made.text_factory
    connection.execute("PRAGMA foreign_keys = ON")
    return connection
