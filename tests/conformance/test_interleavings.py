"""Two owners in any interleaving: groups of results, errors and kills in the middle of transactions.

After each step the stored data must equal a model, bit for bit.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

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
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import DAY_MS, Task, TaskState
from harvester.ports.store import HarvestStore
from tests.conformance.actions import Picture, claim, pictures
from tests.conformance.backends import BACKENDS, Backend, Fault
from tests.support.store_builders import LEASE_MS, NOW, embeddings_of, lease, object_id, settlement
from tests.support.thorough import examples

T = TypeVar("T")

OWNERS = ("daemon", "backfill")
IDS = [object_id(number, created_ms=NOW - number * DAY_MS) for number in range(5)]
LATER_IDS = [object_id(number) for number in range(5, 7)]

ANSWERS: dict[str, Outcome] = {
    "ready": Ready(),
    "processing": Processing(),
    "failed": Failed("bad video"),
    "not found": NotFound("no such task"),
    "empty": Empty(),
    "invalid request": InvalidRequest("no such id"),
    "throttled": Throttled("slow down"),
    "refused": Refused("bad key"),
    "transient": Transient("reset", "connection_lost"),
    "invalid": Invalid("segments[0].float: NaN"),
}
VECTORS = {"one": 1, "three": 3}


@dataclass
class Known:
    """A task as it must be in the store."""

    state: TaskState = TaskState.PENDING
    owner: str | None = None
    until_ms: int = 0
    claim: int = 0
    attempts: int = 0


@dataclass(frozen=True)
class Held:
    """A claimed task in a process that may be slow, or may have been restarted."""

    owner: str
    task: Task


def answer(name: str, task: Task) -> Outcome:
    """Return the answer for a claim; its vectors show the task and the claim that they belong to."""
    if name not in VECTORS:
        return ANSWERS[name]
    count, first = VECTORS[name], int(task.task_id[8:], 16) * 1000 + task.claim * 10
    return Retrieved(embeddings_of(np.arange(first, first + count * 2, dtype=np.float32).reshape(count, 2)))


class Interleavings(RuleBasedStateMachine):
    """Two owners in one place. The model changes only when a transaction has committed."""

    backend: Backend

    @initialize()
    def open(self) -> None:
        self.folder = TemporaryDirectory()
        self.place = Path(self.folder.name) / "harvester.db"
        self.runner = asyncio.Runner()
        self.processes = {owner: AsyncExitStack() for owner in OWNERS}
        self.stores = {owner: self.start(owner) for owner in OWNERS}
        self.now_ms = NOW
        self.tasks: dict[str, Known] = {}
        self.vectors: dict[str, list[list[float]]] = {}
        self.held: list[Held] = []
        # Without them nothing happens in most of the stories.
        self.add(IDS)
        self.claim("daemon", 2)
        self.claim("backfill", 2)

    def teardown(self) -> None:
        """Check the whole store: damage done by any step is still there."""
        findings = self.backend.maintenance(self.place).verify(deep=True)
        assert [one for one in findings if not one.is_warning] == []
        for process in self.processes.values():
            self.run(process.aclose())
        self.runner.close()
        self.folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def start(self, owner: str) -> HarvestStore:
        return self.run(self.processes[owner].enter_async_context(self.backend.open(self.place)))

    def pictures(self) -> dict[str, Picture]:
        return pictures(self.backend, self.place, self.tasks)

    @rule(task_ids=st.lists(st.sampled_from(IDS + LATER_IDS), min_size=1, max_size=5))
    def add(self, task_ids: list[str]) -> None:
        with self.backend.edit(self.place) as editor:
            assert editor.add(task_ids, self.now_ms) == len(set(task_ids) - self.tasks.keys())
        for task_id in task_ids:
            self.tasks.setdefault(task_id, Known())

    @rule(passed_ms=st.sampled_from([1, LEASE_MS - 1, LEASE_MS, DAY_MS // 2]))
    def time_passes(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @rule(owner=st.sampled_from(OWNERS), limit=st.integers(1, 4))
    def claim(self, owner: str, limit: int) -> None:
        for task in self.run(claim(self.stores[owner], owner, now_ms=self.now_ms, limit=limit)):
            known = self.tasks[task.task_id]
            # No other owner has it, and none ever had it under that number.
            assert (known.state.is_open, known.owner is None or known.until_ms <= self.now_ms) == (True, True)
            assert task.claim == known.claim + 1
            known.claim, known.owner, known.until_ms = task.claim, owner, self.now_ms + LEASE_MS
            self.held.append(Held(owner, task))
        # The same transaction made all other lapsed tasks due.
        for known in self.tasks.values():
            if known.owner is not None and known.until_ms <= self.now_ms:
                known.owner = None

    @rule(owner=st.sampled_from(OWNERS))
    def renew(self, owner: str) -> None:
        renewed = lease(owner, now_ms=self.now_ms)
        mine = [known for known in self.tasks.values() if known.owner == owner]
        assert self.run(self.stores[owner].renew(renewed)) == len(mine)
        for known in mine:
            known.until_ms = renewed.until_ms

    @rule(data=st.data(), pause_ms=st.sampled_from([1, LEASE_MS]))
    def defer(self, data: st.DataObject, pause_ms: int) -> None:
        held = self.draw_group(data)
        until_ms = self.now_ms + pause_ms
        self.run(self.stores[held[0].owner].defer([(one.task, until_ms) for one in held]))
        for one in held:
            if self.is_valid(one):
                self.tasks[one.task.task_id].owner = None

    @rule(owner=st.sampled_from(OWNERS))
    def release(self, owner: str) -> None:
        mine = [known for known in self.tasks.values() if known.owner == owner]
        assert self.run(self.stores[owner].release(owner)) == len(mine)
        for known in mine:
            known.owner = None

    @rule(states=st.lists(st.sampled_from(TaskState), max_size=4))
    def put_back(self, states: list[TaskState]) -> None:
        with self.backend.edit(self.place) as editor:
            editor.put_back([], states)
        for known in self.tasks.values():
            if known.state in states and not known.state.is_open and known.state is not TaskState.HARVESTED:
                known.state = TaskState.PENDING

    @rule(owner=st.sampled_from(OWNERS))
    def restart(self, owner: str) -> None:
        """End the process and start another under the same name; what it has claimed is still leased."""
        self.run(self.processes[owner].aclose())
        self.stores[owner] = self.start(owner)

    @rule(data=st.data(), is_acknowledged=st.booleans())
    def save(self, data: st.DataObject, *, is_acknowledged: bool) -> None:
        held = self.draw_group(data)
        results = self.draw_results(data, held)
        expected = [self.take_over(one, result) for one, result in zip(held, results, strict=True)]
        store = self.stores[data.draw(st.sampled_from(OWNERS))]

        assert self.run(store.settle(results)) == expected

        if not is_acknowledged:
            # The process does not know, and stores it all again.
            before = self.pictures()
            assert self.run(store.settle(results)) == [False] * len(results)
            assert self.pictures() == before

    @rule(data=st.data(), statements=st.integers(0, 25), is_killed=st.booleans())
    def fail_to_save(self, data: st.DataObject, statements: int, *, is_killed: bool) -> None:
        results = self.draw_results(data, self.draw_group(data))
        owner = data.draw(st.sampled_from(OWNERS))
        before = self.pictures()

        fail = self.backend.kill_next if is_killed else self.backend.fail_next
        fail(self.stores[owner], statements)
        with pytest.raises(Fault):
            self.run(self.stores[owner].settle(results))
        if is_killed:
            self.restart(owner)

        assert self.pictures() == before

    def draw_group(self, data: st.DataObject) -> list[Held]:
        """Some tasks that either owner has claimed at any time, in any state since; each once or more."""
        return data.draw(st.lists(st.sampled_from(self.held), min_size=1, max_size=4))

    def draw_results(self, data: st.DataObject, held: list[Held]) -> list[Settlement]:
        return [
            settlement(
                # The third invalid result is the last.
                replace(one.task, invalid=2),
                answer(data.draw(st.sampled_from([*ANSWERS, *VECTORS])), one.task),
                now_ms=self.now_ms,
                body=b"{}",
            )
            for one in held
        ]

    def is_valid(self, one: Held) -> bool:
        known = self.tasks[one.task.task_id]
        return known.state.is_open and known.claim == one.task.claim

    def take_over(self, one: Held, result: Settlement) -> bool:
        """Change the model as this result must change the store; return whether it must be accepted."""
        if not self.is_valid(one):
            return False
        known = self.tasks[one.task.task_id]
        known.state, known.owner = result.decision.state, None
        known.claim += 1
        known.attempts += 1
        if known.state is TaskState.HARVESTED:
            assert result.embeddings is not None
            self.vectors[one.task.task_id] = result.embeddings.vectors.tolist()
        return True

    @invariant()
    def the_store_is_as_the_model_and_gives_back_what_was_accepted_bit_for_bit(self) -> None:
        found = self.pictures()
        assert {task_id: _known(one) for task_id, one in found.items()} == {
            task_id: replace(known, until_ms=known.until_ms if known.owner else 0)
            for task_id, known in self.tasks.items()
        }
        assert {task_id: _vectors(one.api_json) for task_id, one in found.items() if one.api_json} == self.vectors


def _vectors(api_json: bytes) -> list[list[float]]:
    return [segment["float"] for segment in orjson.loads(api_json)["video_embedding"]["segments"]]


def _known(one: Picture) -> Known:
    """Return the store's data in the form of the model."""
    assert one.details is not None
    task = one.details.task
    return Known(
        TaskState(task["state"]),
        task["lease_owner"],
        task["lease_until"] or 0,
        task["claim"],
        len(one.details.attempts),
    )


@pytest.mark.hypothesis  # a property, which draws more examples in `make test-all`
@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
def test_the_store_keeps_to_the_model_in_any_interleaving(backend: Backend) -> None:
    class OnBackend(Interleavings):
        pass

    OnBackend.backend = backend
    run_state_machine_as_test(OnBackend, settings=settings(examples(60), stateful_step_count=30))
