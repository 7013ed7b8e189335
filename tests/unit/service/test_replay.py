"""Kept bodies become harvested tasks, by the same way as fresh ones, or stay what they are."""

import gzip
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from harvester.domain.planning.decisions import decide
from harvester.domain.tasks.dead_letter import DeadLetter
from harvester.domain.tasks.outcomes import Invalid
from harvester.domain.tasks.records import Attempt, Settlement
from harvester.domain.tasks.task import TaskState
from harvester.service.replay import ReplayResult, replay_dead_letter
from harvester.store.sqlite import queue
from harvester.store.sqlite.connection import Connection, open_for_writing
from harvester.store.sqlite.dead_letters import dead_letters
from harvester.store.sqlite.editor import SqliteQueueEditor
from harvester.store.sqlite.results import settle
from harvester.store.sqlite.task_history import rebuild_json, task_details
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import NOW, add_tasks, claim, contents, object_id

FIXTURES = Path(__file__).parents[2] / "fixtures"
GOOD = (FIXTURES / "retrieve_v1_ready.json").read_bytes()
AN_ID = object_id(1)
LATER = NOW + 1_000_000


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with closing(open_for_writing(tmp_path / "harvester.db")) as connection:
        yield connection


def rejected(connection: Connection, body: bytes, encoding: str | None = None) -> DeadLetter:
    """A task whose body today's decoder sees for the first time: an older one did not understand it."""
    add_tasks(connection, AN_ID)
    (task,) = claim(connection)
    outcome = Invalid("segments[0]: unheard of", "segments_invalid")
    third = replace(task, invalid=2)
    settlement = Settlement(
        third,
        decide(third, outcome, NOW, random.Random(0)),
        Attempt(NOW, "retrieve", "invalid"),
        NOW,
        None,
        body,
        encoding,
    )
    assert in_transaction(connection, lambda connection: settle(connection, [settlement])) == [True]
    (dead_letter,) = dead_letters(connection)
    assert dead_letter.state is TaskState.REJECTED
    return dead_letter


def reread(connection: Connection, dead_letter: DeadLetter, max_body_bytes: int = 1 << 20) -> ReplayResult:
    return replay_dead_letter(SqliteQueueEditor(connection), dead_letter, max_body_bytes=max_body_bytes, now_ms=LATER)


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_a_body_that_is_understood_now_is_harvested_with_its_story(
    connection: Connection, encoding: str | None
) -> None:
    dead_letter = rejected(connection, gzip.compress(GOOD) if encoding else GOOD, encoding)

    result = reread(connection, dead_letter)

    story = task_details(connection, AN_ID)
    assert story is not None
    assert story.video is not None
    assert (result.task_id, result.problem, result.segments) == (AN_ID, None, story.video["segment_count"])
    task = story.task
    assert (task["state"], task["ended_at"], task["error_code"], task["lease_owner"]) == (
        "harvested",
        LATER,
        None,
        None,
    )
    assert [(one.endpoint, one.outcome) for one in story.attempts] == [("retrieve", "invalid"), ("kept", "retrieved")]
    assert orjson.loads(rebuild_json(connection, AN_ID) or b"") == orjson.loads(GOOD)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (GOOD.replace(b'"float"', b'"vector"'), "segments[0].float: no numbers."),
        (b'{"status": "ready"}', "The task is ready but the answer holds no segments."),
        (b'{"status": "processing"}', "The body says that the task is not finished: processing."),
        (GOOD[:-40], f"The body was cut after {len(GOOD) - 40} bytes."),
    ],
)
def test_what_is_still_not_understood_stays_and_the_reason_is_reported(
    connection: Connection, body: bytes, problem: str
) -> None:
    dead_letter = rejected(connection, body)
    before = contents(connection)

    result = reread(connection, dead_letter)

    assert result == ReplayResult(AN_ID, problem)
    assert contents(connection) == before


def test_a_cut_body_is_refused_even_where_its_beginning_is_a_result(connection: Connection) -> None:
    dead_letter = rejected(connection, GOOD)
    connection.execute("UPDATE payloads SET is_cut = 1")
    before = contents(connection)

    result = reread(connection, dead_letter)

    assert result.problem == "Only the beginning of the body is kept; `harvester retry` downloads it again."
    assert contents(connection) == before


def test_a_kept_body_that_the_disk_has_damaged_is_reported(connection: Connection) -> None:
    dead_letter = rejected(connection, GOOD)
    connection.execute("UPDATE payloads SET body = x'00112233', encoding = 'deflate'")

    assert str(reread(connection, dead_letter).problem).startswith("The kept body is damaged: ")


def test_the_cap_on_bodies_holds_here_too(connection: Connection) -> None:
    dead_letter = rejected(connection, GOOD)

    assert reread(connection, dead_letter, max_body_bytes=100).problem == (
        "The body is larger than api.max_body_bytes (100)."
    )


def test_a_task_that_was_put_back_meanwhile_is_left_alone(connection: Connection) -> None:
    dead_letter = rejected(connection, GOOD)
    in_transaction(connection, lambda connection: queue.retry(connection, task_ids=[AN_ID]))
    (theirs,) = claim(connection)
    before = contents(connection)

    result = reread(connection, dead_letter)

    assert result.problem == "The task was put back meanwhile; nothing was stored."
    assert contents(connection) == before
    assert theirs.claim == connection.execute("SELECT claim FROM tasks").fetchone()[0]


def test_a_result_that_fails_to_be_stored_leaves_the_task_rejected(connection: Connection) -> None:
    dead_letter = rejected(connection, GOOD)
    before = contents(connection)
    connection.execute(
        "CREATE TEMP TRIGGER fault BEFORE INSERT ON main.embeddings BEGIN SELECT RAISE(ABORT, 'fault'); END"
    )

    with pytest.raises(sqlite3.IntegrityError, match="fault"):
        reread(connection, dead_letter)

    assert contents(connection) == before
