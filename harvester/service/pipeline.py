"""The first two stages of an answer: fetch, then decode and decide. A bounded stream leads to each next stage."""

from dataclasses import dataclass

from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from harvester.domain.planning.answer_match import VERSION_NOT_SERVED, match_answer
from harvester.domain.planning.decisions import decide, is_known_by
from harvester.domain.planning.planned_requests import TaskRequest
from harvester.domain.tasks.dead_letter import MAX_PAYLOAD_BYTES
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.outcomes import (
    Empty,
    Invalid,
    Misrouted,
    Outcome,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
)
from harvester.domain.tasks.records import Attempt, Settlement
from harvester.domain.tasks.retrieve_options import options_to_record, options_to_retrieve
from harvester.domain.tasks.task import Task
from harvester.domain.tasks.task_id import is_same_id
from harvester.domain.tasks.wholeness import missing_parts
from harvester.ports.api import Answered, Body, Response
from harvester.service.harvest_parts import HarvestParts
from harvester.service.result_writer import Decided, ResultWriter
from harvester.throttle.memory_budget import Reservation
from harvester.throttle.throttle import Permit


@dataclass(frozen=True, slots=True)
class Fetched:
    """A request and its answer."""

    request: TaskRequest
    asked_at_ms: int
    response: Response
    reservation: Reservation
    key: str | None = None
    """The fingerprint of the API key that the request was sent with."""


class Pipeline:
    """Carries answers from the network to the writer, see `harvester.service.result_writer`."""

    def __init__(self, parts: HarvestParts, writer: ResultWriter) -> None:
        self._api = parts.task_api
        self._decoder = parts.decoder
        self._results = parts.results
        self._retry = parts.retry
        self._planner = parts.planner
        self._progress = parts.progress
        self._clock = parts.clock
        self._rng = parts.new_rng()
        self._observer = parts.observer
        self._api_health = parts.api_health
        self._final_states = parts.final_states
        self._writer = writer
        self._retrieve_options = parts.retrieve_options

    @property
    def decoding_concurrency(self) -> int:
        """How many answers to decode at a time: two for each worker, so that none waits for work."""
        return self._decoder.workers * 2

    async def fetch(
        self, request: TaskRequest, permit: Permit, reservation: Reservation, responses: MemoryObjectSendStream[Fetched]
    ) -> None:
        """Send one request and pass its answer on with its reservation; wait while the next stage is full."""
        self._writer.expect_more()
        asked_at_ms = self._clock.wall_ms()
        self._progress.requests[request.endpoint] += 1
        try:
            key = self._final_states.key()
            response = await self._api.fetch_task(
                request.task.task_id,
                permit,
                reservation,
                is_fresh=request.is_fresh,
                version=request.version,
                options=options_to_retrieve(request.task, self._retrieve_options, asked_at_ms),
            )
            self._progress.bytes_received += response.size
            await responses.send(Fetched(request, asked_at_ms, response, reservation, key))
        except BaseException:
            reservation.release()
            raise

    async def decode(
        self, responses: MemoryObjectReceiveStream[Fetched], decided: MemoryObjectSendStream[Decided]
    ) -> None:
        """Turn answers into decisions until the stream ends."""
        async with responses, decided:
            async for fetched in responses:
                # No variable may refer to the vectors while this waits for the next answer: they are megabytes.
                await decided.send(await self._decided(fetched))

    async def _decided(self, fetched: Fetched) -> Decided:
        with self._progress.beats.at_work("decode", self._clock.monotonic):
            decided = Decided(await self._settlement(fetched), fetched.reservation)
        if not isinstance(fetched.response.content, Answered):
            fetched.response.content.close()
        decided.reservation.shrink_to(decided.size)
        return decided

    async def _settlement(self, fetched: Fetched) -> Settlement:
        response, request = fetched.response, fetched.request
        content = response.content
        if isinstance(content, Answered):
            outcome, encoding = content.outcome, None
        else:
            outcome, encoding = await self._decoder.decode(content.data, content.encoding), content.encoding
        outcome = await self._understood(request, response.status, outcome)
        attempt = _attempt(fetched, outcome)
        self._observer.answered(request.endpoint, attempt.outcome, response.duration_ms / 1000, attempt.bytes)
        self._api_health.record_outcome(outcome)
        self._planner.record_version(request.task, request.version if is_known_by(outcome) else None)
        self._planner.record_outcome(request.task, outcome, fetched.asked_at_ms)
        self._final_states.record_outcome(request.task, outcome)
        now_ms = self._clock.wall_ms()
        circumstances = self._final_states.circumstances(
            request, outcome, fetched.key, now_ms, is_filtered=bool(response.options)
        )
        is_retrieved = isinstance(outcome, Retrieved)
        return Settlement(
            task=request.task,
            decision=decide(request.task, outcome, now_ms, self._rng, self._planner.times, circumstances),
            attempt=attempt,
            settled_at_ms=now_ms,
            embeddings=outcome.embeddings if isinstance(outcome, Retrieved) else None,
            retrieve_options=options_to_record(request.task, response.options) if is_retrieved else None,
            warnings=missing_parts(outcome.embeddings, response.options) if isinstance(outcome, Retrieved) else (),
            metadata=self._new_metadata(request.task, outcome),
            body=_kept_body(response.content) if isinstance(outcome, Invalid | Empty) else None,
            encoding=encoding,
            charged=not isinstance(outcome, Throttled | Refused) and outcome.code != VERSION_NOT_SERVED,
        )

    async def _understood(self, request: TaskRequest, status: int | None, outcome: Outcome) -> Outcome:
        """Return the meaning of the answer; a result that names another task of this database is never this task's."""
        understood = match_answer(request, status, outcome, self._planner.known_versions)
        if not isinstance(understood, Retrieved):
            return understood
        received_id = understood.embeddings.received_id
        if received_id is None or is_same_id(received_id, request.task.task_id):
            return understood
        if not await self._retry.run(lambda: self._results.is_queued(received_id)):
            return understood
        message = f"The result is that of another task here, {received_id!a}."
        return Misrouted(received_id, message)

    def _new_metadata(self, task: Task, outcome: Outcome) -> MediaMetadata | None:
        """Return the metadata that an answer without embeddings has for the video, unless the task has them already."""
        is_known = task.model_name is not None and task.duration_s is not None
        return outcome.metadata if isinstance(outcome, Ready | Processing) and not is_known else None


def _attempt(fetched: Fetched, outcome: Outcome) -> Attempt:
    response = fetched.response
    return Attempt(
        at_ms=fetched.asked_at_ms,
        endpoint=fetched.request.endpoint,
        outcome=outcome.kind,
        http_status=response.status,
        code=outcome.code,
        message=outcome.message,
        trace_id=response.trace_id,
        bytes=response.size,
        duration_ms=response.duration_ms,
    )


def _kept_body(content: Answered | Body) -> bytes:
    # One byte more than is stored, so that the store recognises a cut body.
    return b"" if isinstance(content, Answered) else content.beginning(MAX_PAYLOAD_BYTES + 1)
