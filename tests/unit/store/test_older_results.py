"""What an older version stored becomes what this one stores of the same answers, with the same JSON, and no request."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester.api.decode.result import decode_retrieval
from harvester.domain.tasks.outcomes import Retrieved
from harvester.domain.tasks.wholeness import missing_parts
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
    settled = settlement(claim_new(connection, number), outcome)
    settle_all(connection, replace(settled, warnings=missing_parts(outcome.embeddings)))


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
            "UPDATE videos SET is_checked = 0, warnings = NULL, input_type = NULL,"
            " start_offset_sec = NULL, end_offset_sec = NULL,"
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


def forget_checks(connection: sqlite3.Connection) -> None:
    """Store everything as a version did that had the columns and did not check results."""
    connection.execute("UPDATE videos SET warnings = NULL, is_checked = 0")


def lacking(**metadata: Any) -> bytes:
    """A whole result, but for the options and the duration that its metadata have."""
    clips = [
        {
            "embedding": [0.6, 0.8],
            "embedding_option": "visual",
            "embedding_scope": "clip",
            "start_sec": start,
            "end_sec": start + 6.0,
        }
        for start in (0.0, 6.0)
    ]
    return v2(*clips, metadata={"embedding_options": ["visual"], "duration": 12.0, "clip_length": 6.0} | metadata)


def warnings(connection: sqlite3.Connection) -> list[list[str] | None]:
    found = connection.execute("SELECT warnings FROM videos ORDER BY task").fetchall()
    return [None if text is None else orjson.loads(text) for (text,) in found]


WITHOUT_AUDIO = "No segment has the option audio, which the task was made with."
ENDS_EARLY = "The clips of visual end at 12 s, but the embedded part of the input ends at 30 s."


@pytest.mark.parametrize("make_unchecked", [make_older, forget_checks])
def test_results_that_were_never_checked_get_the_warnings_of_new_ones(
    connection: sqlite3.Connection, make_unchecked: Callable[[sqlite3.Connection], None]
) -> None:
    store(connection, lacking(embedding_options=["visual", "audio"], duration=30.0))
    store(connection, lacking(), 1)
    expected = contents(connection)
    make_unchecked(connection)
    assert any("of an older version" in text for text in texts(connection))

    assert cover_all(connection) == 2

    assert warnings(connection) == [[WITHOUT_AUDIO, ENDS_EARLY], None]
    assert contents(connection) == expected
    assert f"incomplete: {WITHOUT_AUDIO}" in texts(connection)
    assert not any("older version" in text for text in texts(connection))
    before = connection.total_changes
    assert (cover(connection, 0), connection.total_changes) == (None, before)


def test_what_this_version_stores_is_not_checked_again(connection: sqlite3.Connection) -> None:
    store(connection, lacking(duration=30.0))
    store(connection, lacking(), 1)

    assert cover(connection, 0) is None


def test_a_result_lacks_no_option_that_was_not_asked_for(connection: sqlite3.Connection) -> None:
    for number in range(3):
        store(connection, lacking(embedding_options=["visual", "audio"]), number)
    asked = [('["visual"]', 1), ('["visual","audio"]', 2), ("[]", 3)]
    connection.executemany("UPDATE tasks SET retrieve_options = ? WHERE id = ?", asked)
    forget_checks(connection)

    assert cover_all(connection) == 3

    assert warnings(connection) == [None, [WITHOUT_AUDIO], [WITHOUT_AUDIO]]


@pytest.mark.parametrize("asked_again", ["[]", '["visual","audio"]'])
def test_a_result_lacks_no_option_that_its_task_is_only_now_asked_for(
    connection: sqlite3.Connection, asked_again: str
) -> None:
    store(connection, lacking(embedding_options=["visual", "audio"]))
    connection.execute("UPDATE tasks SET state = 'ready', ended_at = NULL, retrieve_options = ?", (asked_again,))
    forget_checks(connection)

    assert cover_all(connection) == 1

    assert warnings(connection) == [None]


def test_missing_pages_and_pieces_of_text_are_found_in_the_columns(connection: sqlite3.Connection) -> None:
    segments = [
        {"embedding": [0.6, 0.8]},
        *(
            {"embedding": [0.6, 0.8], "start_page_number": page, "chunk_index": chunk}
            for page, chunk in [(1, 0), (3, 2)]
        ),
    ]
    store(connection, v2(*segments))
    forget_checks(connection)

    assert cover_all(connection) == 1

    assert warnings(connection) == [["No segment has page 2.", "No segment has chunk 1."]]


def test_a_damaged_result_is_not_called_whole(connection: sqlite3.Connection) -> None:
    for number in range(3):
        store(connection, lacking(), number)
    forget_checks(connection)
    connection.execute("UPDATE segments SET end_offset_sec = 7 WHERE task = 1 AND position = 0")
    connection.execute("UPDATE videos SET document = replace(document, '12.0', '30.0') WHERE task = 2")

    assert cover_all(connection) == 1

    assert connection.execute("SELECT task, is_checked FROM videos").fetchall() == [(1, 0), (2, 0), (3, 1)]
    assert warnings(connection) == [None] * 3
    assert {object_id(0), object_id(1)} <= {one.task_id for one in verify(connection, deep=True) if one.is_damage}
    assert any("2 of an older version were not checked" in text for text in texts(connection))
