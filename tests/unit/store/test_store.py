import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from harvester.domain.errors import NotOursError, StoreBusyError, StoreError
from harvester.domain.tasks.outcomes import Retrieved
from harvester.domain.tasks.task import DAY_MS, TaskState
from harvester.store.sqlite import connection, queue
from harvester.store.sqlite.store import Store
from tests.support.store_builders import (
    NOW,
    claim_due,
    contents,
    embeddings,
    insert_like_another_program,
    lease,
    object_id,
    settlement,
)

INSERT = "INSERT INTO tasks (task_id) VALUES (?)"

INSERT_MANY = """
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT 2500)
INSERT INTO tasks (task_id) SELECT printf('%08x%016x', ?, n) FROM numbers
"""


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store(path) as store:
        yield store


class SlowInsert:
    """A transaction that stands still between two statements until it is let go."""

    def __init__(self) -> None:
        self._half = threading.Event()
        self._go_on = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> str:
        connection.execute(INSERT, [object_id(1)])
        self._half.set()
        self._go_on.wait()
        connection.execute(INSERT, [object_id(2)])
        return "done"

    async def is_half_done(self) -> None:
        await anyio.to_thread.run_sync(self._half.wait)

    def go_on(self) -> None:
        self._go_on.set()


async def queued_ids(store: Store) -> list[str]:
    rows = await store.transact(lambda connection: connection.execute("SELECT task_id FROM tasks").fetchall())
    return sorted(task_id for (task_id,) in rows)


async def open_count(store: Store) -> int:
    return (await store.counts())[TaskState.PENDING]


async def test_a_cancelled_caller_waits_until_its_transaction_is_whole(store: Store) -> None:
    slow, results = SlowInsert(), []

    async def caller() -> None:
        results.append(await store.transact(slow))

    async with anyio.create_task_group() as group:
        group.start_soon(caller)
        await slow.is_half_done()
        group.cancel_scope.cancel()
        slow.go_on()
    assert results == ["done"]
    assert await queued_ids(store) == [object_id(1), object_id(2)]


async def test_a_task_cancelled_past_the_shield_neither_halves_nor_breaks_anything(store: Store) -> None:
    slow = SlowInsert()
    caller = asyncio.create_task(store.transact(slow))
    await slow.is_half_done()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    slow.go_on()
    assert await queued_ids(store) == [object_id(1), object_id(2)]


async def test_a_cancellation_while_the_body_fails_stores_nothing(store: Store) -> None:
    slow = SlowInsert()

    def failing(connection: sqlite3.Connection) -> None:
        slow(connection)
        raise ZeroDivisionError

    caller = asyncio.create_task(store.transact(failing))
    await slow.is_half_done()
    caller.cancel()
    slow.go_on()
    await asyncio.gather(caller, return_exceptions=True)
    assert await queued_ids(store) == []


async def test_leaving_while_cancelled_closes_after_the_last_transaction(path: Path) -> None:
    slow = SlowInsert()
    async with anyio.create_task_group() as group:

        async def harvest() -> None:
            async with Store(path) as store:
                await store.transact(slow)

        group.start_soon(harvest)
        await slow.is_half_done()
        group.cancel_scope.cancel()
        slow.go_on()
    async with Store(path) as store:
        assert await queued_ids(store) == [object_id(1), object_id(2)]


async def test_closing_leaves_one_file_and_no_thread(path: Path) -> None:
    threads = set(threading.enumerate())
    async with Store(path) as store:
        await store.select([object_id(1)], NOW)
        (thread,) = set(threading.enumerate()) - threads
    await anyio.to_thread.run_sync(thread.join)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_a_closed_store_refuses_further_work(path: Path) -> None:
    async with Store(path) as store:
        pass
    with pytest.raises(ValueError, match="no active connection"):
        await store.counts()


@pytest.fixture
def text_file(path: Path) -> Path:
    path.write_text("task_id,title\n" * 1000)
    return path


async def test_what_cannot_be_opened_is_refused_and_leaves_no_thread(text_file: Path) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(NotOursError, match="is not a SQLite database"):
        async with Store(text_file):
            pass
    for thread in set(threading.enumerate()) - threads:
        await anyio.to_thread.run_sync(thread.join)


async def test_errors_of_opening_are_translated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked by another program"):
            async with Store(path):
                pass


async def test_a_body_that_fails_is_rolled_back_and_the_next_one_works(store: Store) -> None:
    def failing(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT, [object_id(1)])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.transact(failing)
    await store.select([object_id(2)], NOW)
    assert await queued_ids(store) == [object_id(2)]


async def test_an_error_that_will_not_pass_is_translated_and_rolled_back(store: Store, path: Path) -> None:
    def failing(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT, [object_id(1)])
        connection.execute(INSERT, [object_id(1)])

    with pytest.raises(StoreError) as failure:
        await store.transact(failing)
    assert not isinstance(failure.value, StoreBusyError)
    assert failure.value.sentence.startswith(f"The database {str(path)!r} refuses a row: UNIQUE")
    assert await queued_ids(store) == []


async def test_a_locked_database_is_a_passing_problem_and_nothing_is_lost(store: Store, path: Path) -> None:
    await store.transact(lambda connection: connection.execute("PRAGMA busy_timeout = 0").fetchall())
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match=r"is kept locked by another program\. End that") as failure:
            await store.select([object_id(1)], NOW)
        assert failure.value.reason == "database is locked"
        stranger.execute("ROLLBACK")
    assert await store.select([object_id(1)], NOW) == 1


async def test_a_full_disk_keeps_the_task_open_until_there_is_space_again(store: Store) -> None:
    await store.select([object_id(1)], NOW)
    (task,) = await claim_due(store, lease(), now_ms=NOW, limit=1)
    harvest = settlement(task, Retrieved(embeddings(count=600, dim=256)))
    before = await store.transact(contents)
    await limit_pages(store, 0)
    with pytest.raises(StoreBusyError, match=r"cannot grow: the disk is full\. Free some space") as failure:
        await store.settle([harvest])
    assert (failure.value.reason, await store.transact(contents)) == ("database or disk is full", before)
    await limit_pages(store, 10_000)
    assert await store.settle([harvest]) == [True]


async def limit_pages(store: Store, count: int) -> None:
    """Let the file grow to `count` pages; 0 means that it may not grow any more."""
    await store.transact(lambda connection: connection.execute(f"PRAGMA max_page_count = {count or 1}").fetchall())


async def test_a_large_insert_of_another_program_is_imported_before_due_tasks_are_read(
    store: Store, path: Path
) -> None:
    urgent = object_id(2500, created_ms=NOW - DAY_MS)
    insert_like_another_program(path, INSERT_MANY, [NOW // 1000])
    insert_like_another_program(path, INSERT, [urgent])
    assert [task.task_id for task in (await store.due(NOW, limit=1)).pending[:1]] == [urgent]
    assert await store.transact(lambda connection: queue.import_inserted_rows(connection, NOW)) == 0


async def test_results_are_stored_while_a_large_insert_is_adopted(store: Store, path: Path) -> None:
    insert_like_another_program(path, INSERT_MANY, [NOW // 1000])
    ended: list[str] = []

    async def read_due() -> None:
        await store.due(NOW, limit=1)
        ended.append("read due")

    async def settle() -> None:
        await store.settle([])
        ended.append("settle")

    async with anyio.create_task_group() as group:
        group.start_soon(read_due)
        group.start_soon(settle)
    assert ended == ["settle", "read due"]


async def test_reading_due_tasks_waits_for_no_writer_where_nothing_must_change(store: Store, path: Path) -> None:
    await store.select([object_id(1)], NOW)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert len((await store.due(NOW, limit=5)).pending) == 1
        writer.execute("ROLLBACK")


@pytest.mark.parametrize("newest", [False, True])
async def test_the_newest_tasks_are_read_on_request(store: Store, *, newest: bool) -> None:
    await store.select([object_id(number, created_ms=NOW - (9 - number) * 60_000) for number in range(9)], NOW)
    assert len((await store.due(NOW, limit=3, newest=newest)).pending) == (6 if newest else 3)


async def test_without_a_wish_everything_is_claimed(store: Store, path: Path) -> None:
    insert_like_another_program(path, INSERT, [object_id(1)])
    assert [task.task_id for task in await claim_due(store, lease(), now_ms=NOW, limit=10)] == [object_id(1)]
