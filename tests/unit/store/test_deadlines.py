import random
import sqlite3

import pytest

from harvester.domain.planning.feasibility import Budget, assess
from harvester.domain.tasks.outcomes import Failed
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS
from harvester.store.sqlite import queue
from harvester.store.sqlite.deadlines import deadlines
from harvester.store.sqlite.queries import Scope
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import NOW, add_tasks, claim_new, object_id, settle_all, settlement


def queue_with_deadlines(connection: sqlite3.Connection, times_ms: list[int]) -> None:
    rows = [(f"{number:024x}", at_ms) for number, at_ms in enumerate(times_ms)]
    in_transaction(
        connection,
        lambda connection: connection.executemany("INSERT INTO tasks (task_id, expires_at) VALUES (?, ?)", rows),
    )


def test_an_empty_queue_has_no_deadlines(connection: sqlite3.Connection) -> None:
    assert deadlines(connection, NOW) == []


def test_only_open_tasks_count(connection: sqlite3.Connection) -> None:
    settle_all(connection, settlement(claim_new(connection), Failed("no", "failed")))
    add_tasks(connection, object_id(7))

    assert deadlines(connection, NOW) == [(NOW + RETENTION_MS, 1)]


def test_what_is_past_its_deadline_is_one_entry_that_is_not_ahead(connection: sqlite3.Connection) -> None:
    queue_with_deadlines(connection, [NOW - DAY_MS, NOW - 1, NOW, NOW + 1, NOW + DAY_MS])

    assert deadlines(connection, NOW) == [(NOW, 3), (NOW + 1, 1), (NOW + DAY_MS, 1)]


def test_every_task_is_in_one_slice_that_begins_at_most_a_128th_of_its_time_too_soon(
    connection: sqlite3.Connection,
) -> None:
    rng = random.Random(7)
    times_ms = sorted(
        NOW + rng.choice([60_000, 3_600_000, 7 * DAY_MS, 400 * DAY_MS]) * rng.random() for _ in range(3000)
    )
    exact = [max(NOW + 1, int(at_ms)) for at_ms in times_ms]
    queue_with_deadlines(connection, exact)

    slices = deadlines(connection, NOW)

    counted = [at_ms for at_ms, count in slices for _ in range(count)]
    assert len(counted) == len(exact)
    for counted_at_ms, true in zip(counted, exact, strict=True):
        assert counted_at_ms <= true <= counted_at_ms + max(1000, (counted_at_ms - NOW) / 128)
    assert len(slices) < 2500


@pytest.mark.parametrize("scope", Scope)
def test_the_deadlines_are_those_that_decide(connection: sqlite3.Connection, scope: Scope) -> None:
    ids = [object_id(number, created_ms=NOW - 1000 * (number + 1)) for number in range(50)]
    add_tasks(connection, *ids)
    in_transaction(connection, lambda connection: queue.select(connection, ids[:20]))

    found = assess(deadlines(connection, NOW, scope), NOW, Budget(1 / 86_400), requests_per_task=1.0)

    assert (found.open_tasks, found.at_risk) == ((20, 13) if scope is Scope.SELECTED else (50, 43))
