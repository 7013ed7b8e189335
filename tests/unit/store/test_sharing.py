"""Whether several processes have a database open, and the danger that an old SQLite is then."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harvester.ports.check_result import Verdict
from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.maintenance import sharing, sqlite_version
from harvester.store.sqlite.maintenance.checks import check_engine
from harvester.store.sqlite.maintenance.sharing import other_processes, sharing_risk
from tests.support.machine import needs_proc

HOLDS_IT_OPEN = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM tasks").fetchone()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database, on a machine whose SQLite has the bug."""
    monkeypatch.setattr(sqlite_version, "may_lose_wal_reset", lambda: True)
    path = tmp_path / "harvester.db"
    open_for_writing(path).close()
    return path


@contextmanager
def opened_by_others(path: Path, count: int) -> Iterator[None]:
    command = [sys.executable, "-c", HOLDS_IT_OPEN, str(path)]
    others = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == b"open\n"
        yield
    finally:
        for other in others:
            other.communicate()


@needs_proc
@pytest.mark.parametrize("count", [0, 1, 2])
def test_each_other_process_that_has_the_database_open_counts_and_this_one_does_not(database: Path, count: int) -> None:
    with opened_by_others(database, count):
        connection = open_for_writing(database)
        assert other_processes(database) == count
        connection.close()
        assert check_engine(database).verdict is (Verdict.WARNING if count == 2 else Verdict.OK)
        assert (sharing_risk(database) is None) == (count == 0)
    assert other_processes(database) == 0


def test_where_the_system_does_not_say_doctor_warns_and_a_harvest_does_not(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "LOCKS", database.with_name("nowhere"))
    assert (other_processes(database), sharing_risk(database)) == (None, None)
    assert check_engine(database).verdict is Verdict.WARNING


def test_lines_of_other_forms_and_locks_of_other_bytes_do_not_count(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks, connection = database.with_name("locks"), open_for_writing(database)
    index = database.with_name("harvester.db-shm").stat().st_ino
    lines = [
        f"1: POSIX  ADVISORY  {what}" for what in (f"READ 7 fe:00:{index} 128 128", f"WRITE 8 fe:00:{index} 120 120")
    ]
    locks.write_text("\n".join([*lines, f"1: -> POSIX  ADVISORY  READ 9 fe:00:{index} 128 128", "", "odd"]))
    monkeypatch.setattr(sharing, "LOCKS", locks)
    assert other_processes(database) == 1
    connection.close()


def test_a_release_without_the_bug_is_no_risk(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "other_processes", lambda _: 2)
    monkeypatch.setattr(sqlite_version, "may_lose_wal_reset", lambda: False)
    assert sharing_risk(database) is None
    assert check_engine(database).verdict is Verdict.OK


def test_the_warning_of_a_harvest_names_the_database_and_the_remedy(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "other_processes", lambda _: 1)
    risk = sharing_risk(database) or ""
    assert str(database) in risk
    assert "Let one process at a time write" in risk
