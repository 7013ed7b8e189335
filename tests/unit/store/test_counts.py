"""Tasks are counted again only after a change, whoever made it."""

import sqlite3
from pathlib import Path

import pytest

from harvester.domain.tasks.outcomes import Failed
from harvester.domain.tasks.task import TaskState
from harvester.store.sqlite import queue
from harvester.store.sqlite.counts import TaskCounter, task_counts
from harvester.store.sqlite.queries import Scope
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import (
    NOW,
    add_tasks,
    claim,
    insert_like_another_program,
    lease,
    object_id,
    settle_all,
    settlement,
    steps_of,
)

QUEUED = 400


@pytest.fixture
def counter(connection: sqlite3.Connection) -> TaskCounter:
    """One that has counted before."""
    add_tasks(connection, *(object_id(number) for number in range(QUEUED)))
    counter = TaskCounter()
    assert counter.count(connection) == task_counts(connection)
    return counter


def test_nothing_is_counted_again_while_nothing_changes(connection: sqlite3.Connection, counter: TaskCounter) -> None:
    assert steps_of(connection, counter.count) < QUEUED
    assert counter.count(connection)[TaskState.PENDING] == QUEUED


def test_the_writes_of_an_idle_daemon_are_no_changes(connection: sqlite3.Connection, counter: TaskCounter) -> None:
    def idle(connection: sqlite3.Connection) -> None:
        queue.import_inserted_rows(connection, NOW)
        queue.make_due(connection, NOW)
        queue.renew(connection, lease("idle"))

    in_transaction(connection, idle)

    assert steps_of(connection, counter.count) < QUEUED


def test_what_this_connection_changes_is_counted(connection: sqlite3.Connection, counter: TaskCounter) -> None:
    settle_all(connection, settlement(claim(connection, limit=1)[0], Failed("no", "failed")))

    assert counter.count(connection) == task_counts(connection)


def test_what_another_program_queues_is_counted(
    connection: sqlite3.Connection, path: Path, counter: TaskCounter
) -> None:
    insert_like_another_program(path, "INSERT INTO tasks (task_id) VALUES ('of another program')")

    assert counter.count(connection)[TaskState.PENDING] == QUEUED + 1


def test_the_selected_tasks_are_counted_apart(connection: sqlite3.Connection, counter: TaskCounter) -> None:
    in_transaction(connection, lambda connection: queue.select(connection, [object_id(1), object_id(2)]))

    assert counter.count(connection, Scope.SELECTED)[TaskState.PENDING] == 2
    assert counter.count(connection)[TaskState.PENDING] == QUEUED


def test_whoever_goes_on_counting_changes_only_his_own(connection: sqlite3.Connection, counter: TaskCounter) -> None:
    counter.count(connection)[TaskState.PENDING] -= 1

    assert counter.count(connection)[TaskState.PENDING] == QUEUED
