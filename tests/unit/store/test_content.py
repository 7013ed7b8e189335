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
from harvester.domain.tasks.outcomes import Retrieved
from harvester.ports.maintenance import Covered
from harvester.store.sqlite.connection import open_for_reading, open_for_writing
from harvester.store.sqlite.content import Content
from harvester.store.sqlite.maintenance.missing_checksums import cover
from harvester.store.sqlite.maintenance.repair import examine, repair
from harvester.store.sqlite.maintenance.verify import verify
from harvester.store.sqlite.task_history import rebuild_json
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import NOW, claim_new, embeddings_of, object_id, settle_all, settlement

COLUMNS = {
    "videos": "model_name duration input_filename input_url video_clip_length created_at updated_at harvested_at"
    " segment_count vectors_crc32 document layouts content_blake2b",
    "video_scopes": "task position video_embedding_scope",
    "segments": "task position embedding_option embedding_scope start_offset_sec end_offset_sec layout extra",
    "embeddings": "task position dim dtype vector",
}
PLACES = [(table, column) for table, columns in COLUMNS.items() for column in columns.split()]


def store(connection: sqlite3.Connection) -> None:
    """Store three tasks of the same shape, with and without values in each column that may be empty."""
    for number in range(3):
        vectors = np.random.default_rng(number).standard_normal((3, 8), np.float32)
        one = embeddings_of(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), scopes=("clip", "video"))
        full = replace(
            one,
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
    place = "task = ?" if table == "videos" else "task = ? AND position = ?"
    keys = harvested.execute(f"SELECT {'task' if table == 'videos' else 'task, position'} FROM {table}").fetchall()
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
    if table == "video_scopes":
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


def test_the_form_of_the_checksum_stays_what_it_is() -> None:
    video: dict[str, Any] = dict.fromkeys(("model_name", "input_filename", "input_url", "created_at", "updated_at"))
    video |= {"duration": 6.5, "video_clip_length": None, "harvested_at": NOW, "segment_count": 1, "vectors_crc32": 7}
    content = Content(
        "66f537778d9641fe5a0d101f",
        video | {"document": '{"a":"ü"}', "layouts": "[]"},
        scopes=((0,), ("clip",)),
        segments=((0,), ("visual",), (None,), (0.0,), (6.0,), (0,), (None,)),
        embeddings=((0,), (512,), ("f4",)),
    )
    assert content.checksum().hex() == "cbdff3eef58df4ce3bdea2d711bce4cf"


def bare(connection: sqlite3.Connection) -> list[Any]:
    return connection.execute("SELECT task, content_blake2b FROM videos ORDER BY task").fetchall()


def test_what_an_older_version_stored_gets_the_same_checksum_unless_its_vectors_are_damaged(
    harvested: sqlite3.Connection,
) -> None:
    stored = bare(harvested)
    harvested.execute("UPDATE videos SET content_blake2b = NULL")
    harvested.execute("UPDATE embeddings SET vector = zeroblob(32) WHERE task = 2 AND position = 1")
    assert any("3 of an older version" in one.text for one in verify(harvested) if one.is_warning)

    covered = in_transaction(harvested, lambda connection: cover(connection, 0))

    assert covered is not None
    assert (covered.count, covered.last_task) == (2, 3)
    assert in_transaction(harvested, lambda connection: cover(connection, covered.last_task)) is None
    assert bare(harvested) == [stored[0], (2, None), stored[2]]


def test_batches_are_small_and_go_on_behind_the_last_one(
    harvested: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    harvested.execute("UPDATE videos SET content_blake2b = NULL")
    monkeypatch.setattr("harvester.store.sqlite.maintenance.missing_checksums.BATCH_SEGMENTS", 4)
    assert [cover(harvested, 0), cover(harvested, 2)] == [Covered(2, 2), Covered(1, 3)]
    assert [value is None for _, value in bare(harvested)] == [False, False, False]


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
