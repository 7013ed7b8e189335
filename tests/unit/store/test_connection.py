import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

from harvester.domain.errors import NotOursError, StoreBusyError, StoreError
from harvester.store.sqlite import connection
from harvester.store.sqlite.connection import CACHE_KIB, open_for_reading, open_for_writing
from harvester.store.sqlite.sqlite_errors import store_error
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import add_tasks, contents, object_id

Opener = Callable[[Path], sqlite3.Connection]

UNPRIVILEGED = 65534

OPENS_WITHOUT_PRIVILEGES = """
import json, os, sys, urllib.parse  # pathlib imports it late, when this user may no longer be let in
from pathlib import Path
from harvester.domain.errors import StoreError
from harvester.store.sqlite import connection
from harvester.store.sqlite import migrations

known = migrations.load_migrations()
connection.load_migrations = migrations.load_migrations = lambda folder=None: known
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
try:
    connection.open_for_writing(Path(sys.argv[1])).close()
except StoreError as error:
    print(json.dumps([error.exit_code, error.sentence, error.remedy]))
"""


OPENERS: list[Opener] = [open_for_writing, open_for_reading]


@pytest.fixture(params=OPENERS, ids=["writing", "reading"])
def opened(request: pytest.FixtureRequest) -> Opener:
    opener: Opener = request.param
    return opener


def sqlite_file(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def ours(path: Path) -> None:
    with closing(open_for_writing(path)) as connection:
        add_tasks(connection, *(object_id(number) for number in range(2000)))


def other_programs_tables(path: Path) -> None:
    sqlite_file(path, "CREATE TABLE customers (id)", "INSERT INTO customers VALUES (1)")


def other_programs_wal(path: Path) -> None:
    sqlite_file(path, "PRAGMA journal_mode = WAL", "CREATE TABLE customers (id)")


def golang_migrate(path: Path) -> None:
    sqlite_file(
        path,
        "CREATE TABLE schema_migrations (version uint64, dirty bool)",
        "INSERT INTO schema_migrations VALUES (1, 0)",
    )


def ruby_on_rails(path: Path) -> None:
    sqlite_file(
        path,
        "CREATE TABLE schema_migrations (version varchar NOT NULL PRIMARY KEY)",
        "INSERT INTO schema_migrations VALUES ('20240101120000')",
    )


def truncated(path: Path) -> None:
    ours(path)
    os.truncate(path, path.stat().st_size // 2)


def overwritten_schema(path: Path) -> None:
    ours(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * 4000)


NOT_OURS: dict[str, Callable[[Path], object]] = {
    "tables of another program": other_programs_tables,
    "another program's WAL file": other_programs_wal,
    "schema_migrations of golang-migrate": golang_migrate,
    "schema_migrations of Rails": ruby_on_rails,
    "short text": lambda path: path.write_text("id\n"),
    "long text": lambda path: path.write_text("task_id,title\n" * 5000),
    "zeros": lambda path: path.write_bytes(bytes(40_000)),
}

DAMAGED: dict[str, Callable[[Path], object]] = {"truncated": truncated, "schema overwritten": overwritten_schema}


@pytest.mark.parametrize("create", NOT_OURS.values(), ids=NOT_OURS)
def test_what_is_not_ours_is_refused_and_not_touched(
    path: Path, opened: Opener, create: Callable[[Path], object]
) -> None:
    create(path)
    before = path.read_bytes()
    with pytest.raises(NotOursError) as refusal:
        opened(path)
    assert (refusal.value.exit_code, str(path) in refusal.value.sentence) == (4, True)
    assert refusal.value.remedy == "Give another file with --db or store.path."
    assert path.read_bytes() == before


@pytest.mark.parametrize("create", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused_and_not_touched(
    path: Path, opened: Opener, create: Callable[[Path], object]
) -> None:
    create(path)
    before = path.read_bytes()
    with pytest.raises(StoreError) as refusal:
        opened(path)
    assert refusal.value.sentence == f"The database {str(path)!r} is damaged."
    assert (refusal.value.exit_code, "backup" in refusal.value.remedy) == (4, True)
    assert path.read_bytes() == before


def test_a_folder_is_refused(tmp_path: Path, opened: Opener) -> None:
    with pytest.raises(StoreError, match=r"is a folder. Give a file with --db"):
        opened(tmp_path)


def test_a_missing_folder_is_refused_and_not_created(tmp_path: Path, opened: Opener) -> None:
    with pytest.raises(StoreError, match=r"folder of the database .* does not exist. Create it"):
        opened(tmp_path / "missing" / "harvester.db")
    assert list(tmp_path.iterdir()) == []


def test_reading_does_not_create_a_database(path: Path) -> None:
    with pytest.raises(StoreError, match=r"There is no database at .* `harvester add"):
        open_for_reading(path)
    assert not path.exists()


def test_reading_an_empty_file_says_so(path: Path) -> None:
    path.touch()
    with pytest.raises(NotOursError, match=r"is empty. Run `harvester migrate`"):
        open_for_reading(path)


def test_reading_an_older_schema_says_how_to_bring_it_up_to_date(path: Path) -> None:
    ours(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE schema_migrations SET version = -version")
    with pytest.raises(StoreError, match=r"has an older schema. Run `harvester migrate`"):
        open_for_reading(path)


def test_who_opened_for_reading_cannot_write(path: Path) -> None:
    ours(path)
    with (
        closing(open_for_reading(path)) as connection,
        pytest.raises(sqlite3.OperationalError, match="attempt to write a readonly database"),
    ):
        connection.execute("DELETE FROM tasks")


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user can enter, as those of pytest are not."""
    folder = Path(mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    rmtree(folder)


def refusal_without_privileges(path: Path) -> list[object]:
    """The refusal to an ordinary user: root may write whatever the modes say."""
    command = [sys.executable, "-c", OPENS_WITHOUT_PRIVILEGES, str(path), str(UNPRIVILEGED)]
    answer: list[object] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return answer


def cannot_be_written(path: Path) -> list[object]:
    return [
        4,
        f"The database {str(path)!r} cannot be written.",
        "Give write permission to the file and its folder, or use another file with --db or store.path.",
    ]


def test_a_read_only_file_is_refused(public_folder: Path) -> None:
    path = public_folder / "harvester.db"
    ours(path)
    path.chmod(0o444)
    public_folder.chmod(0o777)
    before = path.read_bytes()
    assert refusal_without_privileges(path) == cannot_be_written(path)
    assert path.read_bytes() == before


def test_a_file_in_a_read_only_folder_is_refused(public_folder: Path) -> None:
    path = public_folder / "harvester.db"
    ours(path)
    path.chmod(0o666)
    public_folder.chmod(0o555)
    assert refusal_without_privileges(path) == cannot_be_written(path)


def test_a_read_only_folder_is_refused(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    path = public_folder / "harvester.db"
    assert refusal_without_privileges(path) == [
        4,
        f"The database {str(path)!r} cannot be created: {os.strerror(errno.EACCES)}.",
        "Check the permissions and the space of its folder.",
    ]


@pytest.mark.parametrize("is_new", [True, False], ids=["a new file", "a database"])
def test_a_lock_that_does_not_end_is_named(path: Path, monkeypatch: pytest.MonkeyPatch, *, is_new: bool) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.0)
    if not is_new:
        ours(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"is kept locked by another program. End that program's"):
            open_for_writing(path)


def error_with(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_FULL, "the disk is full"),
        (sqlite3.SQLITE_IOERR_FSYNC, "I/O error"),
        (sqlite3.SQLITE_IOERR_WRITE, "I/O error"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked by another program"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "cannot be written"),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, "cannot be opened"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "is damaged"),
        (sqlite3.SQLITE_NOTADB, "is not a SQLite database"),
        (sqlite3.SQLITE_TOOBIG, "cannot be used: what SQLite says"),
    ],
)
def test_each_code_of_sqlite_becomes_a_sentence_with_a_remedy(code: int, words: str) -> None:
    error = store_error(Path("/data/harvester.db"), error_with(code))
    assert error.sentence.startswith("The database '/data/harvester.db' ")
    assert (words in error.sentence, error.remedy != "", error.exit_code) == (True, True, 4)


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        (sqlite3.SQLITE_BUSY_RECOVERY, True),
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_IOERR_FSYNC, True),
        (sqlite3.SQLITE_CORRUPT_VTAB, False),
        (sqlite3.SQLITE_READONLY_DBMOVED, False),
        (sqlite3.SQLITE_CONSTRAINT_TRIGGER, False),
    ],
)
def test_only_what_goes_away_by_itself_is_worth_waiting_for(code: int, *, passes: bool) -> None:
    assert isinstance(store_error(Path("harvester.db"), error_with(code)), StoreBusyError) == passes


def test_a_name_with_control_characters_cannot_reach_a_terminal() -> None:
    error = store_error(Path("a\x1b[2Jb\u202e.db"), error_with(sqlite3.SQLITE_FULL))
    assert error.sentence == r"The database 'a\x1b[2Jb\u202e.db' cannot grow: the disk is full."


def test_a_transaction_is_kept_whole_or_not_at_all(connection: sqlite3.Connection) -> None:
    before = contents(connection)

    def body(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO tasks (task_id) VALUES ('a')")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_transaction(connection, body)
    assert (contents(connection), connection.in_transaction) == (before, False)


def test_a_transaction_whose_commit_fails_is_rolled_back(connection: sqlite3.Connection) -> None:
    def body(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("INSERT INTO video_scopes VALUES (1, 0, 'clip')")

    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        in_transaction(connection, body)
    assert (connection.execute("SELECT * FROM video_scopes").fetchall(), connection.in_transaction) == ([], False)


def test_the_cache_holds_no_more_than_it_may(tmp_path: Path) -> None:
    path = tmp_path / "harvester.db"
    with closing(open_for_writing(path)) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE large (content BLOB)")
        connection.executemany("INSERT INTO large VALUES (zeroblob(?))", [(1_000_000,)] * 40)
        written = path.with_name("harvester.db-wal").stat().st_size
        connection.execute("ROLLBACK")
    # Pages that exceed the cache are in the log before the commit.
    assert written > 40_000_000 - 1.5 * CACHE_KIB * 1024


def test_a_place_that_cannot_be_reached_is_refused_with_its_reason(tmp_path: Path, opened: Opener) -> None:
    with pytest.raises(StoreError, match=r"cannot be reached: File name too long. Check the permissions of its"):
        opened(tmp_path / ("a" * 300))
