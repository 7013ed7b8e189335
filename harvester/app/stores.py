"""Chooses the store. Each function imports what it opens: a command that only reads starts without the writer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harvester.ports.check_result import Diagnosis
    from harvester.ports.insights import Insights, StoreReader
    from harvester.ports.maintenance import StoreMaintenance
    from harvester.ports.queue_editor import QueueEditor
    from harvester.ports.store import DiscoveryStore, HarvestStore
    from harvester.ports.stored_results import StoredResults


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[HarvestStore]:
    """Open the store at `path` for one harvest, or create it. Raises StoreError, also for errors in the block."""
    from harvester.store.sqlite.sqlite_errors import translating_errors
    from harvester.store.sqlite.store import Store

    with translating_errors(path):
        async with Store(path) as store:
            yield store


@asynccontextmanager
async def open_discovery_store(path: Path, *, dry_run: bool) -> AsyncIterator[DiscoveryStore]:
    """Open the store at `path` for one pass over the list; a dry run only compares. Raises StoreError.

    A missing file is made with the first page that has something to store.
    """
    from harvester.store.sqlite.database_path import exists
    from harvester.store.sqlite.dry_run_store import DryRunStore
    from harvester.store.sqlite.late_store import LateStore
    from harvester.store.sqlite.sqlite_errors import translating_errors

    if dry_run:
        with translating_errors(path), closing(DryRunStore(path)) as store:
            yield store
    elif not exists(path):
        with translating_errors(path):
            async with LateStore(path) as store:
                yield store
    else:
        async with open_store(path) as store:
            yield store


def open_reader(path: Path) -> StoreReader:
    """Return a reader of the store at `path`; nothing is opened yet."""
    from harvester.store.sqlite.reader import SqliteReader

    return SqliteReader(path)


def open_insights(path: Path) -> AbstractContextManager[Insights]:
    """Open a view of the store at `path` at one moment. Raises StoreError."""
    return open_reader(path).insights()


def stored_results(path: Path) -> StoredResults:
    """Return a reader of the vectors in the store at `path`. Raises StoreError if it cannot be read."""
    from harvester.store.sqlite.stored_results import SqliteStoredResults

    return SqliteStoredResults(path)


def open_queue_editor(path: Path, *, must_exist: bool = True) -> AbstractContextManager[QueueEditor]:
    """Open the store at `path` for changes of the queue; create it unless it `must_exist`. Raises StoreError."""
    from harvester.store.sqlite.editor import open_editor

    return open_editor(path, must_exist=must_exist)


def open_maintenance(path: Path) -> StoreMaintenance:
    """Return the maintenance of the store at `path`; nothing is opened yet."""
    from harvester.store.sqlite.maintenance.sqlite_maintenance import SqliteMaintenance

    return SqliteMaintenance(path)


def check_store_engine() -> Diagnosis:
    """Return whether the engine of the store is new enough, whatever the settings say."""
    from harvester.store.sqlite.maintenance.checks import check_engine

    return check_engine()
