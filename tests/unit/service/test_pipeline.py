"""The stages between network and store: what they hold is counted, and one transaction never holds too much."""

from collections.abc import Callable, Sequence

import anyio
import pytest

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.planned_requests import TaskRequest
from harvester.domain.tasks.outcomes import Empty, Invalid, Outcome, Transient
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import DAY_MS, Task, TaskState
from harvester.ports.api import Body, Response
from harvester.ports.spooled_body import SpooledBody
from harvester.service import result_writer
from harvester.service.clock import SystemClock
from harvester.service.pipeline import Fetched, Pipeline
from harvester.service.result_writer import COMMIT_EVERY_S, Decided, ResultWriter
from harvester.throttle.memory_budget import MemoryBudget, Reservation
from harvester.throttle.throttle import Permit
from tests.support.harvest_parts import harvest_parts

BODY_BYTES = 1_000_000


class Api:
    """Answers with a body that takes `BODY_BYTES`."""

    def __init__(self, file: Callable[[bytes], SpooledBody] | None) -> None:
        self.file = file

    async def fetch_task(self, task_id: str, permit: Permit, reservation: Reservation, **_how: object) -> Response:
        permit.spend()
        body = task_id.encode().ljust(BODY_BYTES)
        await reservation.grow_to(len(body))
        if self.file is None:
            return Response(Body(body), duration_ms=1, status=200, size=len(body))
        return Response(Body(self.file(body)), duration_ms=1, status=200, size=len(body))


class Refusing:
    """Finds each body unacceptable."""

    workers = 1

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    async def decode(self, body: bytes | SpooledBody, encoding: str | None) -> Outcome:
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

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        self.groups.append(len(settlements))
        self.held_bytes.append(self.budget.held_bytes)
        return [True] * len(settlements)


async def carried(outcome: Outcome, answers: int, file: Callable[[bytes], SpooledBody] | None) -> Store:
    """Return the store after `answers` answers of that outcome, all of which had arrived when writing began."""
    budget, clock = MemoryBudget(100 * BODY_BYTES), SystemClock()
    store = Store(budget)
    parts = harvest_parts(store=store, api=Api(file), decoder=Refusing(outcome), clock=clock, budget=budget)
    writer = ResultWriter(parts)
    stages = Pipeline(parts, writer)
    responses, to_decode = anyio.create_memory_object_stream[Fetched](answers)
    decided, to_write = anyio.create_memory_object_stream[Decided](answers)
    for number in range(answers):
        task = Task(number, f"task-{number}", TaskState.READY, added_at_ms=0, expires_at_ms=clock.wall_ms() + DAY_MS)
        await stages.fetch(TaskRequest(Endpoint.RETRIEVE, task), Permit(Endpoint.RETRIEVE), budget.take(), responses)
    responses.close()
    await stages.decode(to_decode, decided)
    await writer.write(to_write)
    assert budget.held_bytes == 0
    return store


@pytest.mark.parametrize("file", [None, SpooledBody.of], ids=["in memory", "in a file"])
@pytest.mark.parametrize("outcome", [Invalid("It is odd."), Empty()])
async def test_a_body_that_may_be_kept_counts_as_held_until_it_is_written(
    outcome: Outcome, file: Callable[[bytes], SpooledBody] | None
) -> None:
    store = await carried(outcome, answers=3, file=file)
    assert store.held_bytes[0] >= 3 * BODY_BYTES


async def test_a_transaction_holds_a_few_megabytes_of_kept_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_writer, "GROUP_BYTES", 2 * BODY_BYTES)
    store = await carried(Invalid("It is odd."), answers=7, file=SpooledBody.of)
    assert store.groups == [2, 2, 2, 1]


class StandingClock(SystemClock):
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


async def written_one_by_one(count: int, pause_s: float, outcome: Outcome) -> list[int]:
    """Return the groups in which answers were written that came one by one, with pauses on a clock that stands."""
    clock, budget = StandingClock(), MemoryBudget(100 * BODY_BYTES)
    store = Store(budget)
    parts = harvest_parts(store=store, api=Api(None), decoder=Refusing(outcome), clock=clock, budget=budget)
    writer = ResultWriter(parts)
    stages = Pipeline(parts, writer)
    responses, to_decode = anyio.create_memory_object_stream[Fetched](1)
    decided, to_write = anyio.create_memory_object_stream[Decided](1)
    async with anyio.create_task_group() as group:
        group.start_soon(stages.decode, to_decode, decided)
        group.start_soon(writer.write, to_write)
        async with responses:
            for number in range(count):
                task = Task(number, f"task-{number}", TaskState.READY, 0, clock.wall_ms() + DAY_MS)
                await stages.fetch(
                    TaskRequest(Endpoint.RETRIEVE, task), Permit(Endpoint.RETRIEVE), budget.take(), responses
                )
                await anyio.wait_all_tasks_blocked()
                clock.now += pause_s
    return store.groups


async def test_small_answers_that_follow_a_commit_share_the_next_one_and_the_end_waits_for_nothing() -> None:
    assert await written_one_by_one(4, 0.0, Transient("reset", "connection_lost")) == [1, 3]


async def test_after_a_pause_an_answer_is_written_at_once() -> None:
    assert await written_one_by_one(3, COMMIT_EVERY_S, Transient("reset", "connection_lost")) == [1, 1, 1]


async def test_a_large_answer_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_writer, "SMALL_GROUP_BYTES", BODY_BYTES)
    assert await written_one_by_one(3, 0.0, Invalid("It is odd.")) == [1, 1, 1]
