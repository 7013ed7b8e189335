"""Rows that are deleted by hand without those that refer to them: found, and mended without losing a result."""

import sqlite3
from dataclasses import replace

import pytest

from harvester.domain.tasks.embeddings import Uncertainties
from harvester.domain.tasks.outcomes import Retrieved
from harvester.store.sqlite.maintenance.half_deleted import mend
from harvester.store.sqlite.maintenance.repair import examine, repair
from harvester.store.sqlite.maintenance.verify import verify
from tests.support.store_builders import (
    NOW,
    add_tasks,
    claim_new,
    contents,
    embeddings,
    object_id,
    row,
    settle_all,
    settlement,
)

FIRST = object_id(0)
CHILDREN = (
    *("videos", "segments", "embeddings", "uncertainties", "video_scopes", "video_options", "video_tokens"),
    *("attempts", "payloads", "listed", "labels", "expedited"),
)


def whole(task_id: str) -> Retrieved:
    """A result with a row in every table, whose document names its task."""
    one = embeddings(count=3)
    metadata = replace(one.metadata, options=("visual",), tokens=(("video", 7),))
    document = f'{{"_id":"{task_id}"}}'.encode()
    uncertainties = Uncertainties([0, 2], one.vectors[:2])
    return Retrieved(replace(one, metadata=metadata, document=document, uncertainties=uncertainties))


@pytest.fixture
def harvested(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Two harvested tasks with rows in all tables, of which tests delete parts of the first."""
    for number in range(2):
        settle_all(connection, settlement(claim_new(connection, number), whole(object_id(number))))
    for task in (1, 2):
        connection.execute("INSERT INTO payloads (task, received_at, body) VALUES (?, 0, x'00')", (task,))
        connection.execute("INSERT INTO listed (task, listed_at) VALUES (?, 0)", (task,))
        connection.execute("INSERT INTO expedited VALUES (?, 0)", (task,))
        connection.execute("INSERT INTO labels VALUES (?, 'show', 'news')", (task,))
    assert left_of_the_first(connection) == list(CHILDREN)
    return connection


def by_hand(connection: sqlite3.Connection, *statements: str) -> None:
    connection.execute("PRAGMA foreign_keys = OFF")
    for statement in statements:
        connection.execute(statement)
    connection.execute("PRAGMA foreign_keys = ON")


def errors(connection: sqlite3.Connection) -> list[str]:
    return [one.text for one in verify(connection, deep=True) if not one.is_warning]


def left_of_the_first(connection: sqlite3.Connection) -> list[str]:
    return [table for table in CHILDREN if any(1 in one[:2] for one in connection.execute(f"SELECT task FROM {table}"))]


def test_a_whole_result_gets_its_deleted_task_back(harvested: sqlite3.Connection) -> None:
    before = contents(harvested)
    seen = row(harvested, 1, "task_id", "state", "expires_at", "ended_at", "source")
    by_hand(harvested, "DELETE FROM tasks WHERE id = 1")
    assert any("of videos belongs to no row of tasks" in text for text in errors(harvested))

    done = mend(harvested)

    assert [(one.task_id, "harvested again" in one.text) for one in done] == [(FIRST, True)]
    assert row(harvested, 1, "task_id", "state", "expires_at", "ended_at", "source") == seen
    assert {**contents(harvested), "tasks": []} == {**before, "tasks": []}
    assert (errors(harvested), mend(harvested)) == ([], [])


REMOVED = {
    "task and video": ("DELETE FROM tasks WHERE id = 1", "DELETE FROM videos WHERE task = 1"),
    "task and segments": ("DELETE FROM tasks WHERE id = 1", "DELETE FROM segments WHERE task = 1"),
    "task and a vector": ("DELETE FROM tasks WHERE id = 1", "DELETE FROM embeddings WHERE task = 1 AND position = 1"),
    "task that was forgotten": ("DELETE FROM tasks WHERE id = 1", f"INSERT INTO forgotten VALUES ('{FIRST}', 0)"),
    **{
        f"all but {table}": (
            "DELETE FROM tasks WHERE id = 1",
            *(f"DELETE FROM {other} WHERE task = 1" for other in CHILDREN if other != table),
        )
        for table in CHILDREN
        if table != "videos"
    },
}


@pytest.mark.parametrize("statements", REMOVED.values(), ids=REMOVED)
def test_what_belongs_to_nothing_is_removed(harvested: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    by_hand(harvested, *statements)
    second = contents(harvested)["tasks"]
    assert errors(harvested)

    done = mend(harvested)

    assert [one.task_id for one in done] == [None]
    assert (left_of_the_first(harvested), contents(harvested)["tasks"], errors(harvested)) == ([], second, [])


@pytest.mark.parametrize("deleted", ["videos", "segments"])
def test_the_rest_of_a_result_is_not_in_the_way_of_the_next(harvested: sqlite3.Connection, deleted: str) -> None:
    by_hand(
        harvested,
        "UPDATE tasks SET state = 'pending', ended_at = NULL WHERE id = 1",
        f"DELETE FROM {deleted} WHERE task = 1",
    )
    assert errors(harvested)

    mend(harvested)
    repair(harvested, examine(harvested).damaged, NOW + 1)

    assert (left_of_the_first(harvested), errors(harvested)) == (
        ["attempts", "payloads", "listed", "labels", "expedited"],
        [],
    )
    assert row(harvested, 1, "state") == ("pending",)


def test_a_result_whose_task_was_queued_anew_stays_until_that_is_harvested(harvested: sqlite3.Connection) -> None:
    by_hand(harvested, "DELETE FROM tasks WHERE id = 1")
    add_tasks(harvested, FIRST)
    assert mend(harvested) == []
    assert "videos" in left_of_the_first(harvested)

    settle_all(harvested, settlement(claim_new(harvested, 0), whole(FIRST)))

    assert [one.task_id for one in mend(harvested)] == [None]
    assert (left_of_the_first(harvested), errors(harvested)) == ([], [])


def test_a_whole_result_of_an_unknown_id_is_left_to_a_person(harvested: sqlite3.Connection) -> None:
    by_hand(harvested, "DELETE FROM tasks WHERE id = 1", "UPDATE videos SET document = '{}' WHERE task = 1")
    before = contents(harvested)

    assert mend(harvested) == []
    assert contents(harvested) == before
    assert errors(harvested)


def test_a_sound_database_stays_as_it_is(harvested: sqlite3.Connection) -> None:
    before = contents(harvested)
    assert (mend(harvested), contents(harvested), errors(harvested)) == ([], before, [])
