import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from harvester.domain.planning.queue_sample import QueuedTask
from harvester.domain.tasks.outcomes import Ready
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS
from harvester.store.sqlite import queue, queue_sample
from harvester.store.sqlite.connection import open_for_reading
from harvester.store.sqlite.queue_sample import read_queue_sample
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import (
    LEASE_MS,
    NOW,
    add_tasks,
    claim,
    claim_new,
    insert_like_another_program,
    object_id,
    settle_all,
    settlement,
)

HOUR_MS = 3_600_000


def ids(turns: Sequence[QueuedTask]) -> list[str]:
    return [turn.task.task_id for turn in turns]


def queue_aged(connection: sqlite3.Connection, count: int) -> None:
    add_tasks(connection, *(object_id(number, created_ms=NOW - number * HOUR_MS) for number in range(count)))


def test_an_empty_queue_is_empty(connection: sqlite3.Connection) -> None:
    found = read_queue_sample(connection, NOW)
    assert (found.open_tasks, found.later, found.next_due_ms, found.sampled, found.head) == (0, 0, None, [], [])


def test_the_nearest_deadline_comes_first_and_ready_tasks_are_apart(connection: sqlite3.Connection) -> None:
    settle_all(connection, settlement(claim_new(connection, 9), Ready()))
    queue_aged(connection, 3)

    found = read_queue_sample(connection, NOW)

    assert (found.open_tasks, found.ready_due, found.pending_due, found.later) == (4, 1, 3, 0)
    nearest_first = [object_id(number, created_ms=NOW - number * HOUR_MS) for number in (2, 1)]
    assert ids(found.head)[:2] == ids(found.sampled)[:2] == nearest_first


def test_a_row_of_another_program_has_the_deadline_that_adopting_gives_it(
    connection: sqlite3.Connection, path: Path
) -> None:
    made = NOW - DAY_MS
    insert_like_another_program(
        path, "INSERT INTO tasks (task_id, added_at) VALUES (?, ?)", [object_id(1, created_ms=made), NOW]
    )
    insert_like_another_program(path, "INSERT INTO tasks (task_id, expires_at) VALUES (?, 0)", [object_id(2)])

    before = read_queue_sample(connection, NOW)
    in_transaction(connection, lambda connection: queue.import_inserted_rows(connection, NOW))
    after = read_queue_sample(connection, NOW)

    assert (before.pending_due, [at_ms for at_ms, _ in before.deadlines]) == (
        2,
        [made + RETENTION_MS, after.sampled[1].task.expires_at_ms],
    )
    assert (before.sampled, before.head, before.deadlines) == (after.sampled, after.head, after.deadlines)


def test_an_id_that_would_be_refused_is_no_task_to_do(connection: sqlite3.Connection, path: Path) -> None:
    insert_like_another_program(path, "INSERT INTO tasks (task_id) VALUES ('no id/../at all')")
    queue_aged(connection, 1)

    found = read_queue_sample(connection, NOW)

    assert (found.open_tasks, found.pending_due, len(found.sampled), len(found.head)) == (1, 1, 1, 1)


def test_a_task_in_hand_is_not_due_until_its_lease_has_ended(connection: sqlite3.Connection) -> None:
    queue_aged(connection, 3)
    claim(connection, limit=1)

    held, lapsed = read_queue_sample(connection, NOW), read_queue_sample(connection, NOW + LEASE_MS)

    assert (held.in_hand, held.processes, held.pending_due, held.later, len(held.head)) == (1, 1, 2, 0, 2)
    assert (lapsed.in_hand, lapsed.processes, lapsed.pending_due, len(lapsed.head)) == (0, 0, 3, 3)


def test_a_sleeping_task_is_later_until_its_time_has_come(connection: sqlite3.Connection) -> None:
    queue_aged(connection, 2)
    task = queue.due(connection, NOW, limit=1).pending[0]
    in_transaction(connection, lambda connection: queue.postpone(connection, [(task, NOW + HOUR_MS)], NOW))

    asleep, awake = read_queue_sample(connection, NOW), read_queue_sample(connection, NOW + HOUR_MS)

    assert (asleep.pending_due, asleep.later, asleep.next_due_ms) == (1, 1, NOW + HOUR_MS)
    assert (awake.pending_due, awake.later, awake.next_due_ms) == (2, 0, None)


def test_of_a_long_queue_a_part_stands_for_the_rest(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_sample, "SAMPLE_SIZE", 10)
    queue_aged(connection, 100)

    found = read_queue_sample(connection, NOW)

    assert (found.open_tasks, found.pending_due, found.each, len(found.sampled)) == (100, 100, 10, 10)
    assert sum(count for _, count in found.deadlines) == 100


def test_the_head_has_the_tasks_that_a_harvest_reads(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_sample, "HEAD", 5)
    queue_aged(connection, 24 * 8)
    connection.execute("UPDATE tasks SET next_attempt_at = ?", (NOW - 1,))

    asleep = read_queue_sample(connection, NOW).head
    in_transaction(connection, lambda connection: queue.make_due(connection, NOW))
    awake = read_queue_sample(connection, NOW).head

    looked_at = {task.task_id for task in queue.due(connection, NOW, limit=5).pending}
    assert (len(looked_at), set(ids(asleep)), set(ids(awake))) == (10, looked_at, looked_at)


def test_nothing_is_written(connection: sqlite3.Connection, path: Path) -> None:
    insert_like_another_program(path, "INSERT INTO tasks (task_id) VALUES ('new')")
    queue_aged(connection, 3)
    with closing(open_for_reading(path)) as reader:
        assert read_queue_sample(reader, NOW).open_tasks == 4
    assert connection.execute("SELECT count(*) FROM tasks WHERE expires_at IS NULL").fetchone() == (1,)
