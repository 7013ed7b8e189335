"""`compact` gives space back, and loses nothing whatever stops it."""

import os
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harvester.domain.errors import StoreBusyError, StoreError
from harvester.domain.tasks.outcomes import Empty, Retrieved
from harvester.domain.tasks.task import DAY_MS
from harvester.store.sqlite.connection import Connection, open_existing, open_for_reading, open_for_writing
from harvester.store.sqlite.maintenance import compaction
from harvester.store.sqlite.maintenance.compaction import compact, measure
from harvester.store.sqlite.maintenance.verify import verify
from harvester.store.sqlite.opened_file import OpenedFile
from harvester.store.sqlite.transaction import in_transaction
from harvester.store.sqlite.widening import remove_result
from harvester.store.sqlite.write_ahead_log import log_bytes, shrink_log
from tests.support.store_builders import NOW, claim_new, contents, embeddings, row_counts, settle_all, settlement

OLD = NOW - 30 * DAY_MS
BIG = Retrieved(embeddings(count=400, dim=512))


def errors(connection: sqlite3.Connection) -> list[str]:
    return [finding.text for finding in verify(connection, deep=True) if not finding.is_warning]


def ignore(_progress: object) -> None:
    pass


@pytest.fixture
def loose(connection: sqlite3.Connection) -> sqlite3.Connection:
    """A database with free pages: of three results, one was removed."""
    for number in range(3):
        settle_all(connection, settlement(claim_new(connection, number), BIG))
    in_transaction(connection, lambda connection: remove_result(connection, 1))
    connection.execute("UPDATE tasks SET state = 'failed' WHERE id = 1")
    return connection


def test_the_file_gets_shorter_beside_a_writer_and_a_second_run_finds_nothing(
    loose: sqlite3.Connection, path: Path
) -> None:
    before, inode = contents(loose), path.stat().st_ino
    found = measure(path, OLD)

    done = compact(path, OLD, ignore)

    assert found.free_inside_bytes > 700_000
    assert done.database_bytes <= found.database_bytes - found.free_inside_bytes
    assert (path.stat().st_size, path.stat().st_ino, log_bytes(path)) == (done.database_bytes, inode, 0)
    assert (contents(loose), errors(loose)) == (before, [])
    assert (found.is_compact, measure(path, OLD).is_compact, compact(path, OLD, ignore).before.is_compact) == (
        False,
        True,
        True,
    )
    in_transaction(loose, lambda connection: connection.execute("UPDATE tasks SET gone = 0"))


def test_bodies_of_harvested_tasks_and_old_attempts_are_dropped(connection: sqlite3.Connection, path: Path) -> None:
    body = os.urandom(200_000)
    for number in range(3):
        late = NOW + 7 * DAY_MS
        settle_all(connection, settlement(claim_new(connection, number), Empty(), now_ms=late, body=body))
    connection.execute("UPDATE tasks SET state = 'harvested' WHERE id = 1")
    connection.execute("UPDATE tasks SET state = 'pending' WHERE id = 2")
    connection.execute("UPDATE attempts SET at = ? WHERE task = 3", (OLD - 1,))

    done = compact(path, OLD, ignore)

    assert (done.dropped_bodies, done.dropped_attempts) == (1, 1)
    assert connection.execute("SELECT task FROM payloads").fetchall() == [(2,), (3,)]
    assert done.before.unneeded_body_bytes >= 200_000
    assert done.database_bytes < done.before.database_bytes - 150_000


def test_a_reader_keeps_the_log_and_the_file_gets_shorter_after_it(
    loose: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "_READER_S", 0.0)
    with closing(open_for_reading(path)) as reader:
        reader.execute("BEGIN")
        seen = contents(reader)
        pinned = compact(path, OLD, ignore)
        assert contents(reader) == seen
    later = compact(path, OLD, ignore)

    assert (pinned.is_pinned, pinned.log_bytes > 0) == (True, True)
    assert (later.is_pinned, later.log_bytes, path.stat().st_size) == (False, 0, pinned.database_bytes)
    assert errors(loose) == []


def test_with_too_little_space_nothing_is_changed(
    loose: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed, before = measure(path, OLD).needed_bytes, contents(loose)
    monkeypatch.setattr(compaction, "free_bytes", lambda _path: needed - 1)

    with pytest.raises(StoreError, match="are free there") as caught:
        compact(path, OLD, ignore)

    assert "SQLITE_TMPDIR" in caught.value.remedy
    assert contents(loose) == before
    monkeypatch.setattr(compaction, "free_bytes", lambda _path: needed)
    assert compact(path, OLD, ignore).database_bytes < needed


def test_space_on_another_volume_is_checked_too(loose: sqlite3.Connection, path: Path) -> None:
    found = replace(measure(path, OLD), copy_folder=Path("/elsewhere"), copy_free_bytes=10)

    assert not found.has_room
    with pytest.raises(StoreError, match="in '/elsewhere' for a copy, and 10 B are free there"):
        compaction.check_room(path, found)
    assert contents(loose)["tasks"]


def test_the_copy_is_made_beside_the_database_unless_a_folder_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SQLITE_TMPDIR", raising=False)
    assert compaction.copy_folder(path) == tmp_path
    (tmp_path / "it's").mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path / "it's"))
    assert compaction.copy_folder(path) == tmp_path / "it's"
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path / "none"))
    assert compaction.copy_folder(path) == tmp_path


def test_a_folder_with_a_quote_in_its_name_can_hold_the_copy(
    loose: sqlite3.Connection, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "it's").mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path / "it's"))

    done = compact(path, OLD, ignore)

    assert done.database_bytes < done.before.database_bytes
    assert errors(loose) == []


def test_ctrl_c_while_the_copy_is_made_leaves_the_database_as_it_was(
    loose: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, pages, goes_on = contents(loose), path.stat().st_size, threading.Event()

    def held() -> int:
        if threading.current_thread().name == "vacuum":
            goes_on.wait(30)
        return 0

    def press_and_go_on(interrupt: Callable[[], None]) -> None:
        interrupt()
        goes_on.set()

    def open_held(path: Path) -> Connection:
        connection = open_existing(path)
        connection.set_progress_handler(held, 10)
        interrupt = connection.interrupt
        monkeypatch.setattr(type(connection), "interrupt", lambda _self: press_and_go_on(interrupt))
        return connection

    def press(_progress: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compaction, "open_existing", open_held)
    with pytest.raises(KeyboardInterrupt):
        compact(path, OLD, press)

    assert contents(loose) == before
    assert (measure(path, OLD).is_compact, path.stat().st_size >= pages, log_bytes(path)) == (False, True, 0)


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Let writes beyond that length fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_gets_full_in_the_middle_leaves_the_database_as_it_was(
    loose: sqlite3.Connection, path: Path
) -> None:
    shrink_log(loose)
    before = contents(loose)

    with file_size_limit(1_000_000), pytest.raises(StoreBusyError):
        compact(path, OLD, ignore)

    assert (contents(loose), log_bytes(path)) == (before, 0)
    assert errors(loose) == []
    done = compact(path, OLD, ignore)
    assert done.database_bytes < done.before.database_bytes


def test_a_lock_that_another_program_keeps_is_named(
    loose: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "BUSY_TIMEOUT_S", 0.0)
    monkeypatch.setattr(compaction, "_BUSY_STEP_MS", 1)
    monkeypatch.setattr(compaction, "_in_batches", lambda *_: 0)

    def open_before_the_lock(path: Path) -> Connection:
        connection = open_existing(path)
        loose.execute("BEGIN IMMEDIATE")
        return connection

    monkeypatch.setattr(compaction, "open_existing", open_before_the_lock)

    with pytest.raises(StoreBusyError, match="is kept locked by another program"):
        compact(path, OLD, ignore)
    loose.execute("ROLLBACK")

    assert not measure(path, OLD).is_compact


def test_a_missing_file_is_not_made(path: Path) -> None:
    for call in (lambda: compact(path, OLD, ignore), lambda: measure(path, OLD)):
        with pytest.raises(StoreError, match="There is no database at"):
            call()
    assert not path.exists()


def test_an_older_schema_is_left_alone(path: Path) -> None:
    with closing(open_for_writing(path)) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version > 10")
    with pytest.raises(StoreError, match="has an older schema"):
        compact(path, OLD, ignore)


def test_a_file_that_vacuum_shortens_during_the_check_is_not_cut(loose: sqlite3.Connection, path: Path) -> None:
    """The check counts the pages and then looks at the file: another process may compact it in between."""

    class Counting(sqlite3.Connection):
        is_first = True

        def execute(self, sql: str, *_parameters: object) -> sqlite3.Cursor:
            answer = super().execute("SELECT page_count FROM pragma_page_count" if "page_count" in sql else sql)
            if "page_count" in sql and self.is_first:
                self.is_first = False
                stale = answer.fetchone()[0]
                compact(path, OLD, ignore)
                return super().execute(f"SELECT {stale}")
            return answer

    shrink_log(loose)
    file = OpenedFile(path)
    with closing(sqlite3.connect(path, factory=Counting)) as connection:
        file.note_log(connection)
        file.check(connection)

    assert file.database_bytes == path.stat().st_size
    assert row_counts(loose)["tasks"] == 3
