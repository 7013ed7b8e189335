"""Promises to other programs: they queue tasks and read vectors with nothing but SQL."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harvester.domain.tasks.outcomes import Retrieved
from harvester.domain.tasks.task import RETENTION_MS, TaskState
from harvester.store.sqlite.queue import retry
from harvester.store.sqlite.store import Store
from tests.support.store_builders import (
    NOW,
    claim_due,
    embeddings_of,
    insert_like_another_program,
    lease,
    object_id,
    settlement,
)

INSERT = "INSERT INTO tasks (task_id) VALUES (?)"

IMPOSSIBLE_IDS = {
    "empty": "",
    "path": "../admin",
    "encoded dots": "%2e%2e",
    "query": "a?b",
    "line break": "65f0\r\nX-Injected: 1",
    "blank": "65f0 1a2b",
    "escape": "\x1b[2J",
    "nul": "65f0\x00",
    "not ASCII": "\uff16\uff15f0",
    "very long": "a" * 10_000,
}

CONTRACT_COLUMNS = [
    "task_id",
    "position",
    "model_name",
    "embedding_option",
    "embedding_scope",
    "start_offset_sec",
    "end_offset_sec",
    "dim",
    "dtype",
    "vector",
    "input_type",
    "start_page",
    "end_page",
    "quadrant",
    "chunk_index",
    "input_filename",
    "input_url",
    "duration",
    "harvested_at",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "harvester.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store(path) as store:
        yield store


@pytest.fixture
def stranger(store: Store, path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection, as the standard library gives it."""
    del store
    with closing(sqlite3.connect(path)) as connection:
        yield connection


async def claimed_ids(store: Store) -> list[str]:
    return [task.task_id for task in await claim_due(store, lease(), now_ms=NOW, limit=100)]


async def test_an_inserted_id_is_claimed_with_the_deadline_of_its_object_id(store: Store, path: Path) -> None:
    insert_like_another_program(path, f"INSERT INTO tasks(task_id) VALUES ('{object_id(1)}')")
    (task,) = await claim_due(store, lease(), now_ms=NOW, limit=8)
    assert (task.task_id, task.state, task.claim) == (object_id(1), TaskState.PENDING, 1)
    assert task.expires_at_ms == NOW // 1000 * 1000 + RETENTION_MS


async def test_the_deadline_of_an_id_without_a_time_counts_from_its_arrival(store: Store, path: Path) -> None:
    insert_like_another_program(path, INSERT, ["not-an-object-id"])
    (task,) = await claim_due(store, lease(), now_ms=NOW, limit=8)
    assert task.expires_at_ms == task.added_at_ms + RETENTION_MS


async def test_the_time_of_arrival_is_filled_in_as_unix_milliseconds(stranger: sqlite3.Connection) -> None:
    (now_ms,) = stranger.execute("SELECT strftime('%s', 'now') * 1000").fetchone()
    stranger.execute(INSERT, [object_id(1)])
    (added_at_ms,) = stranger.execute("SELECT added_at FROM tasks").fetchone()
    assert now_ms - 1 <= added_at_ms < now_ms + 10_000


async def test_a_known_creation_time_may_be_inserted_too(store: Store, path: Path) -> None:
    insert_like_another_program(path, "INSERT INTO tasks (task_id, created_at) VALUES (?, ?)", ["abc", NOW - 5])
    (task,) = await claim_due(store, lease(), now_ms=NOW, limit=8)
    assert task.expires_at_ms == NOW - 5 + RETENTION_MS


async def test_thousands_of_inserted_ids_are_taken_on_at_once(store: Store, stranger: sqlite3.Connection) -> None:
    ids = [object_id(number) for number in range(2_500)]
    with stranger:
        stranger.executemany(INSERT, [(task_id,) for task_id in reversed(ids)])
    # The nearest deadline is the same for all: the first in the table is the first served.
    assert (await claimed_ids(store))[:3] == ids[-1:-4:-1]
    assert stranger.execute("SELECT count(*) FROM tasks WHERE expires_at IS NULL").fetchone() == (0,)


@pytest.mark.parametrize("task_id", IMPOSSIBLE_IDS.values(), ids=IMPOSSIBLE_IDS)
async def test_an_impossible_id_is_rejected_with_a_reason_and_never_claimed(
    store: Store, stranger: sqlite3.Connection, task_id: str
) -> None:
    with stranger:
        stranger.executemany(INSERT, [(task_id,), (object_id(1),)])
    assert await claimed_ids(store) == [object_id(1)]
    state, code, message, ended_at = stranger.execute(
        "SELECT state, error_code, error_message, ended_at FROM tasks WHERE id = 1"
    ).fetchone()
    assert (state, code, ended_at) == ("rejected", "task_id_invalid", NOW)
    assert message.startswith("The task id ")
    assert message.isascii()
    assert message.isprintable()


@pytest.mark.parametrize("task_id", IMPOSSIBLE_IDS.values(), ids=IMPOSSIBLE_IDS)
async def test_an_impossible_id_is_not_claimed_after_a_retry_either(store: Store, path: Path, task_id: str) -> None:
    insert_like_another_program(path, INSERT, [task_id])
    await claimed_ids(store)
    await store.transact(lambda connection: retry(connection, states=[TaskState.REJECTED]))
    assert await claimed_ids(store) == []
    assert (await store.counts())[TaskState.REJECTED] == 1


async def test_ids_that_are_not_utf_8_do_not_poison_the_queue(store: Store, stranger: sqlite3.Connection) -> None:
    with stranger:
        stranger.execute("INSERT INTO tasks (task_id) VALUES (CAST(x'ff' AS TEXT)), (CAST(x'fe' AS TEXT)), ('good')")
    assert await claimed_ids(store) == ["good"]
    states = stranger.execute("SELECT state FROM tasks ORDER BY id").fetchall()
    assert states == [("rejected",), ("rejected",), ("pending",)]


async def test_a_blob_cannot_be_inserted_as_an_id(stranger: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        stranger.execute(INSERT, [b"\xff"])


async def test_an_id_can_be_inserted_only_once(stranger: sqlite3.Connection) -> None:
    stranger.execute(INSERT, [object_id(1)])
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        stranger.execute(INSERT, [object_id(1)])


async def test_an_unknown_state_cannot_be_inserted(stranger: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        stranger.execute("INSERT INTO tasks (task_id, state) VALUES ('abc', 'done')")


async def test_the_view_has_the_columns_of_the_contract_in_their_order(stranger: sqlite3.Connection) -> None:
    cursor = stranger.execute("SELECT * FROM segment_vectors")
    assert [column[0] for column in cursor.description] == CONTRACT_COLUMNS


async def test_the_view_gives_the_vectors_to_any_program(store: Store, stranger: sqlite3.Connection) -> None:
    vectors = np.array([[0.1, -2.5], [3e-40, np.finfo(np.float32).max]], dtype=np.float32)
    with stranger:
        stranger.execute(INSERT, [object_id(1)])
    (task,) = await claim_due(store, lease(), now_ms=NOW, limit=1)
    await store.settle([settlement(task, Retrieved(embeddings_of(vectors)))])
    rows: list[tuple[Any, ...]] = stranger.execute("SELECT * FROM segment_vectors ORDER BY position").fetchall()
    described = (object_id(1), "marengo3.0", "visual", "clip", 2, "f4")
    assert [(row[0], *row[2:5], *row[7:9]) for row in rows] == [described, described]
    assert [(row[1], *row[5:7]) for row in rows] == [(0, 0.0, 6.0), (1, 6.0, 12.0)]
    assert [np.frombuffer(row[9], "<f4").tolist() for row in rows] == vectors.tolist()
