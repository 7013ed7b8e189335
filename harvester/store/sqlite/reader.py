"""Reads a database while others may write to it: see `harvester.ports.insights`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harvester.domain.limits.endpoint import RateLimit
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.pause import Pause
from harvester.domain.tasks.queue_reports import Urgency
from harvester.domain.tasks.task import ApiVersion
from harvester.domain.tasks.task_reports import StatusReport, TaskDetails
from harvester.ports.space import SpaceUsed
from harvester.store.sqlite.connection import open_for_reading
from harvester.store.sqlite.counts import urgency
from harvester.store.sqlite.limits import limits_in_force
from harvester.store.sqlite.maintenance.probe import why_not_writable
from harvester.store.sqlite.pausing import current_pause
from harvester.store.sqlite.sqlite_errors import translating_errors
from harvester.store.sqlite.task_history import rebuild_json, status_report, task_details
from harvester.store.sqlite.write_ahead_log import free_bytes, log_bytes

if TYPE_CHECKING:
    from harvester.domain.planning.processing_time import Key, LifeTable
    from harvester.domain.planning.queue_sample import QueueSample
    from harvester.domain.tasks.dead_letter import Payload
    from harvester.domain.tasks.task_list import TaskCount, TaskFilter, TaskLine


class SqliteInsights:
    """Reads the file `path` through an open connection. Imports when used what `harvester status` does not need."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def status(self, now_ms: int) -> StatusReport:
        """Return counts, deadlines, last errors, and how much is stored."""
        return status_report(self._connection, self._path, now_ms)

    def urgency(self, now_ms: int) -> Urgency:
        """Return how much time the open tasks have left."""
        return urgency(self._connection, now_ms)

    def limits_in_force(self, limit: RateLimit, now_ms: int) -> Pacer:
        """Return the configured `limit` and the learned limits."""
        return limits_in_force(self._connection, limit, now_ms)

    def pause(self, now_ms: int) -> Pause | None:
        """Return the pause of all requests; None without one."""
        return current_pause(self._connection, now_ms)

    def known_versions(self) -> list[tuple[int, ApiVersion]]:
        """Return the creation times and API versions of the newest tasks whose version is known, the newest last."""
        from harvester.store.sqlite.known_versions import known_versions

        return known_versions(self._connection)

    def is_heard_since(self, since_ms: int, now_ms: int) -> bool:
        """Return whether one of the last requests since `since_ms` has had an answer of the API."""
        from harvester.store.sqlite.attempts import is_heard_since

        return is_heard_since(self._connection, since_ms, now_ms)

    def queue_sample(self, now_ms: int) -> QueueSample:
        """Return the queue as a harvest that begins now would find it."""
        from harvester.store.sqlite.queue_sample import read_queue_sample

        return read_queue_sample(self._connection, now_ms)

    def processing_times(self) -> dict[Key, LifeTable]:
        """Return the learned processing times."""
        from harvester.store.sqlite.processing_times import processing_times

        return processing_times(self._connection)

    def task(self, task_id: str) -> TaskDetails | None:
        """Return all that is stored about a task; None if it was never queued."""
        return task_details(self._connection, task_id)

    def tasks(self, wanted: TaskFilter, *, after: int, limit: int) -> list[TaskLine]:
        """Return the first `limit` tasks with a key above `after` that meet the filter."""
        from harvester.store.sqlite.task_list import list_tasks

        return list_tasks(self._connection, wanted, after=after, limit=limit)

    def count_tasks(self, wanted: TaskFilter) -> TaskCount:
        """Count the tasks that meet the filter."""
        from harvester.store.sqlite.task_list import count_tasks

        return count_tasks(self._connection, wanted)

    def label_keys(self) -> list[str]:
        """Return the keys of all labels."""
        from harvester.store.sqlite.task_list import label_keys

        return label_keys(self._connection)

    def api_json(self, task_id: str) -> bytes | None:
        """Return the JSON that the API sent; None if the task is not harvested."""
        return rebuild_json(self._connection, task_id)

    def payload(self, task_key: int) -> Payload | None:
        """Return the stored body of a result that could not be decoded; None without one."""
        from harvester.store.sqlite.dead_letters import load_payload

        return load_payload(self._connection, task_key)


class SqliteReader:
    """Reads the database at `path`, each time on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def insights(self) -> Iterator[SqliteInsights]:
        """Open a view of the database at one moment. Raises StoreError."""
        with translating_errors(self._path), closing(open_for_reading(self._path)) as connection:
            connection.execute("BEGIN")
            yield SqliteInsights(connection, self._path)

    def why_not_writable(self) -> str | None:
        """Return why the database cannot be written now, None if it can."""
        return why_not_writable(self._path)

    def space(self) -> SpaceUsed:
        """Return the bytes of the log, and the free bytes of the volume."""
        return SpaceUsed(log_bytes(self._path), free_bytes(self._path))
