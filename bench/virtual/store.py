"""The real store without its thread: each transaction runs where it is asked for."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio.lowlevel

from harvester.store.connecting import in_transaction, open_for_writing
from harvester.store.sqlite import Store

T = TypeVar("T")


class InlineStore(Store):
    """All that `Store` has, on virtual time: a transaction takes none."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._connection = open_for_writing(path)
        # The file lives as long as the run.
        self._connection.execute("PRAGMA synchronous = OFF")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    async def transact(self, body: Callable[[sqlite3.Connection], T]) -> T:
        # Others run meanwhile, as they do while the writer's thread works.
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return in_transaction(self._connection, body)

    async def read(self, body: Callable[[sqlite3.Connection], T]) -> T:
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return body(self._connection)
