"""The one writer: an aiosqlite connection on which each transaction is one function, run to its end in its thread."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import aiosqlite
import anyio

from harvester.domain.errors import MovedFileError
from harvester.domain.limits.endpoint import BudgetLease, RateLimit
from harvester.domain.limits.pause import Pause
from harvester.domain.limits.shared_limits import LimitSnapshot, LimitUpdate
from harvester.domain.planning.processing_time import Key, LifeTable
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.imported import ImportedResult, ImportOutcome
from harvester.domain.tasks.listing import ListedRow, ListedTask, ListSettlement, UnnamedResult
from harvester.domain.tasks.model_gaps import ModelGaps
from harvester.domain.tasks.queue_reports import Deadline, Ends, Troubled
from harvester.domain.tasks.records import HeldLeases, Lease, Settlement
from harvester.domain.tasks.task import ApiVersion, Task, TaskState
from harvester.ports.maintenance import Covered
from harvester.ports.space import LOG_BYTES, FreeSpace, LogReport
from harvester.store.sqlite import limits, model_names, queue
from harvester.store.sqlite.attempts import is_heard_since, recent_answers
from harvester.store.sqlite.connection import Connection, open_for_writing
from harvester.store.sqlite.counts import (
    TaskCounter,
    ends_by_reason,
    held_by_reason,
    model_gaps,
    nearest_deadline,
    next_due_ms,
    task_states,
    troubled,
)
from harvester.store.sqlite.deadlines import deadlines
from harvester.store.sqlite.importing import harvested_among, import_results
from harvester.store.sqlite.known_versions import known_versions
from harvester.store.sqlite.listed import apply_list_page, listed_rows
from harvester.store.sqlite.maintenance.older_results import cover
from harvester.store.sqlite.maintenance.rescue_copy import save_copy
from harvester.store.sqlite.opened_file import OpenedFile
from harvester.store.sqlite.pausing import current_pause
from harvester.store.sqlite.processing_times import share_processing_times
from harvester.store.sqlite.queries import Scope, query
from harvester.store.sqlite.results import settle
from harvester.store.sqlite.sqlite_errors import primary_code, store_error
from harvester.store.sqlite.transaction import in_transaction
from harvester.store.sqlite.write_ahead_log import free_space, log_bytes, shrink_log

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
"""Seconds: short, because a harvest repeats the operation anyway, and must handle a signal in between."""

PRUNE_BATCH = 10_000


class _Writer(aiosqlite.Connection):
    """Adds to aiosqlite a whole transaction as one call into its thread, which its public interface lacks.

    If each statement were a call, a cancellation could stop between two of them.
    """

    stopped: asyncio.Future[Any] | None = None

    async def transact(self, body: Callable[[sqlite3.Connection], T]) -> T:
        return cast(T, await self._execute(in_transaction, self._conn, body))  # type: ignore[no-untyped-call]

    async def read(self, body: Callable[[sqlite3.Connection], T]) -> T:
        return cast(T, await self._execute(body, self._conn))  # type: ignore[no-untyped-call]

    def stop(self) -> asyncio.Future[Any] | None:
        """Ask the thread to end, and keep the future that is done when it has.

        After a failed opening aiosqlite does not wait for the thread, which would then report to a closed event loop.
        """
        self.stopped = super().stop()
        return self.stopped


class Store:
    """The database as the harvest sees it: claims out, settlements in. Open with `async with`.

    Every method is one transaction, finished or rolled back whatever happens to the caller. Raises StoreBusyError for
    a problem that may pass, another StoreError for one that will not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._scope = Scope.ALL
        self._counter = TaskCounter()
        self._file: OpenedFile | None = None
        self._moved: MovedFileError | None = None
        self._written = 0
        self._writer = _Writer(self._open, iter_chunk_size=64)

    def _open(self) -> Connection:
        connection = open_for_writing(self.path, busy_timeout_s=BUSY_TIMEOUT_S)
        self._file = connection.file
        return connection

    async def __aenter__(self) -> Self:
        try:
            await self._writer
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                if self._writer.stopped is not None:
                    await self._writer.stopped
            if isinstance(error, sqlite3.Error):
                raise store_error(self.path, error) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            if self._moved is None:
                # A reader keeps SQLite from copying the log when this connection is closed.
                await self._writer.read(shrink_log)
            await self._writer.close()

    async def transact(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """Run `body` as one transaction; a cancellation waits until it has ended."""
        return await self._run(body, self._writer.transact)

    async def read(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """Run `body`, which only reads: it does not wait for writers."""
        return await self._run(body, self._writer.read)

    def free_space(self) -> FreeSpace | None:
        """Return the free and the needed space of the volume; None if the system does not say."""
        return None if self._file is None else free_space(self.path, self._file.database_bytes)

    async def tend_log(self) -> LogReport:
        """Cut the log if it is longer than it should be, or if nothing was written since the last time."""
        if self._file is None:
            return LogReport(0, is_pinned=False)

        def body(connection: sqlite3.Connection) -> LogReport:
            length, written = log_bytes(self.path), connection.total_changes
            is_idle, self._written = written == self._written, written
            is_long = length > LOG_BYTES
            is_pinned = length > 0 and (is_long or is_idle) and not shrink_log(connection)
            return LogReport(log_bytes(self.path), is_pinned)

        return await self.read(body)

    def check_file(self) -> None:
        """Raise MovedFileError if the file at the path is not the one that this store has open."""
        if self._moved is not None:
            raise self._moved
        if self._file is not None:
            self._file.check()

    async def _run(
        self, body: Callable[[sqlite3.Connection], T], run: Callable[[Callable[[sqlite3.Connection], T]], Awaitable[T]]
    ) -> T:
        if self._moved is not None:
            raise self._moved
        with anyio.CancelScope(shield=True):
            try:
                result = await run(body)
            except MovedFileError as error:
                raise await self._save(error) from error
            except sqlite3.Error as error:
                if primary_code(error) == sqlite3.SQLITE_FULL:
                    # If the log has filled the volume, this frees as much of it as possible.
                    await self._writer.read(shrink_log)
                raise store_error(self.path, error) from error
        return result

    async def _save(self, error: MovedFileError) -> MovedFileError:
        """Save the content of the opened file, once; return the error that says where it is."""
        if self._moved is None:
            self._moved = error
            saved = await self._writer.read(lambda connection: save_copy(connection, self.path.absolute()))
            what = "It cannot be copied" if saved is None else f"All that was stored in it is in {str(saved)!a}"
            self._moved = MovedFileError(f"{error.sentence} {what}.", remedy=error.remedy)
        return self._moved

    async def select(self, task_ids: Sequence[str], now_ms: int) -> int:
        """Queue the given ids and restrict all later calls to them; return how many were new."""

        def body(connection: sqlite3.Connection) -> int:
            added = queue.add(connection, task_ids, now_ms)
            queue.select(connection, task_ids)
            # The user who names a task wants an answer now, not when a back-off ends.
            queue.make_all_due(connection, Scope.SELECTED)
            return added

        self._scope = Scope.SELECTED
        return await self.transact(body)

    async def due(
        self, now_ms: int, *, limit: int, newest: bool = True, make_due: bool = True, lapsed: bool = True
    ) -> DueTasks:
        """Return up to `limit` due tasks of each open state, and with `newest` also of the newest pending ones.

        First, import rows that other programs have inserted; with `make_due`, make tasks due whose time has come, and
        with `lapsed` also those whose lease has ended. Nearly always there are none: then this only reads, and does not
        wait for writers.
        """

        def read_due(connection: sqlite3.Connection) -> DueTasks:
            if self._file is not None:
                self._file.check(connection)
            return queue.due(connection, now_ms, self._scope, limit=limit, newest=newest)

        def read_due_unless_upkeep_is_needed(connection: sqlite3.Connection) -> DueTasks | None:
            is_needed = queue.needs_upkeep(connection, now_ms, make_due=make_due, lapsed=lapsed)
            return None if is_needed else read_due(connection)

        found = await self.read(read_due_unless_upkeep_is_needed)
        if found is None:
            await self._upkeep(now_ms, make_due=make_due, lapsed=lapsed)
            found = await self.read(read_due)
        return found

    async def _upkeep(self, now_ms: int, *, make_due: bool, lapsed: bool) -> None:
        """Import inserted rows in batches: a million in one transaction would delay results for many seconds."""

        def body(connection: sqlite3.Connection) -> bool:
            is_more = queue.import_inserted_rows(connection, now_ms) == queue.IMPORT_BATCH
            if make_due and not is_more:
                queue.make_due(connection, now_ms, lapsed=lapsed)
            return is_more

        while await self.transact(body):
            pass

    async def claim(self, lease: Lease, tasks: Sequence[Task]) -> list[Task]:
        """Claim those of the tasks that no process has claimed since they were read; return them as claimed."""
        return await self.transact(lambda connection: queue.claim(connection, lease, tasks))

    async def postpone(self, tasks: Sequence[tuple[Task, int]], now_ms: int) -> None:
        """Let tasks without a claim wait until the given times."""
        await self.transact(lambda connection: queue.postpone(connection, tasks, now_ms))

    async def make_misdated_due(self, now_ms: int) -> int:
        """Make tasks due that wait too long because the clock that set their time was ahead; return how many."""
        # Read first: a reader keeps no writer waiting, and such tasks are rare.
        if not await self.read(lambda connection: queue.is_any_misdated(connection, now_ms)):
            return 0
        return await self.transact(lambda connection: queue.make_misdated_due(connection, now_ms))

    async def held_leases(self) -> list[HeldLeases]:
        """Return the claims of each owner."""
        return await self.read(queue.held_leases)

    async def free(self, dead: Sequence[HeldLeases]) -> int:
        """Make the tasks of dead owners due, unless these have renewed their leases since; return how many."""
        return await self.transact(lambda connection: queue.free(connection, dead))

    async def make_all_due(self, now_ms: int) -> None:
        """Make every waiting task due now, and every task whose lease has ended."""

        def body(connection: sqlite3.Connection) -> None:
            queue.make_due(connection, now_ms)
            queue.make_all_due(connection, self._scope)

        await self.transact(body)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Store a group of results in one transaction; return for each whether it was accepted."""
        return await self.transact(lambda connection: settle(connection, settlements))

    async def import_results(self, results: Sequence[ImportedResult], now_ms: int) -> list[ImportOutcome]:
        """Store results from files in one transaction; return the outcome of each."""
        return await self.transact(lambda connection: import_results(connection, results, now_ms))

    async def harvested_among(self, task_ids: Sequence[str]) -> dict[str, int | None]:
        """Return those of the tasks that are harvested, with the bytes of the file that the last import of it read."""
        return await self.read(lambda connection: harvested_among(connection, task_ids))

    async def renew(self, lease: Lease) -> int:
        """Prolong the claims of the owner; return how many there are."""
        return await self.transact(lambda connection: queue.renew(connection, lease))

    async def defer(self, tasks: Sequence[tuple[Task, int]]) -> None:
        """Give claimed tasks back, each due again at the given time."""
        await self.transact(lambda connection: queue.defer(connection, tasks))

    async def release(self, owner: str) -> int:
        """Give the claims of the owner back; return how many there were."""
        return await self.transact(lambda connection: queue.release(connection, owner))

    async def listed_rows(self, task_ids: Sequence[str]) -> dict[str, ListedRow]:
        """Return the rows of those tasks that are stored, by task id."""
        return await self.read(lambda connection: listed_rows(connection, task_ids))

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        """Store the changes by a page of the list; return for each whether it was stored.

        A row that has changed since it was read stays as it is. Claimed tasks that the page does not settle are given
        back.
        """
        return await self.transact(lambda connection: apply_list_page(connection, page))

    async def name_models(self, entries: Sequence[ListedTask], now_ms: int) -> int:
        """Store the models that the entries name for results without one; return of how many.

        Several transactions: each recomputes the checksums of a few results, and delays no others for long.
        """
        count = 0
        for batch in model_names.batches(await self.read(lambda connection: model_names.nameable(connection, entries))):
            count += await self.transact(partial(model_names.name_models, named=batch, now_ms=now_ms))
        return count

    async def unnamed_results(self, now_ms: int, *, limit: int) -> list[UnnamedResult]:
        """Return results for whose models the list should be asked."""
        return await self.read(
            lambda connection: model_names.unnamed_results(connection, now_ms, self._scope, limit=limit)
        )

    async def models_not_listed(self, tasks: Sequence[Task], now_ms: int) -> None:
        """Record that the list was asked for the models of these results and did not name them."""
        await self.transact(lambda connection: model_names.models_not_listed(connection, tasks, now_ms))

    async def model_gaps(self) -> ModelGaps:
        """Return how many stored results have no model."""
        return await self.read(model_gaps)

    async def release_held(self, limit: int) -> int:
        """Make due up to `limit` tasks that wait for a confirmation; return how many."""
        return await self.transact(lambda connection: queue.release_held(connection, limit, self._scope))

    async def held_by_reason(self, after_ms: int) -> dict[str, int]:
        """Return how many open tasks wait for a confirmation until after that time, by reason."""
        return await self.read(lambda connection: held_by_reason(connection, after_ms, self._scope))

    async def known_versions(self) -> list[tuple[int, ApiVersion]]:
        """Return the creation times and API versions of the newest tasks whose version is known, the newest last."""
        return await self.read(known_versions)

    async def recent_answers(self, since_ms: int, now_ms: int) -> list[tuple[int, str]]:
        """Return the last requests since that time, the oldest first: the row id of the task, and the outcome."""
        return await self.read(lambda connection: recent_answers(connection, since_ms, now_ms))

    async def is_heard_since(self, since_ms: int, now_ms: int) -> bool:
        """Return whether any process has had an answer of the API about a task, or in a page, since that time."""
        return await self.read(lambda connection: is_heard_since(connection, since_ms, now_ms))

    async def is_queued(self, task_id: str) -> bool:
        """Return whether the database has a task of that id."""
        return await self.read(
            lambda connection: connection.execute(query("find_task"), {"task_id": task_id}).fetchone() is not None
        )

    async def retract(self, row_ids: Sequence[int]) -> None:
        """Take tasks without a claim back from `ready` to `pending`: they were inferred to be ready by mistake."""
        rows = [{"id": row_id} for row_id in row_ids]
        await self.transact(lambda connection: connection.executemany(query("retract_ready"), rows))

    async def share_processing_times(self, fresh: Mapping[Key, LifeTable]) -> dict[Key, LifeTable]:
        """Add newly learned processing times, and return all that are known."""
        return await self.transact(lambda connection: share_processing_times(connection, fresh))

    async def lease_requests(self, limit: RateLimit, count: int, now_ms: int) -> BudgetLease:
        """Take requests out of the budget that all processes on this database share."""
        return await self.transact(lambda connection: limits.lease_requests(connection, limit, count, now_ms))

    async def share_limits(self, update: LimitUpdate, now_ms: int) -> LimitSnapshot:
        """Store what a process has learned of the limits; return what all processes have."""

        def body(connection: sqlite3.Connection) -> LimitSnapshot:
            if update:
                limits.note_limits(connection, update, now_ms)
            return limits.known_limits(connection, now_ms)

        return await (self.transact(body) if update else self.read(body))

    async def pause(self, now_ms: int) -> Pause | None:
        """Return the pause of the requests of all processes; None without one."""
        return await self.read(lambda connection: current_pause(connection, now_ms))

    async def prune(self, before_ms: int) -> int:
        """Delete a batch of the attempts that were made before that time; return how many."""
        parameters = {"before": before_ms, "limit": PRUNE_BATCH}
        return await self.transact(lambda connection: connection.execute(query("prune_attempts"), parameters).rowcount)

    async def cover(self, after_task: int) -> Covered | None:
        """Compute a batch of checksums that an older version did not; None if none is missing after that row."""
        return await self.transact(lambda connection: cover(connection, after_task))

    async def counts(self) -> dict[TaskState, int]:
        """Return the number of tasks in each state."""
        return await self.read(lambda connection: self._counter.count(connection, self._scope))

    async def next_due_ms(self) -> int | None:
        """Return when the next open task falls due: 0 if one is due now, None if none is open."""
        return await self.read(lambda connection: next_due_ms(connection, self._scope))

    async def nearest_deadline(self) -> Deadline | None:
        """Return the nearest deadline; None if no task is open."""
        return await self.read(lambda connection: nearest_deadline(connection, self._scope))

    async def deadlines(self, now_ms: int) -> list[tuple[int, int]]:
        """Return deadlines, the nearest first, and how many open tasks have each."""
        return await self.read(lambda connection: deadlines(connection, now_ms, self._scope))

    async def states(self, since_ms: int) -> dict[str, TaskState]:
        """Return the states of the tasks that are open or have ended since that time."""
        return await self.read(lambda connection: task_states(connection, since_ms, self._scope))

    async def ends(self, since_ms: int) -> list[Ends]:
        """Return the ends other than `harvested` since that time, grouped by reason."""
        return await self.read(lambda connection: ends_by_reason(connection, since_ms, self._scope))

    async def troubled(self, since_ms: int) -> Troubled | None:
        """Return the open tasks whose last answer since that time was an error."""
        return await self.read(lambda connection: troubled(connection, since_ms, self._scope))
