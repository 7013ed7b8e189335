"""The log is bounded by bytes while no program reads it, and cut when its readers have left."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from harvester.ports.space import LOG_BYTES
from harvester.store.sqlite.connection import Connection, open_for_writing
from harvester.store.sqlite.queue import add
from harvester.store.sqlite.store import Store
from harvester.store.sqlite.transaction import in_transaction
from harvester.store.sqlite.write_ahead_log import free_bytes, free_space, log_bytes, log_path, shrink_log
from tests.support.store_builders import object_id

NOW = 1_760_000_000_000


def write(connection: sqlite3.Connection, first: int, count: int = 400) -> None:
    """Queue tasks, each in a transaction of its own."""
    for number in range(first, first + count):
        in_transaction(connection, lambda connection: add(connection, [object_id(number)], NOW))  # noqa: B023


@contextmanager
def reader(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM tasks").fetchone()
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "harvester.db"


@pytest.fixture
def connection(path: Path) -> Iterator[Connection]:
    with closing(open_for_writing(path)) as opened:
        yield opened


@pytest.mark.parametrize("page_bytes", [4096, 32768])
def test_the_log_is_bounded_by_bytes_whatever_the_size_of_the_pages(path: Path, page_bytes: int) -> None:
    with closing(sqlite3.connect(path)) as made:
        made.execute(f"PRAGMA page_size = {page_bytes}")
        made.execute("VACUUM")
    with closing(open_for_writing(path)) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (page_bytes,)
        longest = 0
        for turn in range(6):
            write(connection, turn * 400)
            longest = max(longest, log_bytes(path))
    assert LOG_BYTES / 2 < longest < 1.2 * LOG_BYTES


def test_a_log_that_grew_behind_a_reader_is_cut_by_the_next_commits(path: Path, connection: Connection) -> None:
    with reader(path):
        write(connection, 0)
        assert log_bytes(path) > 2 * LOG_BYTES
    write(connection, 400, count=3)
    assert log_bytes(path) <= LOG_BYTES


async def test_without_any_commit_the_store_cuts_it_and_says_who_hinders_it(path: Path) -> None:
    async with Store(path) as store:
        with closing(open_for_writing(path)) as other:
            with reader(path):
                write(other, 0)
                report = await store.tend_log()
                assert (report.is_pinned, report.bytes > 2 * LOG_BYTES) == (True, True)
            report = await store.tend_log()
            assert (report.is_pinned, report.bytes) == (False, 0)


async def test_an_idle_store_leaves_no_log(path: Path) -> None:
    async with Store(path) as store:
        await store.select([object_id(1)], NOW)
        await store.tend_log()
        assert log_bytes(path) > 0
        assert (await store.tend_log()).bytes == 0


def test_cutting_waits_for_no_reader_and_keeps_the_patience_for_other_writers(
    path: Path, connection: Connection
) -> None:
    before = connection.execute("PRAGMA busy_timeout").fetchone()
    with reader(path):
        write(connection, 0, count=1)
        assert not shrink_log(connection)
    assert shrink_log(connection)
    assert before == connection.execute("PRAGMA busy_timeout").fetchone()


def test_the_room_that_is_needed_is_that_of_the_log_and_of_its_copy(path: Path, connection: Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    found = free_space(path, size)
    assert found is not None
    assert (found.log_bytes, found.needed_bytes) == (0, 2 * LOG_BYTES)
    with reader(path):
        write(connection, 0)
        grown = free_space(path, size + 1_000_000)
        assert grown is not None
        # The log has what it may take already; what is to come is what the database grows by.
        assert grown.needed_bytes == 1_000_000 + LOG_BYTES


def test_the_log_of_a_linked_database_is_beside_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link, file = tmp_path / "link.db", tmp_path / "data" / "file.db"
    link.symlink_to(file)
    assert log_path(link) == tmp_path / "data" / "file.db-wal"
    assert free_bytes(link) == pytest.approx(free_bytes(tmp_path), rel=0.1)
    assert free_bytes(tmp_path / "no such folder" / "harvester.db") is None
