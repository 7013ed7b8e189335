"""The stores that the suite holds to the ports, and how each is opened, made to fail and killed.

A second store is one more class here, and one more line of `BACKENDS`.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

from harvester.ports.insights import StoreReader
from harvester.ports.maintenance import StoreMaintenance
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from harvester.ports.stored_results import StoredResults
from harvester.store.sqlite.editor import open_editor
from harvester.store.sqlite.maintenance.sqlite_maintenance import SqliteMaintenance
from harvester.store.sqlite.reader import SqliteReader
from harvester.store.sqlite.store import Store
from harvester.store.sqlite.stored_results import SqliteStoredResults

T = TypeVar("T")


class Fault(Exception):  # noqa: N818  # it stands for any error
    """A fault in the middle of a transaction."""


class Backend(Protocol):
    """One kind of store. `place` is a file, or what the store makes of its name."""

    def open(self, place: Path) -> AbstractAsyncContextManager[HarvestStore]:
        """Open the store as one process does."""
        ...

    def edit(self, place: Path) -> AbstractContextManager[QueueEditor]:
        """Open it as a command does that changes the queue."""
        ...

    def reader(self, place: Path) -> StoreReader:
        """Return its reader."""
        ...

    def results(self, place: Path) -> StoredResults:
        """Return its stored results, for programs."""
        ...

    def maintenance(self, place: Path) -> StoreMaintenance:
        """Return its maintenance."""
        ...

    def fail_next(self, store: HarvestStore, statements: int) -> None:
        """Let the next transaction raise Fault after that many statements, or else before its commit."""
        ...

    def kill_next(self, store: HarvestStore, statements: int) -> None:
        """Let the next transaction end as in a killed process: it raises Fault, and the store is dead."""
        ...


class SqliteBackend:
    """SQLite, without waiting for the disk: kills of whole processes are in `tests/faults/test_crashes.py`."""

    @asynccontextmanager
    async def open(self, place: Path) -> AsyncIterator[HarvestStore]:
        async with _BreakableStore(place) as store:
            await store.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
            yield store

    def edit(self, place: Path) -> AbstractContextManager[QueueEditor]:
        return open_editor(place, must_exist=False)

    def reader(self, place: Path) -> StoreReader:
        return SqliteReader(place)

    def results(self, place: Path) -> StoredResults:
        return SqliteStoredResults(place)

    def maintenance(self, place: Path) -> StoreMaintenance:
        return SqliteMaintenance(place)

    def fail_next(self, store: HarvestStore, statements: int) -> None:
        assert isinstance(store, _BreakableStore)
        store.fails_after = statements

    def kill_next(self, store: HarvestStore, statements: int) -> None:
        assert isinstance(store, _BreakableStore)
        store.dies_after = statements


class _BreakableStore(Store):
    """The store, on a connection that can fail before any of its statements."""

    fails_after: int | None = None
    dies_after: int | None = None
    is_dead = False

    async def transact(self, body: Callable[[sqlite3.Connection], T]) -> T:
        if self.dies_after is not None:
            await self._die(body, self.dies_after)
        fails_after, self.fails_after = self.fails_after, None
        if fails_after is None:
            return await super().transact(body)
        return await super().transact(lambda connection: _break(connection, body, fails_after))

    async def _die(self, body: Callable[[sqlite3.Connection], T], statements: int) -> None:
        def begin(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            with suppress(Fault):
                _break(connection, body, statements)

        await self.read(begin)
        self.is_dead = True
        # The transaction is open still, as that of a killed process is.
        await self._writer.close()
        raise Fault

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.is_dead:
            await super().__aexit__(kind, error, traceback)


class _Fragile:
    """A connection that fails before one of its statements."""

    def __init__(self, connection: sqlite3.Connection, statements: int) -> None:
        self._connection = connection
        self._left = statements

    def __getattr__(self, name: str) -> Any:
        if name in ("execute", "executemany"):
            if self._left == 0:
                raise Fault
            self._left -= 1
        return getattr(self._connection, name)


def _break(connection: sqlite3.Connection, body: Callable[[sqlite3.Connection], T], statements: int) -> T:
    body(_Fragile(connection, statements))  # type: ignore[arg-type]
    raise Fault


BACKENDS: dict[str, Backend] = {"sqlite": SqliteBackend()}
