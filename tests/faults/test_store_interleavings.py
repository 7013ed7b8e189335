"""The store under any interleaving: two owners, groups of results, errors and kills in the middle of transactions.

`tests/unit/store/test_whole_story.py` tells who may do what; here every transaction may fail or die at any of its
statements, and what is stored is held to a model, bit for bit.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harvester.domain.tasks.outcomes import Failed, Invalid, Outcome, Processing, Ready, Refused, Retrieved, Transient
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import DAY_MS, Task, TaskState
from harvester.store.sqlite import queue
from harvester.store.sqlite.connection import in_transaction, open_for_writing
from harvester.store.sqlite.maintenance.verify import verify
from harvester.store.sqlite.results import settle
from tests.unit.store.builders import LEASE_MS, NOW, contents, embeddings_of, lease, object_id, settlement

T = TypeVar("T")

OWNERS = ("daemon", "backfill")
IDS = [object_id(number) for number in range(5)]
LATER_IDS = [object_id(number) for number in range(5, 7)]
ANSWERS = ("ready", "processing", "failed", "refused", "transient", "invalid", "one", "three")


class Fault(Exception):  # noqa: N818  # it stands for any error
    """What goes wrong in the middle of a transaction."""


class Fragile:
    """A connection that fails before one of its statements."""

    def __init__(self, connection: sqlite3.Connection, statements: int) -> None:
        self._connection = connection
        self._left = statements

    def __getattr__(self, name: str) -> Any:
        if name in ("execute", "executemany"):
            if self._left == 0:
                raise Fault
            self._left -= 1
        return getattr(self._connection, name)


@dataclass
class Known:
    """A task as it must be in the table."""

    state: TaskState = TaskState.PENDING
    owner: str | None = None
    until_ms: int = 0
    claim: int = 0
    attempts: int = 0


@dataclass(frozen=True)
class Held:
    """A claimed task in the hands of a process that may be slow, or may have been restarted."""

    owner: str
    task: Task


def answer(name: str, task: Task) -> Outcome:
    """What came back; vectors tell which task they belong to, and which claim has brought them."""
    match name:
        case "one" | "three":
            count, first = 1 if name == "one" else 3, int(task.task_id[8:], 16) * 1000 + task.claim * 10
            return Retrieved(embeddings_of(np.arange(first, first + count * 2, dtype=np.float32).reshape(count, 2)))
        case "ready":
            return Ready()
        case "processing":
            return Processing()
        case "failed":
            return Failed("bad video")
        case "refused":
            return Refused("bad key")
        case "transient":
            return Transient("reset", "connection_lost")
    return Invalid("segments[0].float: NaN")


class Interleavings(RuleBasedStateMachine):
    """Two owners on one file. The model changes only when a transaction has committed."""

    @initialize()
    def open(self) -> None:
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "harvester.db"
        self.connections = {owner: self.connect() for owner in OWNERS}
        self.now_ms = NOW
        self.tasks: dict[str, Known] = {}
        self.vectors: dict[str, list[bytes]] = {}
        self.held: list[Held] = []
        # Without them nothing happens in most of the stories.
        self.add(IDS)
        self.claim("daemon", 2)
        self.claim("backfill", 2)

    def teardown(self) -> None:
        for connection in self.connections.values():
            connection.close()
        self.folder.cleanup()

    def connect(self) -> sqlite3.Connection:
        connection = open_for_writing(self.path)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    def commit(self, owner: str, body: Callable[[sqlite3.Connection], T]) -> T:
        return in_transaction(self.connections[owner], body)

    @rule(task_ids=st.lists(st.sampled_from(IDS + LATER_IDS), min_size=1, max_size=5))
    def add(self, task_ids: list[str]) -> None:
        added = self.commit("backfill", lambda connection: queue.add(connection, task_ids, self.now_ms))
        assert added == len(set(task_ids) - self.tasks.keys())
        for task_id in task_ids:
            self.tasks.setdefault(task_id, Known())

    @rule(passed_ms=st.sampled_from([1, LEASE_MS - 1, LEASE_MS, DAY_MS // 2]))
    def time_passes(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @rule(owner=st.sampled_from(OWNERS), limit=st.integers(1, 4))
    def claim(self, owner: str, limit: int) -> None:
        def body(connection: sqlite3.Connection) -> list[Task]:
            queue.wake(connection, self.now_ms)
            due = queue.due(connection, self.now_ms, limit=limit)
            return queue.claim(connection, lease(owner, now_ms=self.now_ms), [*due.ready, *due.pending][:limit])

        for task in self.commit(owner, body):
            known = self.tasks[task.task_id]
            # Nobody has it, and nobody ever had it under that number.
            assert (known.state.is_open, known.owner is None or known.until_ms <= self.now_ms) == (True, True)
            assert task.claim == known.claim + 1
            known.claim, known.owner, known.until_ms = task.claim, owner, self.now_ms + LEASE_MS
            self.held.append(Held(owner, task))
        # Whatever else has lapsed was woken in the same transaction.
        for known in self.tasks.values():
            if known.owner is not None and known.until_ms <= self.now_ms:
                known.owner = None

    @rule(owner=st.sampled_from(OWNERS))
    def renew(self, owner: str) -> None:
        renewed = lease(owner, now_ms=self.now_ms)
        self.commit(owner, lambda connection: queue.renew(connection, renewed))
        for known in self.tasks.values():
            if known.owner == owner:
                known.until_ms = renewed.until_ms

    @rule(data=st.data(), pause_ms=st.sampled_from([1, LEASE_MS]))
    def defer(self, data: st.DataObject, pause_ms: int) -> None:
        held = self.draw_group(data)
        until_ms = self.now_ms + pause_ms
        self.commit(
            held[0].owner,
            lambda connection: queue.defer(connection, [(one.task, until_ms) for one in held]),
        )
        for one in held:
            if self.is_valid(one):
                self.tasks[one.task.task_id].owner = None

    @rule(owner=st.sampled_from(OWNERS))
    def release(self, owner: str) -> None:
        self.commit(owner, lambda connection: queue.release(connection, owner))
        for known in self.tasks.values():
            if known.owner == owner:
                known.owner = None

    @rule(states=st.lists(st.sampled_from(TaskState), max_size=4))
    def retry(self, states: list[TaskState]) -> None:
        self.commit("backfill", lambda connection: queue.retry(connection, states=states))
        for known in self.tasks.values():
            if known.state in states and not known.state.is_open and known.state is not TaskState.HARVESTED:
                known.state = TaskState.PENDING

    @rule(data=st.data(), is_acknowledged=st.booleans())
    def save(self, data: st.DataObject, *, is_acknowledged: bool) -> None:
        held = self.draw_group(data)
        results = self.draw_results(data, held)
        expected = [self.take_over(one, result) for one, result in zip(held, results, strict=True)]
        owner = data.draw(st.sampled_from(OWNERS))

        assert self.commit(owner, lambda connection: settle(connection, results)) == expected

        if not is_acknowledged:
            # The process does not know, and says it all again.
            before = contents(self.connections[owner])
            assert self.commit(owner, lambda connection: settle(connection, results)) == [False] * len(results)
            assert contents(self.connections[owner]) == before

    @rule(data=st.data(), statements=st.integers(0, 25), is_killed=st.booleans())
    def fail_to_save(self, data: st.DataObject, statements: int, *, is_killed: bool) -> None:
        results = self.draw_results(data, self.draw_group(data))
        owner = data.draw(st.sampled_from(OWNERS))
        before = contents(self.connections[owner])

        if is_killed:
            self.die_in_the_middle(owner, results, statements)
        else:
            self.break_in_the_middle(owner, results, statements)

        assert contents(self.connections[owner]) == before

    def die_in_the_middle(self, owner: str, results: list[Settlement], statements: int) -> None:
        """Leave a transaction open, as a killed process does, and start again."""
        self.connections[owner].execute("BEGIN IMMEDIATE")
        with suppress(Fault):
            settle(Fragile(self.connections[owner], statements), results)  # type: ignore[arg-type]
        self.connections[owner].close()
        self.connections[owner] = self.connect()

    def break_in_the_middle(self, owner: str, results: list[Settlement], statements: int) -> None:
        """Let a statement fail, or else the commit."""

        def body(connection: sqlite3.Connection) -> None:
            settle(Fragile(connection, statements), results)  # type: ignore[arg-type]
            raise Fault

        try:
            self.commit(owner, body)
        except Fault:
            return
        raise AssertionError("it did not fail")

    def draw_group(self, data: st.DataObject) -> list[Held]:
        """Some that were claimed at any time, by anybody, whatever has become of them; each once or more."""
        return data.draw(st.lists(st.sampled_from(self.held), min_size=1, max_size=4))

    def draw_results(self, data: st.DataObject, held: list[Held]) -> list[Settlement]:
        return [
            settlement(
                # The third unacceptable result is the last.
                replace(one.task, invalid=2),
                answer(data.draw(st.sampled_from(ANSWERS)), one.task),
                now_ms=self.now_ms,
                body=b"{}",
            )
            for one in held
        ]

    def is_valid(self, one: Held) -> bool:
        known = self.tasks[one.task.task_id]
        return known.state.is_open and known.claim == one.task.claim

    def take_over(self, one: Held, result: Settlement) -> bool:
        """Change the model as this result must change the table; return whether it must be accepted."""
        if not self.is_valid(one):
            return False
        known = self.tasks[one.task.task_id]
        known.state, known.owner = result.decision.state, None
        known.claim += 1
        known.attempts += 1
        if known.state is TaskState.HARVESTED:
            assert result.embeddings is not None
            self.vectors[one.task.task_id] = [vector.tobytes() for vector in result.embeddings.vectors]
        return True

    @invariant()
    def the_table_is_as_the_model(self) -> None:
        rows = self.connections["daemon"].execute(
            "SELECT task_id, state, claim, lease_owner, coalesce(lease_until, 0),"
            " (SELECT count(*) FROM attempts WHERE task = tasks.id) FROM tasks"
        )
        found = {task_id: (TaskState(state), *rest) for task_id, state, *rest in rows}
        assert found == {
            task_id: (known.state, known.claim, known.owner, known.until_ms if known.owner else 0, known.attempts)
            for task_id, known in self.tasks.items()
        }

    @invariant()
    def what_is_stored_is_what_was_accepted_bit_for_bit(self) -> None:
        found: dict[str, list[bytes]] = {}
        for task_id, vector in self.connections["backfill"].execute(
            "SELECT task_id, vector FROM segment_vectors ORDER BY task_id, position"
        ):
            found.setdefault(task_id, []).append(vector)
        assert found == self.vectors

    @invariant()
    def a_deep_look_finds_nothing(self) -> None:
        assert [one for one in verify(self.connections["daemon"], deep=True) if not one.is_warning] == []


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,  # the disk may be slow
    suppress_health_check=[HealthCheck.too_slow],
)
