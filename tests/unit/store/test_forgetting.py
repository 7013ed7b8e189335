"""`forget` leaves no row of a task in any table of the schema."""

import sqlite3
from contextlib import closing
from pathlib import Path

from harvester.domain.tasks.outcomes import Retrieved
from harvester.domain.tasks.task_list import TaskFilter
from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.forgetting import forget
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import NOW, add_tasks, claim, embeddings, object_id, settle_all, settlement


def tables_of_tasks(connection: sqlite3.Connection) -> set[str]:
    """Return the tables with a column `task`."""
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {name for name in names if any(row[1] == "task" for row in connection.execute(f"PRAGMA table_info({name})"))}


def fill(connection: sqlite3.Connection, table: str, key: int) -> None:
    """Give the task a row in the table, with some value in each column that needs one."""
    needed = [
        (name, "'f4'" if name == "dtype" else "x'00'" if kind == "BLOB" else "1")
        for _, name, kind, is_needed, default, _ in connection.execute(f"PRAGMA table_info({table})")
        if is_needed and default is None and name != "task"
    ]
    columns = ", ".join(name for name, _ in needed)
    values = ", ".join(value for _, value in needed)
    connection.execute(f"INSERT OR IGNORE INTO {table} (task, {columns}) VALUES ({key}, {values})")


def test_no_table_keeps_a_row(tmp_path: Path) -> None:
    with closing(open_for_writing(tmp_path / "harvester.db")) as connection:
        add_tasks(connection, object_id(1))
        (task,) = claim(connection)
        settle_all(connection, settlement(task, Retrieved(embeddings())))
        tables = tables_of_tasks(connection)
        for table in tables:
            fill(connection, table, task.row_id)
        counts = f"SELECT {', '.join(f'(SELECT count(*) > 0 FROM {table})' for table in sorted(tables))}"
        assert all(connection.execute(counts).fetchone())

        done = in_transaction(connection, lambda connection: forget(connection, [object_id(1)], NOW, TaskFilter()))

        assert done.count == 1
        assert not any(connection.execute(counts).fetchone())
        assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (0,)
        assert connection.execute("SELECT * FROM forgotten").fetchall() == [(object_id(1), NOW)]
