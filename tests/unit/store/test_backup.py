import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from harvester.domain.errors import StoreError, UsageError
from harvester.domain.tasks.outcomes import Retrieved
from harvester.domain.tasks.task import TaskState
from harvester.store.sqlite.connection import PAGE_SIZE_BYTES, open_for_writing
from harvester.store.sqlite.maintenance import backup
from harvester.store.sqlite.maintenance.backup import back_up
from harvester.store.sqlite.maintenance.verify import verify
from harvester.store.sqlite.migrations import load_migrations, migrate
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import add_tasks, claim_new, contents, embeddings, object_id, settle_all, settlement

WRITES_AND_BACKS_UP = """
import os, signal, sys
from pathlib import Path
from harvester.store.sqlite.maintenance import backup

action = getattr(backup, sys.argv[3])

def killed(*arguments, **options):
    if sys.argv[4] == "after":
        action(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(backup, sys.argv[3], killed)
backup.back_up(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "monday.db"


def harvest(connection: sqlite3.Connection, *numbers: int) -> None:
    for number in numbers:
        settle_all(connection, settlement(claim_new(connection, number), Retrieved(embeddings())))


def contents_of(path: Path) -> dict[str, list[object]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return contents(connection)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_copy_holds_every_row_and_is_one_private_file(
    connection: sqlite3.Connection, path: Path, target: Path
) -> None:
    harvest(connection, 1, 2)
    add_tasks(connection, object_id(3))

    done = back_up(path, target)

    assert contents_of(target) == contents(connection)
    assert (done.path, done.bytes) == (target, target.stat().st_size)
    assert (done.counts[TaskState.HARVESTED], done.counts[TaskState.PENDING]) == (2, 1)
    assert done.schema_version == max(migration.version for migration in load_migrations())
    assert (oct(target.stat().st_mode & 0o777), names_in(target.parent)) == ("0o600", ["monday.db"])


def test_what_is_only_in_the_log_is_in_the_copy(connection: sqlite3.Connection, path: Path, target: Path) -> None:
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    harvest(connection, 1)
    assert path.with_name("harvester.db-wal").stat().st_size > 0
    assert back_up(path, target).counts[TaskState.HARVESTED] == 1


def test_a_copy_is_worked_on_like_the_original(connection: sqlite3.Connection, path: Path, target: Path) -> None:
    harvest(connection, 1)
    back_up(path, target)
    with closing(open_for_writing(target)) as restored:
        harvest(restored, 2)
        assert [finding for finding in verify(restored, deep=True) if not finding.is_warning] == []


def test_a_copy_of_a_database_that_no_process_has_open(path: Path, target: Path) -> None:
    with closing(open_for_writing(path)) as connection:
        harvest(connection, 1)
    assert back_up(path, target).counts[TaskState.HARVESTED] == 1


@contextmanager
def writing_all_the_time(path: Path) -> Iterator[Callable[[], int]]:
    """Queue two tasks in each transaction, from another connection, for as long as the block runs."""
    ends, written = threading.Event(), [0]

    def write() -> None:
        with closing(open_for_writing(path)) as connection:
            while not ends.is_set():
                first = 1_000_000 + 2 * written[0]
                add_tasks(connection, object_id(first), object_id(first + 1))
                written[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: written[0]
    finally:
        ends.set()
        thread.join()


def test_a_writer_goes_on_meanwhile_and_the_copy_shows_one_moment(
    connection: sqlite3.Connection, path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harvest(connection, *range(20))
    monkeypatch.setattr(backup, "STEP_PAGES", 1)
    before_last, check = [0], backup._check_space

    with writing_all_the_time(path) as written:

        def wait_for_a_writer(target: Path, needed_bytes: int) -> None:
            # The moment is fixed by now; whatever is written from here on must not be in the copy.
            check(target, needed_bytes)
            seen = written()
            while written() < seen + 3:
                pass
            before_last[0] = written()

        monkeypatch.setattr(backup, "_check_space", wait_for_a_writer)
        done = back_up(path, target)

    queued = done.counts[TaskState.PENDING]
    assert queued % 2 == 0
    assert queued // 2 <= before_last[0] - 3
    assert done.counts[TaskState.HARVESTED] == 20


def test_a_file_is_replaced_only_on_request(connection: sqlite3.Connection, path: Path, target: Path) -> None:
    target.write_text("precious")
    with pytest.raises(UsageError, match=r"monday.db' exists\. Give another file, or replace it with --force\."):
        back_up(path, target)
    assert (target.read_text(), names_in(target.parent)) == ("precious", ["monday.db"])

    back_up(path, target, replace=True)
    assert contents_of(target) == contents(connection)


@pytest.mark.parametrize("has_links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.usefixtures("connection")
def test_what_comes_into_being_meanwhile_is_not_replaced(
    path: Path, target: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    def appears(_path: Path) -> None:
        target.write_text("precious")

    def refuses(_source: Path, _target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(backup, "_sync", appears)
    if not has_links:
        monkeypatch.setattr(os, "link", refuses)
    with pytest.raises(UsageError, match="exists"):
        back_up(path, target)
    assert (target.read_text(), names_in(target.parent)) == ("precious", ["monday.db"])


def test_a_file_system_without_hard_links_will_do(
    connection: sqlite3.Connection, path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_source: Path, _target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuses)
    back_up(path, target)
    assert contents_of(target) == contents(connection)


@pytest.mark.parametrize("name", ["harvester.db", "harvester.db-wal", "harvester.db-shm", "harvester.db-journal"])
def test_the_files_of_the_database_are_never_the_target(connection: sqlite3.Connection, path: Path, name: str) -> None:
    add_tasks(connection, object_id(1))
    before = contents(connection)
    with pytest.raises(UsageError, match="is a file of the database itself"):
        back_up(path, path.with_name(name), replace=True)
    assert contents(connection) == before


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
@pytest.mark.usefixtures("connection")
def test_a_log_that_would_be_played_back_into_the_copy_is_named(path: Path, target: Path, suffix: str) -> None:
    beside = target.with_name(target.name + suffix)
    beside.write_bytes(b"pages of another database")
    with pytest.raises(UsageError, match="belongs to a database of that name"):
        back_up(path, target, replace=True)
    assert names_in(target.parent) == [beside.name]


@pytest.mark.usefixtures("connection")
def test_targets_that_are_no_files_are_refused(path: Path, target: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        back_up(path, target.parent)
    with pytest.raises(UsageError, match=r"The folder of .* does not exist"):
        back_up(path, tmp_path / "absent" / "monday.db")
    target.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(UsageError, match="is not a plain file"):
        back_up(path, target, replace=True)


def damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'segments'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


def vectors_missing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM embeddings WHERE position = 1")


@pytest.mark.parametrize("spoil", [damaged, vectors_missing])
def test_a_copy_that_fails_its_check_is_no_backup(path: Path, target: Path, spoil: Callable[[Path], None]) -> None:
    with closing(open_for_writing(path)) as connection:
        harvest(connection, 1)
    spoil(path)
    target.write_text("the last good one")

    with pytest.raises(StoreError) as caught:
        back_up(path, target, replace=True)

    assert caught.value.exit_code == 4
    assert str(path) in caught.value.sentence
    assert (target.read_text(), names_in(target.parent)) == ("the last good one", ["monday.db"])


def test_a_database_at_an_older_schema_can_be_saved_before_it_is_upgraded(path: Path, target: Path) -> None:
    first = load_migrations()[:1]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, first)
        in_transaction(connection, lambda one: one.execute("INSERT INTO tasks (task_id) VALUES ('a')"))
    assert back_up(path, target).schema_version == 1


@pytest.mark.usefixtures("connection")
def test_a_disk_that_is_too_small_is_not_filled(path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(target.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(StoreError, match="bytes, and 1000 are free there"):
        back_up(path, target)
    assert names_in(target.parent) == []


@pytest.mark.usefixtures("connection")
def test_a_write_that_fails_leaves_nothing(path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(backup, "_sync", fails)
    with pytest.raises(StoreError, match=r"cannot be written: Input/output error\."):
        back_up(path, target)
    assert names_in(target.parent) == []


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("action", ["_check_space", "_copy", "_checked", "_sync", "_publish"])
def test_a_kill_at_any_moment_leaves_a_whole_backup_or_none(
    connection: sqlite3.Connection, path: Path, target: Path, action: str, moment: str
) -> None:
    harvest(connection, 1, 2)
    ended = subprocess.run(
        [sys.executable, "-c", WRITES_AND_BACKS_UP, path, target, action, moment], check=False, timeout=120
    )
    assert ended.returncode == -signal.SIGKILL
    if (action, moment) == ("_publish", "after"):
        assert contents_of(target) == contents(connection)
    else:
        assert not target.exists()

    # The next backup removes the files that it left.
    back_up(path, target, replace=True)
    assert names_in(target.parent) == ["monday.db"]
    assert contents_of(target) == contents(connection)


def test_a_kill_while_pages_are_copied_leaves_a_whole_backup_or_none(
    connection: sqlite3.Connection, path: Path, target: Path
) -> None:
    add_tasks(connection, *(object_id(number) for number in range(20_000)))
    script = (
        "import sys; from pathlib import Path; from harvester.store.sqlite.maintenance import backup\n"
        "backup.STEP_PAGES = 1\n"
        "backup.back_up(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, path, target])
    while process.poll() is None:
        # It may be gone between the check and the read.
        with suppress(FileNotFoundError):
            if any(copy.stat().st_size > 4 * PAGE_SIZE_BYTES for copy in target.parent.glob("*/copy.db")):
                process.kill()
                break
    process.wait()
    assert not target.exists() or contents_of(target) == contents(connection)


@pytest.mark.usefixtures("connection")
def test_the_workshop_of_a_backup_under_way_is_not_swept(path: Path, target: Path) -> None:
    with backup._workshop(target) as folder:
        back_up(path, target)
        assert folder.is_dir()
    assert names_in(target.parent) == ["monday.db"]
