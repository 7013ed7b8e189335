from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import anyio
import numpy as np

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.planned_requests import TaskRequest
from harvester.domain.tasks.embeddings import TaskEmbeddings
from harvester.domain.tasks.outcomes import Failed, Outcome, Processing, Ready, Retrieved, Transient
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import RETENTION_MS, Task, TaskState
from harvester.ports.api import Answered, Body, Response
from harvester.ports.spooled_body import SpooledBody
from harvester.service.observer import MAX_REMEMBERED, ReadyTimes
from harvester.service.pipeline import Fetched, Pipeline
from harvester.service.result_writer import Decided, ResultWriter
from harvester.throttle.memory_budget import MemoryBudget, Reservation
from harvester.throttle.throttle import Permit
from tests.support.harvest_parts import harvest_parts
from tests.support.store_builders import embeddings
from tests.support.web_builders import NOW, StandingClock

PENDING = Task(1, "a" * 24, TaskState.PENDING, NOW, NOW + RETENTION_MS)
READY = replace(PENDING, state=TaskState.READY)


def test_the_wait_begins_with_the_first_request_that_said_ready() -> None:
    times = ReadyTimes()

    assert times.record_transition(PENDING, TaskState.READY, 100) is None
    assert times.record_transition(READY, TaskState.READY, 200) is None
    assert times.record_transition(READY, TaskState.HARVESTED, 300) == 100


def test_what_is_retrieved_without_asking_waits_from_its_own_request_on() -> None:
    assert ReadyTimes().record_transition(PENDING, TaskState.HARVESTED, 300) == 300


def test_what_was_ready_before_this_process_began_has_no_known_wait() -> None:
    times = ReadyTimes()

    assert times.record_transition(READY, TaskState.READY, 200) is None
    assert times.record_transition(READY, TaskState.HARVESTED, 300) is None


def test_what_turned_out_not_to_be_ready_begins_anew() -> None:
    times = ReadyTimes()
    times.record_transition(PENDING, TaskState.READY, 100)
    times.record_transition(READY, TaskState.PENDING, 200)

    assert times.record_transition(PENDING, TaskState.HARVESTED, 300) == 300


def test_a_task_that_failed_has_no_wait() -> None:
    assert ReadyTimes().record_transition(PENDING, TaskState.FAILED, 300) is None


def test_the_memory_is_bounded() -> None:
    times = ReadyTimes()
    for key in range(MAX_REMEMBERED + 1):
        times.record_transition(replace(PENDING, row_id=key), TaskState.READY, key)

    assert times.forget(0) is None
    assert times.forget(1) == 1


@dataclass
class Notes:
    answers: list[tuple[Endpoint, str, float, int]] = field(default_factory=list)
    ends: list[tuple[TaskState, float | None, int, int]] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)

    def answered(self, endpoint: Endpoint, outcome: str, duration_s: float, received_bytes: int) -> None:
        self.answers.append((endpoint, outcome, duration_s, received_bytes))

    def ended(
        self,
        state: TaskState,
        *,
        ready_to_stored_s: float | None,
        segments: int,
        stored_bytes: int,
        reason: str | None = None,
    ) -> None:
        self.ends.append((state, ready_to_stored_s, segments, stored_bytes))
        self.reasons.append(reason)


class Parts:
    """Sends no request, decodes to what it was given, accepts or refuses every settlement a second later."""

    workers = 1

    def __init__(self, clock: StandingClock, decoded: TaskEmbeddings, *, accepts: bool) -> None:
        self._clock = clock
        self._decoded = decoded
        self._accepts = accepts

    async def fetch_task(self, task_id: str, permit: Permit, reservation: Reservation, **_how: object) -> Response:
        raise NotImplementedError

    async def decode(self, body: bytes | SpooledBody, encoding: str | None) -> Outcome:
        del body, encoding
        return Retrieved(replace(self._decoded, received_id=PENDING.task_id))

    async def is_queued(self, task_id: str) -> bool:
        raise NotImplementedError

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        self._clock.now_ms += 1000
        return [self._accepts] * len(settlements)


async def observed(*fetched: Fetched, accepts: bool = True) -> Notes:
    """Send answers through the pipeline."""
    notes, clock = Notes(), StandingClock()
    parts = Parts(clock, embeddings(count=3, dim=4), accepts=accepts)
    harvest = harvest_parts(store=parts, api=parts, decoder=parts, clock=clock, observer=notes)
    writer = ResultWriter(harvest)
    pipeline = Pipeline(harvest, writer)
    for one in fetched:
        responses, to_decode = anyio.create_memory_object_stream[Fetched](1)
        settlements, to_write = anyio.create_memory_object_stream[Decided](1)
        async with responses:
            await responses.send(one)
        await pipeline.decode(to_decode, settlements)
        await writer.write(to_write)
    return notes


def answer(task: Task, endpoint: Endpoint, outcome: Outcome | None, body: bytes = b"12345") -> Fetched:
    content = Body(body) if outcome is None else Answered(outcome)
    response = Response(content, duration_ms=250, status=200, size=len(body))
    return Fetched(TaskRequest(endpoint, task), NOW, response, MemoryBudget(0).take())


async def test_an_answer_is_reported_with_its_decoded_outcome() -> None:
    notes = await observed(answer(READY, Endpoint.RETRIEVE, None))

    assert notes.answers == [(Endpoint.RETRIEVE, "retrieved", 0.25, 5)]


async def test_an_end_is_reported_with_the_time_from_the_first_ready_to_the_commit() -> None:
    notes = await observed(answer(PENDING, Endpoint.STATUS, Ready()), answer(READY, Endpoint.RETRIEVE, None))

    stored_bytes = 3 * 4 * np.dtype(np.float32).itemsize
    assert notes.ends == [(TaskState.HARVESTED, 2.0, 3, stored_bytes)]


async def test_an_end_without_a_result_is_reported_with_its_reason() -> None:
    confirmed = replace(READY, doubted_at_ms=NOW - 5_000, error_code="result_expired")

    notes = await observed(answer(confirmed, Endpoint.RETRIEVE, Failed("Gone.", "result_expired")))

    assert [state for state, *_ in notes.ends] == [TaskState.EXPIRED]
    assert notes.reasons == ["result_expired"]


async def test_what_goes_on_is_no_end() -> None:
    notes = await observed(
        answer(PENDING, Endpoint.STATUS, Processing()), answer(PENDING, Endpoint.STATUS, Transient("reset", "reset"))
    )

    assert notes.ends == []
    assert [outcome for _, outcome, _, _ in notes.answers] == ["processing", "transient"]


async def test_a_result_that_the_store_refused_is_an_answer_and_no_end() -> None:
    notes = await observed(answer(READY, Endpoint.RETRIEVE, None), accepts=False)

    assert (len(notes.answers), notes.ends) == (1, [])
