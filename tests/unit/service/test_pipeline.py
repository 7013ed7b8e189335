"""The stages between network and store: what they hold is counted, and one transaction never holds too much."""

from collections.abc import Callable

import anyio
import pytest

from harvester.api.client import Reply
from harvester.api.memory_budget import Hold, MemoryBudget
from harvester.api.received import LargeBody
from harvester.api.throttle import Permit
from harvester.domain.breaker import Breaker
from harvester.domain.outcomes import Empty, Invalid, Outcome
from harvester.domain.pacing import Endpoint
from harvester.domain.planning import Action
from harvester.domain.tasks import DAY_MS, Task, TaskState
from harvester.service import pipeline
from harvester.service.clock import SystemClock
from harvester.service.pipeline import Decided, Fetched, Pipeline
from harvester.service.progress import Progress
from harvester.store.settling import Settlement

BODY_BYTES = 1_000_000


class Api:
    """Answers with a body that takes `BODY_BYTES`."""

    def __init__(self, file: Callable[[bytes], LargeBody] | None) -> None:
        self.file = file

    async def ask(self, task_id: str, permit: Permit, hold: Hold, **_how: object) -> Reply:
        permit.spend()
        body = task_id.encode().ljust(BODY_BYTES)
        await hold.grow_to(len(body))
        if self.file is None:
            return Reply(None, duration_ms=1, status=200, body=body)
        return Reply(None, duration_ms=1, status=200, file=self.file(body))


class Refusing:
    """Finds each body unacceptable."""

    workers = 1

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    async def decode(self, body: bytes | LargeBody, encoding: str | None) -> Outcome:
        assert (len(body), encoding) == (BODY_BYTES, None)
        return self.outcome


class Store:
    """Keeps what it was given, and how much memory was held meanwhile."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        self.groups: list[int] = []
        self.held_bytes: list[int] = []

    async def is_queued(self, task_id: str) -> bool:
        raise NotImplementedError

    async def settle(self, settlements: list[Settlement]) -> list[bool]:
        self.groups.append(len(settlements))
        self.held_bytes.append(self.budget.held_bytes)
        return [True] * len(settlements)


async def carried(outcome: Outcome, answers: int, file: Callable[[bytes], LargeBody] | None) -> Store:
    """Return the store after so many answers of that outcome, all of which were there when writing began."""
    budget, clock = MemoryBudget(100 * BODY_BYTES), SystemClock()
    store = Store(budget)
    stages = Pipeline(
        asker=Api(file),
        decoder=Refusing(outcome),
        settler=store,
        breaker=Breaker(),
        progress=Progress(started=clock.monotonic()),
        clock=clock,
        budget=budget,
    )
    replies, to_decode = anyio.create_memory_object_stream[Fetched](answers)
    decided, to_write = anyio.create_memory_object_stream[Decided](answers)
    for number in range(answers):
        task = Task(number, f"task-{number}", TaskState.READY, added_at_ms=0, expires_at_ms=clock.wall_ms() + DAY_MS)
        await stages.fetch(Action(Endpoint.RETRIEVE, task), Permit(Endpoint.RETRIEVE), budget.take(), replies)
    replies.close()
    await stages.decode(to_decode, decided)
    await stages.write(to_write)
    assert budget.held_bytes == 0
    return store


@pytest.mark.parametrize("file", [None, LargeBody.of], ids=["in memory", "in a file"])
@pytest.mark.parametrize("outcome", [Invalid("It is odd."), Empty()])
async def test_a_body_that_may_be_kept_counts_as_held_until_it_is_written(
    outcome: Outcome, file: Callable[[bytes], LargeBody] | None
) -> None:
    store = await carried(outcome, answers=3, file=file)
    assert store.held_bytes[0] >= 3 * BODY_BYTES


async def test_a_transaction_holds_a_few_megabytes_of_kept_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "GROUP_BYTES", 2 * BODY_BYTES)
    store = await carried(Invalid("It is odd."), answers=7, file=LargeBody.of)
    assert store.groups == [2, 2, 2, 1]
