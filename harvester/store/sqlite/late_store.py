"""The store of a discovery for which there is no database yet."""

from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

from harvester.domain.limits.endpoint import BudgetLease, RateLimit
from harvester.domain.limits.pause import Pause
from harvester.domain.limits.shared_limits import LimitSnapshot, LimitUpdate
from harvester.domain.tasks.listing import ListedRow, ListedTask, ListSettlement
from harvester.store.sqlite.database_path import check_creatable
from harvester.store.sqlite.dry_run_store import DryRunStore
from harvester.store.sqlite.maintenance.file_systems import refuse_network
from harvester.store.sqlite.store import Store


class LateStore:
    """Makes the database with the first page that has something to store: a refused key leaves no file.

    Until then it answers like a dry run. Open with `async with`. Raises StoreError, at once if no file can be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: DryRunStore | Store | None = None
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        check_creatable(self._path)
        refuse_network(self._path)
        self._store = self._opened.enter_context(closing(DryRunStore(self._path)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    @property
    def _current(self) -> DryRunStore | Store:
        assert self._store is not None, "open it with `async with`"  # noqa: S101
        return self._store

    async def listed_rows(self, task_ids: Sequence[str]) -> dict[str, ListedRow]:
        """Return the rows of those tasks that are stored, by task id."""
        return await self._current.listed_rows(task_ids)

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        """Store the changes, in a database that is made if this is the first page; return which are stored."""
        if not isinstance(self._store, Store):
            self._store = await self._opened.enter_async_context(Store(self._path))
        return await self._store.apply_list_page(page)

    async def name_models(self, entries: Sequence[ListedTask], now_ms: int) -> int:
        """Name the models of stored results; return how many."""
        return await self._current.name_models(entries, now_ms)

    async def lease_requests(self, limit: RateLimit, count: int, now_ms: int) -> BudgetLease:
        """Take requests out of the shared budget, once there is one."""
        return await self._current.lease_requests(limit, count, now_ms)

    async def share_limits(self, news: LimitUpdate, now_ms: int) -> LimitSnapshot:
        """Exchange limits with other processes, once there is a database."""
        return await self._current.share_limits(news, now_ms)

    async def pause(self, now_ms: int) -> Pause | None:
        """Return the pause of the requests of all processes; None without one."""
        return await self._current.pause(now_ms)
