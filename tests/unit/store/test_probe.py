import sqlite3
from pathlib import Path

from harvester.domain.tasks.queue_reports import Urgency
from harvester.store.sqlite.counts import urgency
from harvester.store.sqlite.maintenance.probe import why_not_writable
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import NOW, add_tasks, insert_like_another_program, object_id

DAY_MS = 86_400_000


def test_a_database_without_a_lock_is_writable(connection: sqlite3.Connection, path: Path) -> None:
    del connection
    assert why_not_writable(path, 0.01) is None


def test_a_database_that_another_program_holds_is_not_and_the_answer_comes_in_time(
    connection: sqlite3.Connection, path: Path
) -> None:
    reasons = in_transaction(connection, lambda _: [why_not_writable(path, 0.01)])

    assert reasons == ["The database has been locked by another program for 0 s."]


def test_a_database_that_was_deleted_under_the_daemon_is_not_writable_nor_made_anew(
    connection: sqlite3.Connection, path: Path
) -> None:
    connection.close()
    path.unlink()

    assert why_not_writable(path, 0.01) == f"The database {str(path)!a} cannot be opened."
    assert not path.exists()


def test_something_that_is_no_database_is_not_writable(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)

    assert why_not_writable(path, 0.01) == f"The database {str(path)!a} is not a SQLite database."


def test_an_empty_queue_is_not_urgent(connection: sqlite3.Connection) -> None:
    assert urgency(connection, NOW) == Urgency(None, 0, None)


def test_urgency_counts_the_open_tasks_that_expire_within_a_day(connection: sqlite3.Connection, path: Path) -> None:
    soon, later = (object_id(number, created_ms=NOW - halves * DAY_MS // 2) for number, halves in [(1, 13), (2, 11)])
    lost = object_id(3, created_ms=NOW - 8 * DAY_MS)
    add_tasks(connection, soon, later, lost, now_ms=NOW - 5)
    insert_like_another_program(path, "UPDATE tasks SET state = 'expired' WHERE task_id = ?", [lost])

    assert urgency(connection, NOW) == Urgency(NOW + DAY_MS // 2, 1, NOW - 5)
