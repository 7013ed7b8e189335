import gzip
import sqlite3
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harvester.api.decode.result import decode_retrieval
from harvester.domain.tasks import dead_letter
from harvester.domain.tasks.embeddings import Matrix, MediaMetadata, Uncertainties
from harvester.domain.tasks.outcomes import (
    Failed,
    Invalid,
    Outcome,
    Ready,
    Retrieved,
    Transient,
)
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import Task
from harvester.store.sqlite import result_rows
from harvester.store.sqlite.maintenance.verify import verify
from harvester.store.sqlite.results import keep_metadata
from tests.support.store_builders import (
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

FIXTURES = Path(__file__).parents[2] / "fixtures"
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
    assert row(connection, task.row_id, "state", "ended_at", "lease_owner", "attempts") == ("harvested", NOW, None, 1)
    assert row_counts(connection) == {
        "tasks": 1,
        "videos": 1,
        "video_scopes": 1,
        "segments": 3,
        "embeddings": 3,
        "uncertainties": 0,
        "video_options": 0,
        "video_tokens": 0,
        "attempts": 1,
        "payloads": 0,
        "labels": 0,
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
        (
            task.row_id,
            "marengo3.0",
            12.0,
            name,
            None,
            6.0,
            NOW,
            NOW + 1,
            NOW,
            2,
            checksum,
            document,
            '[["a"],["b","c"]]',
        )
    ]
    assert [len(columns[13]) for columns in stored["videos"]] == [16]
    assert stored["video_scopes"] == [(task.row_id, 0, "clip"), (task.row_id, 1, "video")]
    assert [columns[:8] for columns in stored["segments"]] == [
        (task.row_id, 0, "visual", "clip", 0.0, 6.25, 0, None),
        (task.row_id, 1, "visual", None, 6.0, None, 1, orjson.dumps({"confidence": 0.5}).decode()),
    ]


floats = {
    np.float32: st.floats(width=32, allow_nan=True, allow_infinity=True, allow_subnormal=True),
    np.float64: st.floats(width=64, allow_nan=True, allow_infinity=True, allow_subnormal=True),
}
matrices = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=floats[dtype])
)


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
    monkeypatch.setattr(result_rows, "STATEMENT_BYTES", 3 * 4 * 4 + 1)
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
    last = {
        "tasks": f"new.id = {tasks[-1].row_id}",
        "embeddings": f"new.task = {tasks[-1].row_id} AND new.position = 4",
    }
    when = last.get(table, f"new.task = {tasks[-1].row_id}" if table != "payloads" else "TRUE")
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


def test_a_kept_body_is_cut(connection: sqlite3.Connection, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter, "MAX_PAYLOAD_BYTES", 10)
    settle_all(connection, rejected(task, b"0123456789abc"))
    assert gzip.decompress(kept_body(connection)) == b"0123456789"


def test_the_requests_of_all_ids_have_their_own_rows(connection: sqlite3.Connection) -> None:
    add_tasks(connection, *(object_id(number) for number in range(3)))
    tasks = claim(connection)
    settle_all(connection, *(settlement(task, Ready()) for task in tasks))
    assert [attempt[1] for attempt in contents(connection)["attempts"]] == [task.row_id for task in tasks]


def stored_columns(connection: sqlite3.Connection, names: str, table: str = "videos") -> list[Any]:
    return connection.execute(f"SELECT {names} FROM {table}").fetchall()


def decoded(name: str) -> Retrieved:
    outcome = decode_retrieval((FIXTURES / name).read_bytes(), None, 1 << 20)
    assert isinstance(outcome, Retrieved)
    return outcome


def test_the_view_says_what_each_vector_is_and_where_in_its_document(
    connection: sqlite3.Connection, task: Task
) -> None:
    settle_all(connection, settlement(task, decoded("retrieve_v2_document_35.json")))
    names = "model_name, input_type, embedding_scope, start_page, end_page, quadrant, input_filename, harvested_at"
    assert stored_columns(connection, names, "segment_vectors ORDER BY position")[4:7] == [
        ("marengo3.5", "document", "page", 2, 2, "bottom_right", "rules.pdf", NOW),
        ("marengo3.5", "document", "page", 1, 1, None, "rules.pdf", NOW),
        ("marengo3.5", "document", "page", 1, 1, "top_left", "rules.pdf", NOW),
    ]
    names = "embedding_dimension, is_truncated, truncation_reason, model_source"
    assert stored_columns(connection, names) == [(128, 1, "model_context_window", "inferred")]
    assert stored_columns(connection, "medium, tokens", "video_tokens") == [("document", 2210)]
    assert stored_columns(connection, "embedding_option", "video_options") == [("visual",)]


@pytest.mark.parametrize("small_bytes", [0, 1 << 20])
def test_uncertainties_are_stored_beside_their_vectors(
    connection: sqlite3.Connection, task: Task, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    monkeypatch.setattr(result_rows, "SMALL_BYTES", small_bytes)
    monkeypatch.setattr(result_rows, "STATEMENT_BYTES", 3 * 8 + 1)
    vectors = np.arange(12, dtype=np.float32).reshape(6, 2)
    uncertain = Uncertainties([1, 3, 4, 5], np.arange(8, dtype=np.float64).reshape(4, 2)[::-1])
    settle_all(connection, settlement(task, Retrieved(replace(embeddings_of(vectors), uncertainties=uncertain))))
    rows = stored_columns(connection, "*", "segment_uncertainties ORDER BY position")
    assert [(task_id, dim, dtype) for task_id, _, dim, dtype, _ in rows] == [(task.task_id, 2, "f8")] * 4
    assert [(position, np.frombuffer(blob, "<f8").tolist()) for _, position, _, _, blob in rows] == [
        (1, [6, 7]),
        (3, [4, 5]),
        (4, [2, 3]),
        (5, [0, 1]),
    ]
    stored = stored_columns(connection, "vector", "segment_vectors ORDER BY position")
    assert [np.frombuffer(blob, "<f4").tolist() for (blob,) in stored] == vectors.tolist()


def test_the_list_says_what_the_result_does_not(connection: sqlite3.Connection, task: Task) -> None:
    listed = MediaMetadata("marengo3.5", 7.5, "listed.mp4", "https://media.example/listed.mp4", input_type="audio")
    keep_metadata(connection, task, listed, NOW)
    settle_all(connection, settlement(task, decoded("retrieve_v2_ready.json")))
    names = "model_name, model_source, duration, input_filename, input_type"
    assert stored_columns(connection, names) == [("marengo3.5", "list", 7.5, "listed.mp4", "audio")]
    assert [one for one in verify(connection, deep=True) if not one.is_warning] == []


def test_the_result_comes_before_the_list(connection: sqlite3.Connection, task: Task) -> None:
    keep_metadata(connection, task, MediaMetadata("listed", 7.5, "listed.mp4", input_type="audio"), NOW)
    settle_all(connection, settlement(task, decoded("retrieve_v1_ready.json")))
    names = "model_name, model_source, duration, input_filename, input_type"
    assert stored_columns(connection, names) == [("marengo3.0", "answer", 18.0, "01.mp4", "video")]


def test_a_result_whose_model_is_unknown_is_stored_and_counted(connection: sqlite3.Connection, task: Task) -> None:
    settle_all(connection, settlement(task, decoded("retrieve_v2_ready.json")))
    assert stored_columns(connection, "model_name, model_source") == [(None, None)]
    assert any("1 result without a known model" in one.text for one in verify(connection) if one.is_warning)


def test_what_a_result_lacks_is_stored_with_it_and_nothing_with_a_whole_one(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(1), object_id(2))
    lacking, whole = (settlement(task, Retrieved(embeddings())) for task in claim(connection))
    assert settle_all(connection, replace(lacking, warnings=("No sound.", "No end.")), whole) == [True, True]
    stored = connection.execute("SELECT warnings FROM videos ORDER BY task").fetchall()
    assert stored == [('["No sound.","No end."]',), (None,)]


def test_a_result_that_was_stored_before_keeps_what_is_said_of_it(connection: sqlite3.Connection, task: Task) -> None:
    settle_all(connection, settlement(task, Retrieved(embeddings())))
    connection.execute("UPDATE tasks SET state = 'pending', next_attempt_at = 0")
    (again,) = claim(connection)
    later = settlement(again, Retrieved(embeddings()), now_ms=NOW + 1)
    assert settle_all(connection, replace(later, warnings=("No sound.",))) == [True]
    assert connection.execute("SELECT warnings FROM videos").fetchall() == [(None,)]
