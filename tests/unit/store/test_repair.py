"""A damaged result that can be retrieved again goes back to `pending`, whole; nothing else is touched."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harvester.domain.tasks.embeddings import TaskEmbeddings, Uncertainties
from harvester.domain.tasks.outcomes import Retrieved
from harvester.domain.tasks.task import DAY_MS
from harvester.store.sqlite import queue
from harvester.store.sqlite.maintenance.repair import examine, repair
from harvester.store.sqlite.maintenance.verify import verify
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import (
    NOW,
    claim,
    claim_new,
    contents,
    embeddings,
    embeddings_of,
    object_id,
    row,
    settle_all,
    settlement,
)

STORED = ("videos", "video_scopes", "video_options", "video_tokens", "segments", "embeddings", "uncertainties")
PAST_DEADLINE = NOW + 8 * DAY_MS


@pytest.fixture
def harvested(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Two harvested tasks, of which tests damage the first."""
    for number in range(2):
        task = claim_new(connection, number)
        settle_all(connection, settlement(task, Retrieved(described(embeddings(count=3)))))
    return connection


def described(one: TaskEmbeddings) -> TaskEmbeddings:
    """Return the result with a row in every table."""
    metadata = replace(one.metadata, options=("visual",), tokens=(("video", 7),))
    return replace(one, metadata=metadata, uncertainties=Uncertainties([0, 2], one.vectors[:2]))


def damage(connection: sqlite3.Connection, statement: str) -> None:
    """Damage rows as another program or a bad disk does, without checks of foreign keys."""
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(statement)
    connection.execute("PRAGMA foreign_keys = ON")


DAMAGES = {
    "a changed number": "UPDATE embeddings SET vector = zeroblob(16) WHERE task = 1 AND position = 1",
    "a short vector": "UPDATE embeddings SET vector = zeroblob(15) WHERE task = 1 AND position = 1",
    "another dimension": "UPDATE embeddings SET vector = zeroblob(8), dim = 2 WHERE task = 1 AND position = 1",
    "a lost vector": "DELETE FROM embeddings WHERE task = 1 AND position = 1",
    "a lost segment": "DELETE FROM segments WHERE task = 1 AND position = 2",
    "all segments lost": "DELETE FROM segments WHERE task = 1",
    "a lost video": "DELETE FROM videos WHERE task = 1",
    "a changed uncertainty": "UPDATE uncertainties SET vector = zeroblob(16) WHERE task = 1 AND position = 2",
    "a short uncertainty": "UPDATE uncertainties SET vector = zeroblob(15) WHERE task = 1 AND position = 2",
    "an uncertainty of another length": "UPDATE uncertainties SET vector = zeroblob(8), dim = 2 WHERE task = 1",
    "a lost uncertainty": "DELETE FROM uncertainties WHERE task = 1 AND position = 0",
    "lost tokens": "DELETE FROM video_tokens WHERE task = 1",
    "not finite": "UPDATE embeddings SET vector = x'0000807f000000000000000000000000' WHERE task = 1 AND position = 0",
}


def test_numbers_whose_squares_have_no_end_are_only_unusual(connection: sqlite3.Connection) -> None:
    huge = embeddings_of(np.array([[1e300, -1e300]]))
    settle_all(connection, settlement(claim_new(connection), Retrieved(huge)))
    assert [(one.text, one.is_warning) for one in verify(connection, deep=True)] == [
        ("vectors are not of unit length", True)
    ]


@pytest.mark.parametrize(("dim", "findings"), [(128, 0), (256, 0), (512, 1)])
def test_a_vector_that_is_the_beginning_of_a_longer_one_need_not_have_unit_length(
    connection: sqlite3.Connection, dim: int, findings: int
) -> None:
    short = embeddings_of(np.full((1, dim), 0.01, np.float32))
    settle_all(connection, settlement(claim_new(connection), Retrieved(short)))
    assert len(list(verify(connection, deep=True))) == findings


def rows_of(connection: sqlite3.Connection, task: int) -> int:
    return sum(
        connection.execute(f"SELECT count(*) FROM {table} WHERE task = ?", (task,)).fetchone()[0] for table in STORED
    )


@pytest.mark.parametrize("statement", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_goes_back_to_pending_without_its_rows(harvested: sqlite3.Connection, statement: str) -> None:
    sound = rows_of(harvested, 2)
    damage(harvested, statement)

    found = examine(harvested)
    repaired = repair(harvested, found.damaged, NOW + 1)

    assert [one.task_id for one in repaired] == [object_id(0)]
    assert row(harvested, 1, "state", "next_attempt_at", "ended_at", "error_code") == (
        "pending",
        0,
        None,
        "stored_damaged",
    )
    assert (rows_of(harvested, 1), rows_of(harvested, 2)) == (0, sound)
    assert row(harvested, 2, "state") == ("harvested",)
    assert [one for one in verify(harvested, deep=True) if not one.is_warning] == []


@pytest.mark.parametrize("statement", DAMAGES.values(), ids=DAMAGES)
def test_a_repaired_task_is_harvested_again(harvested: sqlite3.Connection, statement: str) -> None:
    damage(harvested, statement)
    repair(harvested, examine(harvested).damaged, NOW + 1)

    (task,) = claim(harvested, now_ms=NOW + 2)
    settle_all(harvested, settlement(task, Retrieved(described(embeddings(count=3))), now_ms=NOW + 2))

    assert rows_of(harvested, 1) == rows_of(harvested, 2)
    outcomes = harvested.execute("SELECT endpoint, outcome FROM attempts WHERE task = 1 ORDER BY at, id").fetchall()
    assert outcomes == [("retrieve", "retrieved"), ("verify", "damaged"), ("retrieve", "retrieved")]


@pytest.mark.parametrize("statement", DAMAGES.values(), ids=DAMAGES)
def test_what_the_platform_has_dropped_stays_as_it_is(harvested: sqlite3.Connection, statement: str) -> None:
    damage(harvested, statement)
    before, found = contents(harvested), examine(harvested)

    assert repair(harvested, found.damaged, PAST_DEADLINE) == []
    assert contents(harvested) == before
    assert [one.can_be_had(PAST_DEADLINE) for one in found.damaged] == [False]


def test_a_sound_database_has_nothing_to_repair(harvested: sqlite3.Connection) -> None:
    before = contents(harvested)
    assert examine(harvested).damaged == []
    assert contents(harvested) == before


def by_repairing_first(connection: sqlite3.Connection) -> None:
    repair(connection, examine(connection).damaged, NOW + 1)


def by_claiming(connection: sqlite3.Connection) -> None:
    by_repairing_first(connection)
    assert len(claim(connection, now_ms=NOW + 2)) == 1


@pytest.mark.parametrize("meanwhile", [by_repairing_first, by_claiming])
def test_what_was_changed_since_the_check_is_left_alone(
    harvested: sqlite3.Connection, other: sqlite3.Connection, meanwhile: Callable[[sqlite3.Connection], None]
) -> None:
    damage(harvested, DAMAGES["a changed number"])
    found = examine(harvested)
    meanwhile(other)
    before = contents(harvested)

    assert repair(harvested, found.damaged, NOW + 3) == []
    assert contents(harvested) == before


def test_whoever_works_on_a_task_that_is_put_back_has_lost_it(harvested: sqlite3.Connection) -> None:
    damage(harvested, DAMAGES["a changed number"])
    harvested.execute("UPDATE tasks SET state = 'pending', ended_at = NULL WHERE id = 1")
    (task,) = claim(harvested)

    repair(harvested, examine(harvested).damaged, NOW + 1)

    assert settle_all(harvested, settlement(task, Retrieved(embeddings(count=3)))) == [False]
    assert rows_of(harvested, 1) == 0


def test_sound_rows_of_a_task_that_was_set_back_by_hand_are_no_damage(harvested: sqlite3.Connection) -> None:
    harvested.execute("UPDATE tasks SET state = 'failed' WHERE id = 1")

    found = examine(harvested)

    assert [finding.text for finding in found.findings if not finding.is_warning] == [
        "embeddings are stored, but the task is failed"
    ]
    assert found.damaged == []


def test_an_error_in_the_middle_leaves_the_task_as_it_was(harvested: sqlite3.Connection) -> None:
    damage(harvested, DAMAGES["a changed number"])
    found, before = examine(harvested), contents(harvested)
    harvested.execute("CREATE TEMP TRIGGER fault BEFORE DELETE ON main.videos BEGIN SELECT RAISE(ABORT, 'fault'); END")

    with pytest.raises(sqlite3.IntegrityError, match="fault"):
        repair(harvested, found.damaged, NOW + 1)

    assert contents(harvested) == before


def test_a_check_leaves_no_transaction_open(harvested: sqlite3.Connection) -> None:
    examine(harvested)
    assert not harvested.in_transaction
    in_transaction(harvested, queue.retry)
