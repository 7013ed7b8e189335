"""The work is flat in the length of the queue, counted in instructions of SQLite's virtual machine."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from harvester.domain.tasks.outcomes import Ready, Retrieved
from harvester.domain.tasks.task import DAY_MS, Task
from harvester.store.sqlite import queue
from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.counts import nearest_deadline, next_due_ms
from harvester.store.sqlite.queries import Scope, query
from harvester.store.sqlite.results import settle
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import LEASE_MS, NOW, claim, embeddings, lease, object_id, settlement, steps_of

SHORT, LONG = 1_000, 100_000

CONSTANT_STEPS = 100
"""The steps that an index may cost that is a level or two deeper."""

# Six of ten tasks are due, two wait, one is known to be ready, one has failed.
FILL = """
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT :count)
INSERT INTO tasks (task_id, state, added_at, expires_at, next_attempt_at, ended_at, error_code, error_message, error_at)
SELECT printf('%024x', n),
       CASE n % 10 WHEN 9 THEN 'ready' WHEN 8 THEN 'failed' ELSE 'pending' END,
       :now - n,
       :now + :day - n,
       CASE WHEN n % 10 IN (6, 7) THEN :now + :day + n ELSE 0 END,
       CASE WHEN n % 10 = 8 THEN :now - n END,
       CASE WHEN n % 10 IN (6, 7, 8) THEN 'code' END,
       CASE WHEN n % 10 IN (6, 7, 8) THEN 'message' END,
       CASE WHEN n % 10 IN (6, 7, 8) THEN :now - n END
FROM numbers
"""

Action = Callable[[sqlite3.Connection], object]


class Queue:
    """A database with `count` tasks, of which another process has claimed three."""

    def __init__(self, path: Path, count: int) -> None:
        self.connection = open_for_writing(path)
        self.connection.execute("PRAGMA synchronous = OFF")
        in_transaction(
            self.connection,
            lambda connection: connection.execute(FILL, {"count": count, "now": NOW, "day": DAY_MS}),
        )
        self.claimed = claim(self.connection, limit=3)
        selected = [f"{number:024x}" for number in range(0, count, 3)]
        in_transaction(self.connection, lambda connection: queue.select(connection, selected))


@contextmanager
def opened(folder: Path, count: int) -> Iterator[Queue]:
    queue = Queue(folder / f"{count}.db", count)
    with closing(queue.connection):
        yield queue


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Queue, Queue]]:
    folder = tmp_path_factory.mktemp("scale")
    with opened(folder, SHORT) as short, opened(folder, LONG) as long:
        yield short, long


def import_make_due_and_claim(connection: sqlite3.Connection) -> None:
    queue.import_inserted_rows(connection, NOW)
    queue.make_due(connection, NOW)
    assert len(queue.claim(connection, lease("other"), queue.due(connection, NOW, limit=8).pending[:8])) == 8


def claim_selected(connection: sqlite3.Connection) -> None:
    due = queue.due(connection, NOW, Scope.SELECTED, limit=8)
    assert len(queue.claim(connection, lease("other"), due.pending[:8])) == 8


def want_a_few_and_claim(connection: sqlite3.Connection) -> None:
    """Those whose deadlines are the farthest: in the order of the index, all others come before them."""
    queue.select(connection, [f"{number:024x}" for number in range(100)])
    claim_selected(connection)


def take_over(connection: sqlite3.Connection) -> None:
    queue.make_due(connection, NOW + LEASE_MS)


def last_errors(connection: sqlite3.Connection) -> None:
    assert len(connection.execute(query("last_errors"), {"limit": 5}).fetchall()) == 5


def oldest_open(connection: sqlite3.Connection) -> None:
    assert len(connection.execute(query("oldest_open")).fetchall()) == 1


ACTIONS: dict[str, Action] = {
    "import, make due and claim": import_make_due_and_claim,
    "claim selected": claim_selected,
    "want a few and claim": want_a_few_and_claim,
    "take over": take_over,
    "next due": next_due_ms,
    "next due of the selected": lambda connection: next_due_ms(connection, Scope.SELECTED),
    "nearest deadline": nearest_deadline,
    "renew": lambda connection: queue.renew(connection, lease()),
    "release": lambda connection: queue.release(connection, "daemon"),
    "add": lambda connection: queue.add(connection, [object_id(1), object_id(2)], NOW),
    "retry": lambda connection: queue.retry(connection, task_ids=[f"{8:024x}"]),
    "last errors": last_errors,
    "oldest open": oldest_open,
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_a_hundred_times_as_many_tasks_take_the_same_work(queues: tuple[Queue, Queue], action: Action) -> None:
    short, long = (steps_of(queue.connection, action) for queue in queues)
    assert long <= 2 * short + CONSTANT_STEPS


def test_storing_a_result_takes_the_same_work_in_a_long_queue(queues: tuple[Queue, Queue]) -> None:
    def store(tasks: list[Task]) -> Action:
        ready, harvested, _ = tasks
        group = [settlement(ready, Ready()), settlement(harvested, Retrieved(embeddings()))]
        return lambda connection: settle(connection, group)

    short, long = (steps_of(queue.connection, store(queue.claimed)) for queue in queues)
    assert long <= 2 * short + CONSTANT_STEPS


def test_a_claim_touches_little_more_than_the_tasks_it_returns(queues: tuple[Queue, Queue]) -> None:
    _, long = queues
    assert steps_of(long.connection, import_make_due_and_claim) < 2_000
