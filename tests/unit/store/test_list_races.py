"""A page of the list against what other programs do to its rows between the read and the write."""

import random
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedChange, ListedRow, ListedTask, ListSettlement
from harvester.domain.tasks.outcomes import Failed, Processing, Ready
from harvester.domain.tasks.records import Attempt
from harvester.domain.tasks.task import Task, TaskState
from harvester.service.list_settlement import Queued, queue_page, settle_page
from harvester.store.sqlite.store import Store
from tests.support.store_builders import (
    LEASE_MS,
    NOW,
    ListPages,
    add_tasks,
    claim,
    contents,
    object_id,
)

Action = Callable[[sqlite3.Connection], object]

CREATED = NOW - 480_000
ASKED = Attempt(NOW, "list", "", http_status=200)


def listed(outcome: Ready | Failed | Processing, number: int = 0) -> ListedTask:
    return ListedTask(object_id(number), outcome, MediaMetadata("marengo3.0", 12.5, created_at_ms=CREATED))


def queue_while(connection: sqlite3.Connection, action: Action, *page: ListedTask) -> Queued:
    return anyio.run(queue_page, ListPages(connection, partial(action, connection)), page, NOW, random.Random(0))


def settle_while(
    connection: sqlite3.Connection,
    action: Action,
    *page: ListedTask,
    claimed: tuple[Task, ...] = (),
    is_gap: bool = False,
) -> list[ListedChange]:
    settle = partial(
        settle_page,
        finished=claimed if is_gap else (),
        attempt=ASKED,
        rng=random.Random(0),
        times=ProcessingTimes(),
    )
    return anyio.run(settle, ListPages(connection, partial(action, connection)), page, claimed)


def everything(connection: sqlite3.Connection) -> object:
    return contents(connection), connection.execute("SELECT * FROM listed").fetchall()


def ended_by_hand(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE tasks SET state = 'expired', ended_at = ?", [NOW])


def deleted(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("DELETE FROM tasks")
    connection.execute("PRAGMA foreign_keys = ON")


def replaced(connection: sqlite3.Connection) -> None:
    """Another task gets the row id, as happens when the last row is deleted."""
    deleted(connection)
    add_tasks(connection, object_id(9))


ACTIONS = [ended_by_hand, deleted, replaced]

each_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
outcomes = pytest.mark.parametrize("outcome", [Ready(), Processing(), Failed("No sound.")], ids=lambda one: one.kind)


class After:
    """Runs an action, and records what is stored after it."""

    def __init__(self, action: Action) -> None:
        self._action = action
        self.stored: object = None

    def __call__(self, connection: sqlite3.Connection) -> None:
        self._action(connection)
        self.stored = everything(connection)


@each_action
@outcomes
def test_discovery_leaves_a_row_as_another_has_left_it(
    connection: sqlite3.Connection, action: Action, outcome: Ready | Processing | Failed
) -> None:
    add_tasks(connection, object_id(0))
    after = After(action)
    queued = queue_while(connection, after, listed(outcome))
    assert everything(connection) == after.stored
    assert queued == Queued(known=1)


@each_action
@outcomes
def test_the_list_poller_leaves_a_row_as_another_has_left_it(
    connection: sqlite3.Connection, action: Action, outcome: Ready | Processing | Failed
) -> None:
    """The page was requested for the task, the lease has ended, and nothing of the answer is charged to it."""
    add_tasks(connection, object_id(0))
    (mine,) = claim(connection, "mine")
    after = After(action)
    assert settle_while(connection, after, listed(outcome), claimed=(mine,)) == []
    assert everything(connection) == after.stored


@each_action
def test_a_task_that_the_page_does_not_show_stays_as_another_has_left_it(
    connection: sqlite3.Connection, action: Action
) -> None:
    add_tasks(connection, object_id(0), object_id(5, created_ms=NOW + LEASE_MS))
    mine = claim(connection, "mine", limit=1)
    connection.execute("UPDATE tasks SET state = 'harvested' WHERE task_id <> ?", [object_id(0)])
    after = After(action)
    settle_while(connection, after, listed(Processing(), 5), claimed=tuple(mine), is_gap=True)
    assert everything(connection) == after.stored


@each_action
def test_of_a_ready_task_that_is_gone_since_nothing_is_kept(connection: sqlite3.Connection, action: Action) -> None:
    """The page has nothing new to say about it but the video."""
    add_tasks(connection, object_id(0))
    connection.execute("UPDATE tasks SET state = 'ready', created_at = ?", [CREATED])
    (mine,) = claim(connection, "mine")
    after = After(action)
    assert settle_while(connection, after, listed(Ready()), claimed=(mine,)) == []
    assert everything(connection) == after.stored


@pytest.mark.parametrize(("read_ms", "now_ms"), [(NOW + LEASE_MS, 0), (0, NOW + LEASE_MS)])
def test_a_ready_task_that_is_woken_or_postponed_between_gets_its_deadline_and_keeps_its_turn(
    connection: sqlite3.Connection, read_ms: int, now_ms: int
) -> None:
    add_tasks(connection, object_id(0))
    connection.execute("UPDATE tasks SET state = 'ready', next_attempt_at = ?", [read_ms])
    queue_while(
        connection,
        lambda connection: connection.execute("UPDATE tasks SET next_attempt_at = ?", [now_ms]),
        listed(Ready()),
    )
    assert connection.execute("SELECT next_attempt_at, created_at FROM tasks").fetchall() == [(now_ms, CREATED)]


def test_a_page_of_ended_tasks_opens_no_transaction(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(0))
    ended_by_hand(connection)
    pages = ListPages(connection)
    assert anyio.run(queue_page, pages, [listed(Ready())], NOW, random.Random(0)) == Queued(known=1)
    assert anyio.run(queue_page, pages, [], NOW, random.Random(0)) == Queued()
    assert pages.transactions == 0


class Cancelling(Store):
    """The harvest is cancelled when the rows have been read, and the write must wait for its turn."""

    harvest: anyio.CancelScope

    async def listed_rows(self, task_ids: Sequence[str]) -> dict[str, ListedRow]:
        rows = await super().listed_rows(task_ids)
        self.harvest.cancel()
        return rows

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        await anyio.lowlevel.checkpoint()
        return await super().apply_list_page(page)


async def test_a_page_that_has_arrived_is_stored_even_if_the_harvest_is_cancelled_meanwhile(path: Path) -> None:
    async with Cancelling(path) as store:
        with anyio.CancelScope() as store.harvest:
            await queue_page(store, [listed(Ready())], NOW, random.Random(0))
        assert (await store.counts())[TaskState.READY] == 1
