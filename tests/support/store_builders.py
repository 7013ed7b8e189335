"""Builders for the store's tests: ids, embeddings, settlements, and a picture of everything that is stored."""

import itertools
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from harvester.domain.planning.api_versions import GONE_ANSWERS
from harvester.domain.planning.decisions import Circumstances, decide
from harvester.domain.tasks.embeddings import Matrix, MediaMetadata, TaskEmbeddings
from harvester.domain.tasks.listing import ListedRow, ListedTask, ListSettlement
from harvester.domain.tasks.outcomes import (
    Failed,
    InvalidRequest,
    NotFound,
    Outcome,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
)
from harvester.domain.tasks.records import Attempt, Decision, Lease, Settlement
from harvester.domain.tasks.task import Task
from harvester.store.sqlite import queue
from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.listed import apply_list_page, listed_rows
from harvester.store.sqlite.model_names import name_models, nameable
from harvester.store.sqlite.results import settle
from harvester.store.sqlite.store import Store
from harvester.store.sqlite.transaction import in_transaction

T = TypeVar("T")

NOW = 1_760_000_000_000
"""A moment in October 2025, in Unix milliseconds; no test asks the real clock."""

LEASE_MS = 60_000

TABLES = (
    *("tasks", "videos", "video_scopes", "video_options", "video_tokens", "segments", "embeddings", "uncertainties"),
    *("attempts", "payloads", "labels"),
)


def object_id(number: int, *, created_ms: int = NOW) -> str:
    """An id as the API gives them: the creation time in seconds, then anything."""
    return f"{created_ms // 1000:08x}{number:016x}"


def lease(owner: str = "daemon", *, now_ms: int = NOW) -> Lease:
    return Lease(owner, now_ms + LEASE_MS, now_ms)


def add_tasks(connection: sqlite3.Connection, *task_ids: str, now_ms: int = NOW) -> None:
    in_transaction(connection, lambda connection: queue.add(connection, task_ids, now_ms))


def insert_like_another_program(path: Path, sql: str, parameters: Iterable[Any] = ()) -> None:
    """One statement with nothing but the standard library."""
    stranger = sqlite3.connect(path)
    try:
        with stranger:
            stranger.execute(sql, tuple(parameters))
    finally:
        stranger.close()


def claim(
    connection: sqlite3.Connection,
    owner: str = "daemon",
    *,
    now_ms: int = NOW,
    limit: int = 100,
) -> list[Task]:
    """Import rows, make tasks due and claim them, as the service does."""

    def body(connection: sqlite3.Connection) -> list[Task]:
        queue.import_inserted_rows(connection, now_ms)
        queue.make_due(connection, now_ms)
        due = queue.due(connection, now_ms, limit=limit)
        return queue.claim(connection, lease(owner, now_ms=now_ms), [*due.ready, *due.pending][:limit])

    return in_transaction(connection, body)


async def claim_due(store: Store, lease: Lease, *, now_ms: int, limit: int, make_due: bool = True) -> list[Task]:
    """Claim due tasks, the ready ones first."""
    due = await store.due(now_ms, limit=limit, make_due=make_due)
    return await store.claim(lease, [*due.ready, *due.pending][:limit])


def claim_new(connection: sqlite3.Connection, number: int = 0) -> Task:
    """Queue a task and claim it."""
    add_tasks(connection, object_id(number))
    (task,) = claim(connection, limit=1)
    return task


def embeddings_of(vectors: Matrix, *, clip_s: float = 6.0, scopes: tuple[str, ...] = ("clip",)) -> TaskEmbeddings:
    count = len(vectors)
    return TaskEmbeddings(
        metadata=MediaMetadata(
            model_name="marengo3.0",
            duration=count * clip_s,
            input_filename="holiday.mp4",
            input_url=None,
            video_clip_length=clip_s,
            scopes=scopes,
            created_at_ms=NOW,
            updated_at_ms=NOW + 1,
        ),
        options=["visual"] * count,
        scopes=["clip"] * count,
        starts=[clip_s * position for position in range(count)],
        ends=[clip_s * (position + 1) for position in range(count)],
        vectors=vectors,
        document=b'{"status":"ready","video_embedding":{"segments":[]}}',
        layouts=[("float", "start_offset_sec", "end_offset_sec", "embedding_option", "embedding_scope")],
        layout_of=[0] * count,
    )


def embeddings(count: int = 2, dim: int = 4) -> TaskEmbeddings:
    return embeddings_of(np.arange(count * dim, dtype=np.float32).reshape(count, dim))


def settlement(
    task: Task, outcome: Outcome, *, now_ms: int = NOW, body: bytes | None = None, encoding: str | None = None
) -> Settlement:
    """The settlement of an outcome; one that must be confirmed counts as the last needed confirmation."""
    circumstances = Circumstances(is_other_version=isinstance(outcome, NotFound | InvalidRequest))
    gone = GONE_ANSWERS if circumstances.is_other_version else task.gone
    confirmed = replace(task, gone=gone, doubted_at_ms=now_ms, error_code=outcome.code)
    is_last = isinstance(outcome, NotFound | InvalidRequest | Failed)
    decided = decide(confirmed if is_last else task, outcome, now_ms, random.Random(0), circumstances=circumstances)
    return settlement_as(
        task,
        decided,
        now_ms=now_ms,
        outcome=outcome,
        body=body,
        encoding=encoding,
    )


def settlement_as(
    task: Task,
    decision: Decision,
    *,
    outcome: Outcome,
    now_ms: int = NOW,
    body: bytes | None = None,
    encoding: str | None = None,
) -> Settlement:
    return Settlement(
        task=task,
        decision=decision,
        attempt=Attempt(at_ms=now_ms, endpoint="retrieve", outcome=outcome.kind, http_status=200),
        settled_at_ms=now_ms,
        embeddings=outcome.embeddings if isinstance(outcome, Retrieved) else None,
        metadata=outcome.metadata if isinstance(outcome, Ready | Processing) else None,
        body=body,
        encoding=encoding,
        charged=not isinstance(outcome, Throttled | Refused),
    )


def settle_all(connection: sqlite3.Connection, *settlements: Settlement) -> list[bool]:
    """One group in one transaction."""
    return in_transaction(connection, lambda connection: settle(connection, settlements))


class ListPages:
    """The two steps of `Store` for a page of the list, on one connection; `meanwhile` happens between the two."""

    def __init__(self, connection: sqlite3.Connection, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._connection = connection
        self._meanwhile = meanwhile
        self.transactions = 0

    async def listed_rows(self, task_ids: Sequence[str]) -> dict[str, ListedRow]:
        rows = listed_rows(self._connection, task_ids)
        self._meanwhile()
        return rows

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        self.transactions += 1
        return in_transaction(self._connection, lambda connection: apply_list_page(connection, page))

    async def name_models(self, entries: Sequence[ListedTask], now_ms: int) -> int:
        named = nameable(self._connection, entries)
        return in_transaction(self._connection, lambda connection: name_models(connection, named, now_ms))


def row(connection: sqlite3.Connection, key: int, *columns: str) -> tuple[Any, ...]:
    found = connection.execute(f"SELECT {', '.join(columns)} FROM tasks WHERE id = ?", (key,)).fetchone()
    return tuple(found)


def contents(connection: sqlite3.Connection) -> dict[str, list[Any]]:
    """Every row of every table."""
    return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES}


def row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    return {table: len(rows) for table, rows in contents(connection).items()}


def schema(connection: sqlite3.Connection) -> list[Any]:
    return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()


def steps_of(connection: sqlite3.Connection, action: Callable[[sqlite3.Connection], T]) -> int:
    """Count the instructions of SQLite's virtual machine that `action` takes; its changes are rolled back."""
    counter = itertools.count()
    connection.execute("BEGIN IMMEDIATE")
    connection.set_progress_handler(lambda: next(counter) * 0, 1)
    try:
        action(connection)
    finally:
        connection.set_progress_handler(None, 0)
        connection.execute("ROLLBACK")
    return next(counter)


@contextmanager
def throwaway_database() -> Iterator[sqlite3.Connection]:
    """A database for one example of a property, without any fsync."""
    with TemporaryDirectory() as folder:
        connection = open_for_writing(Path(folder) / "harvester.db")
        connection.execute("PRAGMA synchronous = OFF")
        try:
            yield connection
        finally:
            connection.close()
