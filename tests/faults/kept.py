"""Checks after a kill: the database is whole, and has the results that the stand-in has sent."""

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from harvester.domain.errors import StoreError
from harvester.simulator import Simulator
from harvester.store.sqlite.connection import open_for_reading
from harvester.store.sqlite.maintenance.verify import verify
from tests.faults.invariants import sent_rows

Rows = list[tuple[Any, ...]]

STATEMENTS = (
    "SELECT task_id, state, lease_owner, error_code FROM tasks ORDER BY task_id",
    "SELECT task_id, videos.* FROM videos JOIN tasks ON tasks.id = task ORDER BY task_id",
    "SELECT task_id, position, video_embedding_scope FROM video_scopes JOIN tasks ON tasks.id = task ORDER BY 1, 2",
    "SELECT task_id, position, embedding_option FROM video_options JOIN tasks ON tasks.id = task ORDER BY 1, 2",
    "SELECT task_id, medium, tokens FROM video_tokens JOIN tasks ON tasks.id = task ORDER BY 1, 2",
    "SELECT * FROM segment_uncertainties ORDER BY task_id, position",
    "SELECT * FROM segment_vectors ORDER BY task_id, position",
)


def stored(path: Path) -> list[Rows]:
    """Return the contents of a database, without the times and the order of arrival."""
    with closing(open_for_reading(path)) as connection:
        bodies = connection.execute("SELECT body FROM payloads ORDER BY task").fetchall()
        return [
            *(connection.execute(statement).fetchall() for statement in STATEMENTS),
            [(gzip.decompress(body),) for (body,) in bodies],
        ]


def stored_rows(path: Path) -> Rows:
    """Return each stored segment, by task and position."""
    with closing(open_for_reading(path)) as connection:
        return connection.execute(
            "SELECT task_id, position, embedding_option, embedding_scope, start_offset_sec, end_offset_sec, dim, dtype,"
            " vector FROM segment_vectors ORDER BY task_id, position"
        ).fetchall()


def all_sent_rows(api: Simulator) -> Rows:
    """Return the same of all that the stand-in has."""
    return [(task_id, *row) for task_id in sorted(api.catalogue.ids()) for row in sent_rows(api, task_id)]


def ended_tasks(path: Path) -> set[str]:
    """Return which tasks are not open any more; none where the process did not get as far as to create the tables."""
    try:
        with closing(open_for_reading(path)) as connection:
            found = connection.execute("SELECT task_id FROM tasks WHERE state NOT IN ('pending', 'ready')").fetchall()
    except StoreError:
        return set()
    return {task_id for (task_id,) in found}


def findings(path: Path) -> list[str]:
    """Return what `verify --deep` finds wrong; nothing where there are no tables yet."""
    try:
        with closing(open_for_reading(path)) as connection:
            return [finding.text for finding in verify(connection, deep=True) if not finding.is_warning]
    except StoreError as error:
        return [] if is_new(path) else [str(error)]


def is_new(path: Path) -> bool:
    """Return whether a database has no task yet, as a client without the program sees it."""
    if not path.exists():
        return True
    # Not read only: what a killed process has not finished must be undone first, as at the next start.
    with closing(sqlite3.connect(path)) as connection:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'tasks'").fetchone()
        return tables == 0 or not connection.execute("SELECT 1 FROM tasks").fetchall()
