"""What an older version stored becomes what this one stores of the same answers, with the same JSON, and no request."""

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester.api.decode.result import decode_retrieval
from harvester.domain.tasks.outcomes import Retrieved
from harvester.ports.maintenance import Covered
from harvester.store.sqlite.content import StoredContent, read_content, vectors_of
from harvester.store.sqlite.maintenance.older_results import cover
from harvester.store.sqlite.maintenance.verify import verify
from harvester.store.sqlite.task_history import rebuild_json
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import (
    claim_new,
    contents,
    embeddings,
    object_id,
    settle_all,
    settlement,
)

FIXTURES = Path(__file__).parents[2] / "fixtures"
NAMES = sorted(path.name for path in FIXTURES.glob("retrieve_v*.json") if b'"ready"' in path.read_bytes())
OLD_COLUMNS = {"embedding", "float", "embedding_option", "embedding_scope"} | {
    f"{end}_{name}" for end in ("start", "end") for name in ("sec", "offset_sec", "offset_time")
}


def store(connection: sqlite3.Connection, body: bytes, number: int = 0) -> None:
    outcome = decode_retrieval(body, None, 1 << 24)
    assert isinstance(outcome, Retrieved), outcome
    settle_all(connection, settlement(claim_new(connection, number), outcome))


def make_older(connection: sqlite3.Connection, *, has_checksum: bool = True) -> None:
    """Store everything as the version before did: fields without a column in `extra`, and form 1 of the checksum."""
    for task, task_id in connection.execute("SELECT id, task_id FROM tasks").fetchall():
        document = orjson.loads(rebuild_json(connection, task_id) or b"")
        is_v1 = "video_embedding" in document
        segments = document["video_embedding"]["segments"] if is_v1 else document["data"]
        for position, segment in enumerate(segments):
            extra = {name: value for name, value in segment.items() if name not in OLD_COLUMNS}
            values = (orjson.dumps(extra).decode() if extra else None, task, position)
            connection.execute("UPDATE segments SET extra = ? WHERE task = ? AND position = ?", values)
        for table in ("uncertainties", "video_options", "video_tokens", *(() if is_v1 else ("video_scopes",))):
            connection.execute(f"DELETE FROM {table} WHERE task = ?", (task,))
        places = "start_page = NULL, end_page = NULL, quadrant = NULL, chunk_index = NULL"
        connection.execute(f"UPDATE segments SET {places} WHERE task = ?", (task,))
        connection.execute(
            "UPDATE videos SET input_type = NULL, start_offset_sec = NULL, end_offset_sec = NULL,"
            " embedding_dimension = NULL, is_truncated = NULL, truncation_reason = NULL,"
            " model_name = iif(model_source = 'answer', model_name, NULL), model_source = NULL, content_form = 1,"
            " video_clip_length = iif(?, video_clip_length, NULL) WHERE task = ?",
            (is_v1, task),
        )
        checksum = read(connection, task, task_id).content.checksum() if has_checksum else None
        connection.execute("UPDATE videos SET content_blake2b = ? WHERE task = ?", (checksum, task))


def read(connection: sqlite3.Connection, task: int, task_id: str) -> StoredContent:
    return read_content(connection, task, task_id, vectors_of(connection, task))


def cover_all(connection: sqlite3.Connection) -> int:
    total, batch = 0, Covered(0, 0)
    while (found := in_transaction(connection, partial(cover, after_task=batch.last_task))) is not None:
        total, batch = total + found.count, found
    return total


def texts(connection: sqlite3.Connection) -> list[str]:
    return [one.text for one in verify(connection, deep=True)]


@pytest.mark.parametrize("has_checksum", [True, False])
def test_each_documented_result_becomes_what_this_version_stores(
    connection: sqlite3.Connection, *, has_checksum: bool
) -> None:
    for number, name in enumerate(NAMES):
        store(connection, (FIXTURES / name).read_bytes(), number)
    expected, given_back = contents(connection), [rebuild_json(connection, object_id(n)) for n in range(len(NAMES))]
    make_older(connection, has_checksum=has_checksum)
    assert any(f"{len(NAMES)} of an older version" in text for text in texts(connection))
    assert [rebuild_json(connection, object_id(n)) for n in range(len(NAMES))] == given_back

    assert cover_all(connection) == len(NAMES)

    assert contents(connection) == expected
    assert [rebuild_json(connection, object_id(n)) for n in range(len(NAMES))] == given_back
    assert not any("older version" in text or "checksum" in text for text in texts(connection))


def v2(*segments: Any, **changes: Any) -> bytes:
    return orjson.dumps({"_id": "1", "status": "ready", "data": list(segments)} | changes)


@pytest.mark.parametrize(
    "fields",
    [
        {"embedding_uncertainty": None, "quadrant": None, "chunk_index": None, "start_page_number": None},
        {
            "x": {"y": [1]},
            "start_page_number": True,
            "quadrant": 7,
            "chunk_index": 1.5,
            "embedding_uncertainty": "high",
        },
        {"embedding_uncertainty": [0.1, 0.2], "chunk_index": 3},
        {"embedding_uncertainty": [0.1234567890123456, 1], "end_page_number": 2**63},
        {"embedding_uncertainty": [1e300, 5e-324]},
    ],
)
def test_values_of_any_type_become_what_this_version_stores(
    connection: sqlite3.Connection, fields: dict[str, Any]
) -> None:
    store(connection, v2({"embedding": [0.6, 0.8]}, {"embedding": [0.6, 0.8]} | fields))
    expected = contents(connection)
    make_older(connection)

    assert cover_all(connection) == 1

    assert contents(connection) == expected


def test_an_uncertainty_that_a_column_cannot_hold_stays_as_it_was_received(connection: sqlite3.Connection) -> None:
    received = [[0.5], [0.5, True], [0.5, 2**60 + 1]]
    store(connection, v2(*({"embedding": [0.6, 0.8], "x": value} for value in received)))
    make_older(connection)
    connection.execute("UPDATE segments SET extra = replace(extra, '\"x\"', '\"embedding_uncertainty\"')")
    connection.execute("UPDATE videos SET layouts = replace(layouts, '\"x\"', '\"embedding_uncertainty\"')")
    connection.execute("UPDATE videos SET content_blake2b = NULL")
    given_back = rebuild_json(connection, object_id(0))

    assert cover_all(connection) == 1

    assert rebuild_json(connection, object_id(0)) == given_back
    assert contents(connection)["uncertainties"] == []


def test_the_list_names_the_model_and_the_file_where_the_result_does_not(connection: sqlite3.Connection) -> None:
    store(connection, v2({"embedding": [0.6, 0.8]}))
    make_older(connection)
    connection.execute(
        "INSERT INTO listed (task, listed_at, model_name, duration, input_filename, input_type)"
        " VALUES (1, 1, 'marengo3.0', 12.5, 'talk.mp3', 'audio')"
    )

    assert cover_all(connection) == 1

    columns = "model_name, model_source, duration, input_filename, input_type"
    assert connection.execute(f"SELECT {columns} FROM videos").fetchall() == [
        ("marengo3.0", "list", 12.5, "talk.mp3", "audio")
    ]


def test_damage_is_not_confirmed_by_a_new_checksum(connection: sqlite3.Connection) -> None:
    for number in range(5):
        settle_all(connection, settlement(claim_new(connection, number), Retrieved(embeddings())))
    make_older(connection)
    connection.execute("UPDATE embeddings SET vector = zeroblob(16) WHERE task = 1 AND position = 1")
    connection.execute("UPDATE videos SET duration = 1 WHERE task = 2")
    connection.execute("UPDATE videos SET document = '{', content_blake2b = NULL WHERE task = 3")
    connection.execute("UPDATE segments SET extra = '[', layout = 0 WHERE task = 4 AND position = 0")
    connection.execute("UPDATE videos SET content_blake2b = NULL WHERE task = 4")

    assert cover_all(connection) == 1

    assert connection.execute("SELECT task FROM videos WHERE content_form = 1").fetchall() == [(1,), (2,), (3,), (4,)]
    damaged = {one.task_id for one in verify(connection, deep=True) if one.is_damage}
    assert {object_id(0), object_id(1)} <= damaged


def test_batches_are_small_and_go_on_behind_the_last_one(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        settle_all(connection, settlement(claim_new(connection, number), Retrieved(embeddings(count=3))))
    make_older(connection)
    monkeypatch.setattr("harvester.store.sqlite.maintenance.older_results.BATCH_SEGMENTS", 4)

    assert [cover(connection, 0), cover(connection, 2), cover(connection, 3)] == [Covered(2, 2), Covered(1, 3), None]
