"""Two owners, one database, any order of events: what must hold after each of them."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from harvester.domain.tasks.outcomes import (
    Empty,
    Failed,
    Invalid,
    InvalidRequest,
    NotFound,
    Outcome,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
    Transient,
)
from harvester.domain.tasks.task import DAY_MS, OPEN_STATES, Task, TaskState
from harvester.store.sqlite import queue
from harvester.store.sqlite.connection import in_transaction, open_for_writing
from tests.unit.store.builders import (
    LEASE_MS,
    NOW,
    claim,
    contents,
    embeddings_of,
    insert_like_another_program,
    lease,
    object_id,
    settle_all,
    settlement,
)

OWNERS = ("daemon", "backfill")

IDS = [object_id(number, created_ms=NOW - number * DAY_MS) for number in range(4)]
BAD_IDS = ["../admin", "a b", ""]

OUTCOMES: list[Outcome] = [
    Ready(),
    Processing(),
    Failed("bad video"),
    NotFound("no such task"),
    Empty(),
    InvalidRequest("no such id"),
    Throttled("slow down"),
    Refused("bad key"),
    Transient("reset", "connection_lost"),
    Invalid("segments[0].float: NaN"),
    *(Retrieved(embeddings_of(np.full((count, 2), count, np.float32))) for count in (1, 3)),
]

PER_TASK = """
SELECT tasks.id, tasks.state, videos.segment_count,
       (SELECT count(*) FROM segments WHERE segments.task = tasks.id),
       (SELECT count(*) FROM embeddings WHERE embeddings.task = tasks.id),
       (SELECT count(*) FROM segment_vectors WHERE segment_vectors.task_id = tasks.task_id)
FROM tasks LEFT JOIN videos ON videos.task = tasks.id
"""

LEASED = """
SELECT id, state, lease_owner, claim, lease_until, next_attempt_at FROM tasks WHERE lease_owner IS NOT NULL
"""


@dataclass(frozen=True)
class Held:
    """A lease as this test expects it in the table."""

    owner: str
    claim: int
    until_ms: int


class Story(RuleBasedStateMachine):
    """Adds, claims, renewals, results and the passing of time, with a model of who holds what."""

    claims = Bundle("claims")

    @initialize()
    def open(self) -> None:
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "harvester.db"
        self.connections = {owner: open_for_writing(self.path) for owner in OWNERS}
        for connection in self.connections.values():
            connection.execute("PRAGMA synchronous = OFF")
        self.now_ms = NOW
        self.held: dict[int, Held] = {}
        self.numbers: dict[int, int] = {}
        self.settled: set[tuple[int, int]] = set()
        self.harvested: dict[int, Any] = {}

    def teardown(self) -> None:
        for connection in self.connections.values():
            connection.close()
        self.folder.cleanup()

    @rule(task_ids=st.lists(st.sampled_from(IDS), max_size=3))
    def add(self, task_ids: list[str]) -> None:
        in_transaction(self.connections["daemon"], lambda connection: queue.add(connection, task_ids, self.now_ms))

    @rule(task_id=st.sampled_from(IDS + BAD_IDS))
    def insert(self, task_id: str) -> None:
        insert_like_another_program(self.path, "INSERT OR IGNORE INTO tasks (task_id) VALUES (?)", [task_id])

    @rule(passed_ms=st.sampled_from([1, 4_000, LEASE_MS - 1, LEASE_MS, DAY_MS]))
    def time_passes(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @rule(target=claims, owner=st.sampled_from(OWNERS), limit=st.integers(1, 3))
    def claim(self, owner: str, limit: int) -> Any:
        tasks = claim(self.connections[owner], owner, now_ms=self.now_ms, limit=limit)
        self.held = {key: held for key, held in self.held.items() if held.until_ms > self.now_ms}
        for task in tasks:
            assert task.key not in self.held
            assert task.claim > self.numbers.get(task.key, 0)
            assert task.task_id in IDS
            self.numbers[task.key] = task.claim
            self.held[task.key] = Held(owner, task.claim, self.now_ms + LEASE_MS)
        return multiple(*((owner, task) for task in tasks))

    @rule(owner=st.sampled_from(OWNERS))
    def renew(self, owner: str) -> None:
        until = lease(owner, now_ms=self.now_ms)
        mine = [key for key, held in self.held.items() if held.owner == owner]
        assert in_transaction(self.connections[owner], lambda connection: queue.renew(connection, until)) == len(mine)
        for key in mine:
            self.held[key] = Held(owner, self.held[key].claim, until.until_ms)

    @rule(owner=st.sampled_from(OWNERS))
    def release(self, owner: str) -> None:
        mine = [key for key, held in self.held.items() if held.owner == owner]
        released = in_transaction(self.connections[owner], lambda connection: queue.release(connection, owner))
        assert released == len(mine)
        for key in mine:
            del self.held[key]

    @rule(claimed=claims, outcome=st.sampled_from(OUTCOMES))
    def settle(self, claimed: tuple[str, Task], outcome: Outcome) -> None:
        owner, task = claimed
        # Of the last claim, and once: also when its lease has ended and nobody has taken the task over.
        is_valid = self.numbers[task.key] == task.claim and (task.key, task.claim) not in self.settled
        result = settlement(task, outcome, now_ms=self.now_ms, body=b"{}")
        before = contents(self.connections[owner])
        assert settle_all(self.connections[owner], result) == [is_valid]
        if is_valid:
            self.settled.add((task.key, task.claim))
            self.held.pop(task.key, None)
        else:
            assert contents(self.connections[owner]) == before

    @rule(states=st.lists(st.sampled_from(TaskState), max_size=3), task_ids=st.lists(st.sampled_from(IDS), max_size=2))
    def retry(self, states: list[TaskState], task_ids: list[str]) -> None:
        in_transaction(
            self.connections["backfill"],
            lambda connection: queue.retry(connection, task_ids=task_ids, states=states),
        )

    @rule(owner=st.sampled_from(OWNERS))
    def restart(self, owner: str) -> None:
        """The process dies, and another one starts under the same name; what it held is still leased."""
        self.connections[owner].close()
        self.connections[owner] = open_for_writing(self.path)
        self.connections[owner].execute("PRAGMA synchronous = OFF")

    @invariant()
    def every_task_is_open_or_completely_stored_or_an_end_without_segments(self) -> None:
        for _, state, expected, segments, vectors, in_view in self.connections["daemon"].execute(PER_TASK):
            if state == TaskState.HARVESTED:
                assert expected > 0
                assert {segments, vectors, in_view} == {expected}
            else:
                assert (expected, segments, vectors, in_view) == (None, 0, 0, 0)

    @invariant()
    def what_is_harvested_stays_as_it_is(self) -> None:
        tables = contents(self.connections["backfill"])
        videos = {video[0]: video for video in tables["videos"]}
        states = {task[0]: task[2] for task in tables["tasks"]}
        assert {key: videos[key] for key in self.harvested} == self.harvested
        assert {key for key, state in states.items() if state == TaskState.HARVESTED} == set(videos)
        self.harvested = videos

    @invariant()
    def the_table_agrees_about_who_holds_what(self) -> None:
        rows = self.connections["daemon"].execute(LEASED)
        found = {}
        for key, state, owner, number, until_ms, due_ms in rows:
            assert (state in OPEN_STATES, due_ms) == (True, until_ms)
            found[key] = Held(owner, number, until_ms)
        assert found == self.held

    @invariant()
    def impossible_ids_never_become_claimable(self) -> None:
        with closing(self.connections["daemon"].execute("SELECT task_id, expires_at FROM tasks")) as rows:
            assert [task_id for task_id, expires_at in rows if task_id in BAD_IDS and expires_at is not None] == []

    @invariant()
    def each_accepted_result_is_one_attempt(self) -> None:
        (count,) = self.connections["daemon"].execute("SELECT count(*) FROM attempts").fetchone()
        assert count == len(self.settled)


TestStory = Story.TestCase
TestStory.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,  # the disk may be slow
    suppress_health_check=[HealthCheck.too_slow],
)
