"""One checksum covers the whole result: a change of any value in any column is found."""

import random
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harvester.domain.errors import StoreError
from harvester.domain.tasks.embeddings import Uncertainties
from harvester.domain.tasks.outcomes import Retrieved
from harvester.store.sqlite.connection import open_for_reading, open_for_writing
from harvester.store.sqlite.content import Content
from harvester.store.sqlite.maintenance.repair import examine, repair
from harvester.store.sqlite.maintenance.verify import verify
from harvester.store.sqlite.task_history import rebuild_json
from tests.support.store_builders import NOW, claim_new, embeddings_of, object_id, settle_all, settlement

COLUMNS = {
    "videos": "model_name duration input_filename input_url video_clip_length created_at updated_at harvested_at"
    " segment_count vectors_crc32 document layouts content_blake2b input_type start_offset_sec end_offset_sec"
    " embedding_dimension is_truncated truncation_reason model_source content_form",
    "video_scopes": "task position video_embedding_scope",
    "video_options": "task position embedding_option",
    "video_tokens": "task medium tokens",
    "segments": "task position embedding_option embedding_scope start_offset_sec end_offset_sec layout extra"
    " start_page end_page quadrant chunk_index",
    "embeddings": "task position dim dtype vector",
    "uncertainties": "task position dim dtype vector",
}
KEYS = {"videos": ("task",), "video_tokens": ("task", "medium")}
"""The keys of the tables that have no position."""

PLACES = [(table, column) for table, columns in COLUMNS.items() for column in columns.split()]


def store(connection: sqlite3.Connection) -> None:
    """Store three tasks of the same shape, with and without values in each column that may be empty."""
    for number in range(3):
        vectors = np.random.default_rng(number).standard_normal((3, 8), np.float32)
        one = embeddings_of(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), scopes=("clip", "video"))
        full = replace(
            one,
            metadata=replace(
                one.metadata,
                input_type="video",
                options=("visual", "audio"),
                start_offset_sec=0.5,
                end_offset_sec=20.0 + number,
                embedding_dimension=8,
                tokens=(("audio", 7), ("video", 100 + number)),
                is_truncated=bool(number % 2),
                truncation_reason="model_context_window",
            ),
            start_pages=[None, 1, 2],
            end_pages=[1, None, 3],
            quadrants=["top_left", None, "top_right"],
            chunk_indexes=[2, 0, None],
            uncertainties=Uncertainties([0, 2], vectors[:2] * vectors[:2]),
            options=["visual", None, "audio"],
            scopes=["clip", "clip", None],
            starts=[number + 0.5, None, 12.0],
            extras={1: {"mood": "calm"}},
            layouts=[("float", "start_offset_sec", "end_offset_sec", "embedding_option", "embedding_scope"), ("mood",)],
            layout_of=[0, 1, 0],
            document=b'{"_id":"%s","video_embedding":{"segments":[]}}' % object_id(number).encode(),
        )
        settle_all(connection, settlement(claim_new(connection, number), Retrieved(full)))


@pytest.fixture
def harvested(connection: sqlite3.Connection) -> sqlite3.Connection:
    store(connection)
    return connection


def errors(connection: sqlite3.Connection) -> list[tuple[str | None, str]]:
    return [(one.task_id, one.text) for one in verify(connection, deep=True) if not one.is_warning]


def changes(value: Any) -> Iterator[Any]:
    """Yield values that differ from the given one by as little as possible, empty ones and none."""
    yield None
    if isinstance(value, int):
        yield from (value ^ 1, value ^ (1 << 20), 0)
    elif isinstance(value, float):
        (bits,) = struct.unpack("<q", struct.pack("<d", value))
        yield from (struct.unpack("<d", struct.pack("<q", bits ^ (1 << bit)))[0] for bit in (0, 30, 52))
        yield from (0.0, -0.0)
    elif isinstance(value, str):
        yield {"f4": "f8"}.get(value, value)
        yield from (value[:-1] + chr(ord(value[-1]) ^ 1), value + " ", value.upper(), "")
    elif isinstance(value, bytes):
        yield from (bytes([value[0] ^ 1]) + value[1:], value[:-1] + bytes([value[-1] ^ 128]), value[:-1], b"")
    else:
        yield from (0, 0.5, "", "x", b"")


@pytest.mark.parametrize(("table", "column"), PLACES, ids=[f"{table}.{column}" for table, column in PLACES])
def test_any_change_of_any_value_is_found(harvested: sqlite3.Connection, table: str, column: str) -> None:
    harvested.execute("PRAGMA foreign_keys = OFF")
    names = KEYS.get(table, ("task", "position"))
    place = " AND ".join(f"{name} = ?" for name in names)
    keys = harvested.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
    tried = 0
    for key in keys:
        (value,) = harvested.execute(f"SELECT {column} FROM {table} WHERE {place}", key).fetchone()
        for changed in changes(value):
            harvested.execute("BEGIN")
            try:
                statement = f"UPDATE {table} SET {column} = ? WHERE {place} RETURNING {column}"
                ((stored,),) = harvested.execute(statement, (changed, *key)).fetchall()
                # Without a checksum the task counts as one of an older version, which is a finding as well.
                if _bits(stored) != _bits(value) and (column, changed) != ("content_blake2b", None):
                    tried += 1
                    assert errors(harvested) != [], (key, value, changed)
            except sqlite3.IntegrityError:
                pass  # not a value that this column takes
            finally:
                harvested.execute("ROLLBACK")
    assert tried >= len(keys)


def _bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


@pytest.mark.parametrize("table", COLUMNS)
def test_rows_that_two_tasks_have_exchanged_are_found_and_put_back(harvested: sqlite3.Connection, table: str) -> None:
    harvested.execute("PRAGMA foreign_keys = OFF")
    for old, new in ((1, -1), (2, 1), (-1, 2)):
        harvested.execute(f"UPDATE {table} SET task = ? WHERE task = ?", (new, old))
    harvested.execute("PRAGMA foreign_keys = ON")
    if table in ("video_scopes", "video_options"):
        # The same in both.
        assert errors(harvested) == []
        return

    found = examine(harvested)

    assert {one.task_id for one in found.damaged} == {object_id(0), object_id(1)}
    assert len(repair(harvested, found.damaged, NOW + 1)) == 2
    assert errors(harvested) == []


def test_ids_that_two_tasks_have_exchanged_are_found_and_put_back(harvested: sqlite3.Connection) -> None:
    for key, task_id in ((1, "x"), (2, object_id(0)), (1, object_id(1))):
        harvested.execute("UPDATE tasks SET task_id = ? WHERE id = ?", (task_id, key))

    assert {one.task_id for one in examine(harvested).damaged} == {object_id(0), object_id(1)}


def test_a_changed_id_is_named_and_what_is_stored_under_it_stays(harvested: sqlite3.Connection) -> None:
    harvested.execute("UPDATE tasks SET task_id = 'another' WHERE id = 1")

    assert errors(harvested) == [
        (
            "another",
            f"what is stored belongs to the task {object_id(0)}; tasks.task_id was changed: set it to that id",
        )
    ]
    assert examine(harvested).damaged == []


@pytest.mark.parametrize(
    ("form", "expected"), [(1, "cbdff3eef58df4ce3bdea2d711bce4cf"), (2, "6c5a65fe7c84088095c0057b5230347f")]
)
def test_the_forms_of_the_checksum_stay_what_they_are(form: int, expected: str) -> None:
    video: dict[str, Any] = dict.fromkeys(("model_name", "input_filename", "input_url", "created_at", "updated_at"))
    video |= {"duration": 6.5, "video_clip_length": None, "harvested_at": NOW, "segment_count": 1, "vectors_crc32": 7}
    video |= {"document": '{"a":"ü"}', "layouts": "[]", "content_form": form, "input_type": "document"}
    video |= {"start_offset_sec": None, "end_offset_sec": 6.0, "embedding_dimension": 512, "is_truncated": 1}
    content = Content(
        "66f537778d9641fe5a0d101f",
        video | {"truncation_reason": None, "model_source": "inferred"},
        scopes=((0,), ("clip",)),
        segments=((0,), ("visual",), (None,), (0.0,), (6.0,), (0,), (None,)),
        embeddings=((0,), (512,), ("f4",)),
        options=((0, 1), ("visual", "text")),
        tokens=(("document",), (2210,)),
        places=((0,), (1,), (2,), (0,), (None,)),
        uncertainties=((0,), (512,), ("f8",)),
        uncertainties_crc32=9,
    )
    assert content.checksum().hex() == expected


def given_back(connection: sqlite3.Connection) -> list[Any]:
    rows = connection.execute("SELECT * FROM segment_vectors ORDER BY 1, 2").fetchall()
    videos = connection.execute("SELECT * FROM videos ORDER BY 1").fetchall()
    return [rows, videos, *(rebuild_json(connection, object_id(number)) for number in range(3))]


def test_a_flipped_bit_of_the_file_is_found_or_changes_nothing_that_is_given_back(tmp_path: Path) -> None:
    path, rng = tmp_path / "harvester.db", random.Random(46)
    with closing(open_for_writing(path)) as connection:
        store(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
        expected = given_back(connection)
    sound, found = path.read_bytes(), 0
    used = [place for place, byte in enumerate(sound) if byte]
    for place in rng.sample(used, 150):
        spoilt = bytearray(sound)
        spoilt[place] ^= 1 << rng.randrange(8)
        path.write_bytes(spoilt)
        try:
            with closing(open_for_reading(path)) as connection:
                is_found = errors(connection) != []
                is_same = is_found or given_back(connection) == expected
        except (StoreError, sqlite3.Error):
            is_found, is_same = True, False
        found += is_found
        assert is_found or is_same, place
    assert found > 50
