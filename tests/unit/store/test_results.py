import gzip
import sqlite3
import zlib
from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harvester.domain.tasks import dead_letter
from harvester.domain.tasks.embeddings import Matrix
from harvester.domain.tasks.outcomes import (
    Failed,
    Invalid,
    Outcome,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
    Transient,
)
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import DAY_MS, Task, TaskState
from harvester.store.sqlite import queue, results
from harvester.store.sqlite.connection import in_transaction
from tests.unit.store.builders import (
    LEASE_MS,
    NOW,
    add_tasks,
    claim,
    claim_new,
    contents,
    embeddings,
    embeddings_of,
    object_id,
    row,
    row_counts,
    settle_all,
    settlement,
    throwaway_database,
)

COUNTERS = ("attempts", "failures", "gone", "invalid", "error_code", "error_message", "error_at")


def rejected(task: Task, body: bytes, encoding: str | None = None) -> Settlement:
    last = replace(task, invalid=2)
    return settlement(last, Invalid("segments[0].float: NaN"), body=body, encoding=encoding)


def kept_body(connection: sqlite3.Connection) -> bytes:
    (body,) = connection.execute("SELECT body FROM payloads").fetchone()
    return bytes(body)


@pytest.fixture
def task(connection: sqlite3.Connection) -> Task:
    return claim_new(connection)


def test_a_result_and_its_task_are_stored_together(connection: sqlite3.Connection, task: Task) -> None:
    assert settle_all(connection, settlement(task, Retrieved(embeddings(count=3)))) == [True]
    assert row(connection, task.key, "state", "ended_at", "lease_owner", "attempts") == ("harvested", NOW, None, 1)
    assert row_counts(connection) == {
        "tasks": 1,
        "videos": 1,
        "video_scopes": 1,
        "segments": 3,
        "embeddings": 3,
        "attempts": 1,
        "payloads": 0,
    }


def test_every_column_of_a_result_is_stored(connection: sqlite3.Connection, task: Task) -> None:
    received = replace(
        embeddings(count=2, dim=2),
        scopes=["clip", None],
        ends=[6.25, None],
        extras={1: {"confidence": 0.5}},
        layouts=[("a",), ("b", "c")],
        layout_of=[0, 1],
    )
    received = replace(received, metadata=replace(received.metadata, scopes=("clip", "video")))
    settle_all(connection, settlement(task, Retrieved(received)))
    stored = contents(connection)
    checksum = zlib.crc32(received.vectors.tobytes())
    name, document = "holiday.mp4", received.document.decode()
    assert [columns[:13] for columns in stored["videos"]] == [
        (task.key, "marengo3.0", 12.0, name, None, 6.0, NOW, NOW + 1, NOW, 2, checksum, document, '[["a"],["b","c"]]')
    ]
    assert [len(columns[13]) for columns in stored["videos"]] == [16]
    assert stored["video_scopes"] == [(task.key, 0, "clip"), (task.key, 1, "video")]
    assert stored["segments"] == [
        (task.key, 0, "visual", "clip", 0.0, 6.25, 0, None),
        (task.key, 1, "visual", None, 6.0, None, 1, orjson.dumps({"confidence": 0.5}).decode()),
    ]


floats = {
    np.float32: st.floats(width=32, allow_nan=True, allow_infinity=True, allow_subnormal=True),
    np.float64: st.floats(width=64, allow_nan=True, allow_infinity=True, allow_subnormal=True),
}
matrices = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=floats[dtype])
)


@settings(deadline=None)  # the disk may be slow
@given(matrices)
def test_vectors_are_stored_bit_for_bit(vectors: Matrix) -> None:
    with throwaway_database() as connection:
        task = claim_new(connection)
        settle_all(connection, settlement(task, Retrieved(embeddings_of(vectors))))
        rows = connection.execute("SELECT dim, dtype, vector FROM segment_vectors ORDER BY position").fetchall()
    dtype = f"f{vectors.dtype.itemsize}"
    assert rows == [(vectors.shape[1], dtype, vector.astype(f"<{dtype}").tobytes()) for vector in vectors]


def test_vectors_that_lie_otherwise_in_memory_are_stored_in_order(connection: sqlite3.Connection, task: Task) -> None:
    vectors = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4))[::2, 1:]
    settle_all(connection, settlement(task, Retrieved(embeddings_of(vectors))))
    stored = connection.execute("SELECT vector FROM segment_vectors ORDER BY position").fetchall()
    assert [np.frombuffer(vector, "<f4").tolist() for (vector,) in stored] == [[1, 2, 3], [9, 10, 11]]


def test_more_vectors_than_one_statement_takes_are_stored_in_order(
    connection: sqlite3.Connection, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "STATEMENT_BYTES", 3 * 4 * 4 + 1)
    received = embeddings(count=8, dim=4)
    settle_all(connection, settlement(task, Retrieved(received)))
    rows = connection.execute("SELECT vector FROM embeddings ORDER BY position").fetchall()
    assert [vector for (vector,) in rows] == [vector.tobytes() for vector in received.vectors]


@pytest.mark.parametrize(
    "change",
    [
        {"vectors": np.zeros((1, 4), np.float32)},
        {"vectors": np.zeros((3, 4), np.float32)},
        {"vectors": np.zeros((2, 4), np.float16)},
        {"starts": [0.0]},
        {"layout_of": [0, 0, 0]},
        {"document": b"\xff"},
    ],
    ids=["a vector too few", "a vector too many", "half floats", "a start too few", "a layout too many", "not UTF-8"],
)
def test_columns_that_do_not_fit_together_store_nothing_of_the_group(
    connection: sqlite3.Connection, change: dict[str, object]
) -> None:
    tasks = [claim_new(connection, number) for number in range(2)]
    before = contents(connection)
    uneven = replace(embeddings(count=2), **change)  # type: ignore[arg-type]
    group = [settlement(tasks[0], Retrieved(embeddings())), settlement(tasks[1], Retrieved(uneven))]
    with pytest.raises((ValueError, sqlite3.IntegrityError)):
        settle_all(connection, *group)
    assert contents(connection) == before


@pytest.mark.parametrize("table", ["tasks", "attempts", "videos", "video_scopes", "segments", "embeddings", "payloads"])
def test_an_error_of_sqlite_on_any_table_stores_nothing_of_the_group(
    connection: sqlite3.Connection, table: str
) -> None:
    tasks = [claim_new(connection, number) for number in range(3)]
    before = contents(connection)
    # The last row of the last task: everything else has been written by then.
    last = {"tasks": f"new.id = {tasks[-1].key}", "embeddings": f"new.task = {tasks[-1].key} AND new.position = 4"}
    when = last.get(table, f"new.task = {tasks[-1].key}" if table != "payloads" else "TRUE")
    change = "UPDATE" if table == "tasks" else "INSERT"
    connection.execute(
        f"CREATE TEMP TRIGGER fault BEFORE {change} ON main.{table} WHEN {when} BEGIN SELECT RAISE(ABORT, 'fault'); END"
    )
    group = [
        settlement(tasks[0], Retrieved(embeddings())),
        rejected(tasks[1], b"{}"),
        settlement(tasks[2], Retrieved(embeddings(count=5))),
    ]
    with pytest.raises(sqlite3.IntegrityError, match="fault"):
        settle_all(connection, *group)
    assert contents(connection) == before
    connection.execute("DROP TRIGGER temp.fault")
    assert settle_all(connection, *group) == [True, True, True]


OUTCOMES: list[Outcome] = [Ready(), Retrieved(embeddings()), Failed("bad video"), Transient("reset", "connection_lost")]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_the_result_of_a_stale_owner_changes_nothing(
    connection: sqlite3.Connection, other: sqlite3.Connection, task: Task, outcome: Outcome
) -> None:
    (taken_over,) = claim(other, "backfill", now_ms=NOW + LEASE_MS)
    before = contents(connection)
    assert settle_all(connection, settlement(task, outcome)) == [False]
    assert contents(connection) == before
    assert settle_all(other, settlement(taken_over, outcome)) == [True]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_repeating_a_result_whose_acknowledgement_was_lost_changes_nothing(
    connection: sqlite3.Connection, task: Task, outcome: Outcome
) -> None:
    settle_all(connection, settlement(task, outcome))
    before = contents(connection)
    assert settle_all(connection, settlement(task, outcome)) == [False]
    assert contents(connection) == before


def test_one_claim_settles_once_even_within_a_group(connection: sqlite3.Connection, task: Task) -> None:
    twice = settlement(task, Retrieved(embeddings()))
    assert settle_all(connection, twice, twice) == [True, False]
    assert row_counts(connection)["videos"] == 1


def test_a_refused_result_leaves_the_rest_of_its_group_alone(connection: sqlite3.Connection, task: Task) -> None:
    claim(connection, "backfill", now_ms=NOW + LEASE_MS)
    valid = claim_new(connection, 1)
    group = [settlement(task, Failed("bad video")), settlement(valid, Retrieved(embeddings()))]
    assert settle_all(connection, *group) == [False, True]


def test_a_late_result_is_kept_while_nobody_else_has_claimed_the_task(
    connection: sqlite3.Connection, task: Task
) -> None:
    in_transaction(connection, lambda connection: queue.release(connection, "daemon"))
    assert settle_all(connection, settlement(task, Failed("bad video"))) == [True]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_harvested_is_never_undone(connection: sqlite3.Connection, task: Task, outcome: Outcome) -> None:
    settle_all(connection, settlement(task, Retrieved(embeddings(count=3))))
    before = contents(connection)
    for number in range(3):
        settle_all(connection, settlement(replace(task, claim=number), outcome, now_ms=NOW + DAY_MS))
    add_tasks(connection, task.task_id)
    in_transaction(connection, lambda connection: queue.retry(connection, task_ids=[task.task_id], states=TaskState))
    assert claim(connection, now_ms=NOW + DAY_MS) == []
    assert contents(connection) == before


@pytest.mark.parametrize("outcome", [Throttled("slow down"), Refused("bad key")], ids=["throttled", "refused"])
def test_what_says_nothing_about_the_task_leaves_its_counters_and_its_error_alone(
    connection: sqlite3.Connection, task: Task, outcome: Outcome
) -> None:
    settle_all(connection, settlement(task, Transient("reset", "connection_lost")))
    (again,) = claim(connection, now_ms=NOW + DAY_MS)
    before = row(connection, task.key, *COUNTERS)
    settle_all(connection, settlement(again, outcome, now_ms=NOW + DAY_MS))
    assert row(connection, task.key, *COUNTERS) == before
    assert before == (1, 1, 0, 0, "connection_lost", "reset", NOW)
    assert row(connection, task.key, "state", "next_attempt_at", "lease_owner") == ("pending", 0, None)


def test_an_answer_without_a_problem_ends_the_last_error(connection: sqlite3.Connection, task: Task) -> None:
    settle_all(connection, settlement(task, Transient("reset", "connection_lost")))
    (again,) = claim(connection, now_ms=NOW + DAY_MS)
    settle_all(connection, settlement(again, Processing(), now_ms=NOW + DAY_MS))
    assert row(connection, task.key, *COUNTERS) == (2, 0, 0, 0, None, None, None)


def test_the_body_of_a_rejected_answer_is_kept_as_gzip(connection: sqlite3.Connection, task: Task) -> None:
    settle_all(connection, rejected(task, b'{"segments": [NaN]}'))
    assert gzip.decompress(kept_body(connection)) == b'{"segments": [NaN]}'


def test_a_body_that_came_as_gzip_is_kept_as_it_came(connection: sqlite3.Connection, task: Task) -> None:
    body = gzip.compress(b"{}")
    settle_all(connection, rejected(task, body, "gzip"))
    assert kept_body(connection) == body


def test_a_kept_body_is_cut(connection: sqlite3.Connection, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter, "MAX_PAYLOAD_BYTES", 10)
    settle_all(connection, rejected(task, b"0123456789abc"))
    assert gzip.decompress(kept_body(connection)) == b"0123456789"


def test_a_task_rejected_again_keeps_the_newest_body(connection: sqlite3.Connection, task: Task) -> None:
    settle_all(connection, rejected(task, b"first"))
    in_transaction(connection, lambda connection: queue.retry(connection, task_ids=[task.task_id]))
    (again,) = claim(connection)
    settle_all(connection, rejected(again, b"second"))
    assert gzip.decompress(kept_body(connection)) == b"second"


def test_no_body_is_kept_while_a_task_is_still_tried(connection: sqlite3.Connection, task: Task) -> None:
    settle_all(connection, settlement(task, Invalid("segments[0].float: NaN"), body=b"{}"))
    assert row_counts(connection)["payloads"] == 0


def test_each_request_is_on_record(connection: sqlite3.Connection, task: Task) -> None:
    told = settlement(task, Transient("reset", "connection_lost"))
    attempt = replace(told.attempt, code="c", message="m", trace_id="t", bytes=7, duration_ms=9)
    settle_all(connection, replace(told, attempt=attempt))
    assert contents(connection)["attempts"] == [
        (1, task.key, NOW, "retrieve", 200, "transient", "c", "m", "t", 7, 9),
    ]


def test_the_requests_of_all_ids_have_their_own_rows(connection: sqlite3.Connection) -> None:
    add_tasks(connection, *(object_id(number) for number in range(3)))
    tasks = claim(connection)
    settle_all(connection, *(settlement(task, Ready()) for task in tasks))
    assert [attempt[1] for attempt in contents(connection)["attempts"]] == [task.key for task in tasks]
