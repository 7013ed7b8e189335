"""The store of a dry run: it reads and compares, and writes nothing."""

from collections.abc import Sequence
from pathlib import Path

from harvester.domain.limits.endpoint import BudgetLease, RateLimit, reserve
from harvester.domain.limits.pause import Pause
from harvester.domain.limits.shared_limits import LimitSnapshot, LimitUpdate
from harvester.domain.tasks.listing import ListedRow, ListedTask, ListSettlement
from harvester.store.sqlite.connection import open_for_reading
from harvester.store.sqlite.database_path import exists
from harvester.store.sqlite.limits import known_limits
from harvester.store.sqlite.listed import listed_rows
from harvester.store.sqlite.pausing import current_pause
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.sqlite_errors import translating_errors


class DryRunStore:
    """Stands in for the store in a dry run: reads, and takes no requests out of the shared budget. Writes nothing.

    Without a database, every task is new. Close it with `contextlib.closing`. Raises StoreError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = open_for_reading(path) if exists(path) else None
        self._arrival_ms = 0.0

    def close(self) -> None:
        """Close the database."""
        if self._connection is not None:
            self._connection.close()

    async def listed_rows(self, task_ids: Sequence[str]) -> dict[str, ListedRow]:
        """Return the rows of those tasks that are stored, by task id."""
        if self._connection is None:
            return {}
        with translating_errors(self.path):
            return listed_rows(self._connection, task_ids)

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        """Accept every change, and store none."""
        return [True] * len(page.changes)

    async def name_models(self, entries: Sequence[ListedTask], now_ms: int) -> int:  # noqa: ARG002  # as the port
        """Store nothing."""
        return 0

    async def lease_requests(self, limit: RateLimit, count: int, now_ms: int) -> BudgetLease:
        """Return when `count` requests may go out after those that others have taken out of the budget."""
        row = None if self._connection is None else self._connection.execute(query("budget_arrival")).fetchone()
        taken_ms = max(self._arrival_ms, row[0] if row else 0.0)
        start_ms, self._arrival_ms = reserve(taken_ms, now_ms, limit, count)
        return BudgetLease(start_ms, (await self.share_limits(LimitUpdate(), now_ms)).blocks)

    async def share_limits(self, _news: LimitUpdate, now_ms: int) -> LimitSnapshot:
        """Return the limits that all processes have learned."""
        return LimitSnapshot() if self._connection is None else known_limits(self._connection, now_ms)

    async def pause(self, now_ms: int) -> Pause | None:
        """Return the pause of the requests of all processes; None without one."""
        if self._connection is None:
            return None
        with translating_errors(self.path):
            return current_pause(self._connection, now_ms)
