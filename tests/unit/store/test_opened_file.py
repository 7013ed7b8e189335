"""A commit counts only while the path leads to the file that was opened."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from harvester.domain.errors import MovedFileError, StoreError
from harvester.store.sqlite.connection import Connection, open_for_reading, open_for_writing
from harvester.store.sqlite.maintenance import file_systems
from harvester.store.sqlite.maintenance.probe import why_not_writable
from harvester.store.sqlite.queue import add
from harvester.store.sqlite.store import Store
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import object_id

NOW = 1_760_000_000_000


def add_tasks(connection: Connection, number: int) -> int:
    return in_transaction(connection, lambda connection: add(connection, [object_id(number)], NOW))


def remove(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def replace(path: Path) -> None:
    other = path.with_name("other.db")
    open_for_writing(other).close()
    other.rename(path)


def replace_by_a_link(path: Path) -> None:
    moved = path.with_name("elsewhere.db")
    open_for_writing(moved).close()
    path.unlink()
    path.symlink_to(moved)


def remove_the_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def replace_the_log(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    log.rename(log.with_name("old"))
    log.write_bytes(b"")


def remove_the_index_of_the_log(path: Path) -> None:
    path.with_name(path.name + "-shm").unlink()


def empty(path: Path) -> None:
    os.truncate(path, 0)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


CHANGES: list[tuple[Callable[[Path], None], str]] = [
    (remove, "was removed or moved"),
    (move, "was removed or moved"),
    (move_the_folder, "was removed or moved"),
    (replace, "was replaced by another file"),
    (replace_by_a_link, "was replaced by another file"),
    (remove_the_log, "has lost its write-ahead log"),
    (replace_the_log, "has another write-ahead log"),
    (remove_the_index_of_the_log, "has lost its index of the write-ahead log"),
    (empty, "was emptied"),
    (cut, "was cut"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "harvester.db"


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_no_transaction_is_acknowledged_once_the_path_leads_elsewhere(
    path: Path, change: Callable[[Path], None], said: str
) -> None:
    with closing(open_for_writing(path)) as connection:
        assert add_tasks(connection, 1) == 1
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert add_tasks(connection, 2) == 1
        change(path)

        with pytest.raises(MovedFileError, match=said):
            add_tasks(connection, 3)
        assert not connection.in_transaction


def test_what_is_not_acknowledged_is_not_in_the_opened_file_either(path: Path) -> None:
    with closing(open_for_writing(path)) as connection:
        move(path)
        with pytest.raises(MovedFileError):
            add_tasks(connection, 1)
        assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (0,)


def test_a_change_during_the_commit_is_noticed(path: Path) -> None:
    with closing(open_for_writing(path)) as connection:
        connection.set_trace_callback(lambda statement: path.unlink() if statement == "COMMIT" else None)
        with pytest.raises(MovedFileError, match="was removed"):
            add_tasks(connection, 1)


def test_a_vacuum_and_a_checkpoint_by_another_program_change_nothing(path: Path) -> None:
    with closing(open_for_writing(path)) as connection:
        in_transaction(connection, lambda connection: add(connection, map(object_id, range(5000)), NOW))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        add_tasks(connection, 5000)
        connection.execute("DELETE FROM tasks")
        before = path.stat().st_size
        with closing(sqlite3.connect(path)) as other:
            other.execute("VACUUM")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.stat().st_size < before
        assert add_tasks(connection, 1) == 1


def test_a_path_that_is_a_link_is_followed(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    with closing(open_for_writing(link)) as connection:
        assert add_tasks(connection, 1) == 1
    assert path.exists()


async def test_what_was_stored_in_a_file_that_is_gone_is_saved_beside_it_once(path: Path) -> None:
    async with Store(path) as store:
        await store.select([object_id(1)], NOW)
        remove(path)
        for _ in range(2):
            with pytest.raises(MovedFileError, match=r"All that was stored in it is in .*harvester\.db\.saved-"):
                await store.release("owner")
        with pytest.raises(MovedFileError):
            store.check_file()
    (saved,) = path.parent.glob("harvester.db.saved-*")
    assert saved.stat().st_mode & 0o777 == 0o600
    with closing(open_for_reading(saved)) as connection:
        assert connection.execute("SELECT task_id FROM tasks").fetchall() == [(object_id(1),)]


async def test_where_the_folder_is_gone_the_copy_is_in_the_current_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = path.parent.parent / "current"
    current.mkdir()
    monkeypatch.chdir(current)
    async with Store(path) as store:
        move_the_folder(path)
        with pytest.raises(MovedFileError, match=str(current)):
            await store.release("owner")
    assert len(list(current.glob("harvester.db.saved-*"))) == 1


def test_a_file_with_several_names_is_refused(path: Path) -> None:
    open_for_writing(path).close()
    second = path.with_name("second.db")
    second.hardlink_to(path)
    for name in (path, second):
        for attempt in (open_for_writing, open_for_reading):
            with pytest.raises(StoreError, match="has 2 names"):
                attempt(name)


def test_a_finished_copy_may_be_read_by_any_name(path: Path) -> None:
    open_for_writing(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    second = path.with_name("second.db")
    second.hardlink_to(path)
    open_for_reading(second).close()


def test_a_file_that_is_mounted_by_itself_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_for_writing(path).close()
    mounts, status = path.with_name("mounts"), path.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    mounts.write_text(f"1 0 {device} / / rw - ext4 disk rw\n2 1 {device} /x {path} rw - ext4 disk rw\n")
    monkeypatch.setattr(file_systems, "MOUNTINFO", mounts)
    for attempt in (open_for_writing, open_for_reading):
        with pytest.raises(StoreError, match="mounted as a single file"):
            attempt(path)


def test_a_log_that_is_a_link_is_refused(path: Path) -> None:
    open_for_writing(path).close()
    path.with_name("harvester.db-wal").symlink_to(path.with_name("log"))
    with pytest.raises(StoreError, match="is a link or no file"):
        open_for_writing(path)


OPEN_AND_CLOSE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM tasks").fetchone()
connection.close()
"""


def test_who_reads_in_the_same_process_leaves_the_locks_of_the_writer_alone(path: Path) -> None:
    with closing(open_for_writing(path)) as writer:
        in_transaction(writer, lambda connection: add(connection, [object_id(0)], NOW))
        open_for_reading(path).close()
        assert why_not_writable(path) is None
        # Were the locks gone, the other process would take itself for the last one, and remove the log at its end.
        subprocess.run([sys.executable, "-c", OPEN_AND_CLOSE, str(path)], check=True)
        in_transaction(writer, lambda connection: add(connection, [object_id(1)], NOW))
    with closing(open_for_reading(path)) as reader:
        assert reader.execute("SELECT count(*) FROM tasks").fetchone() == (2,)
