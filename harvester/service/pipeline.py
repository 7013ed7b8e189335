"""The way of an answer: fetch → decode and decide → write, with a bounded stream between the stages."""

import math
from contextlib import suppress
from dataclasses import dataclass

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from harvester.api.response import Answered, Body, Response
from harvester.domain.planning.decisions import decide
from harvester.domain.planning.plan import TaskRequest
from harvester.domain.tasks.dead_letter import MAX_PAYLOAD_BYTES
from harvester.domain.tasks.embeddings import MediaMetadata, TaskEmbeddings
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
    Transient,
)
from harvester.domain.tasks.records import Attempt, Settlement
from harvester.domain.tasks.task import Task, TaskState
from harvester.domain.tasks.task_id import is_same_id
from harvester.service.conditions import set_condition
from harvester.service.harvest_parts import HarvestParts
from harvester.service.observer import ReadyTimes
from harvester.throttle.memory_budget import Reservation
from harvester.throttle.throttle import Permit

GROUP_SETTLEMENTS = 32
GROUP_BYTES = 32 * 1024 * 1024
"""What one transaction holds at most: a longer one would keep other writers waiting."""

COMMIT_EVERY_S = 0.3
"""A small result waits that long after the last commit for others: a commit writes a dozen pages of 32 KB to the log,
however little it stores. The first one after a pause does not wait."""

SMALL_GROUP_BYTES = 1024 * 1024
"""A group that stores this much is not worth a wait."""

CONDITION = "api"

MAX_KNOWN_STATUSES = 50
"""After so many different ones a further unknown status is no news."""

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True)
class Fetched:
    """An action and what came back."""

    action: TaskRequest
    asked_at_ms: int
    response: Response
    hold: Reservation
    key: str | None = None
    """The fingerprint of the API key that it was asked with."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What is to be stored, and the memory that it holds until then."""

    settlement: Settlement
    hold: Reservation


class Pipeline:
    """Carries answers from the network into the store."""

    def __init__(self, parts: HarvestParts) -> None:
        self._api = parts.task_api
        self._decoder = parts.decoder
        self._results = parts.results
        self._breaker = parts.breaker
        self._retry = parts.retry
        self._planner = parts.planner
        self._progress = parts.progress
        self._clock = parts.clock
        self._control = parts.control
        self._rng = parts.new_rng()
        self._observer = parts.observer
        self._final_states = parts.final_states
        self._ready = ReadyTimes()
        self._unknown_statuses: set[str] = set()
        self._awaits_more = True
        self._following: anyio.CancelScope | None = None

    @property
    def decoding_concurrency(self) -> int:
        """How many answers are worth decoding at a time: one more for each worker, so that none waits for work."""
        return self._decoder.workers * 2

    async def fetch(
        self, action: TaskRequest, permit: Permit, hold: Reservation, responses: MemoryObjectSendStream[Fetched]
    ) -> None:
        """Send one request and pass its answer on, with its memory; waits while the next stage is full."""
        self._awaits_more = True
        asked_at_ms = self._clock.wall_ms()
        self._progress.requests[action.endpoint] += 1
        try:
            key = self._final_states.key()
            response = await self._api.fetch_task(
                action.task.task_id, permit, hold, is_fresh=action.is_fresh, version=action.version
            )
            self._progress.bytes_received += response.size
            await responses.send(Fetched(action, asked_at_ms, response, hold, key))
        except BaseException:
            hold.release()
            raise

    async def decode(
        self, responses: MemoryObjectReceiveStream[Fetched], decided: MemoryObjectSendStream[Decided]
    ) -> None:
        """Turn answers into decisions until there are no more."""
        async with responses, decided:
            async for fetched in responses:
                # Nothing here may refer to the vectors while this waits for the next answer: they are megabytes.
                await decided.send(await self._decided(fetched))

    async def write(self, decided: MemoryObjectReceiveStream[Decided]) -> None:
        """Store decisions, several in one transaction where they are small or waiting, until there are no more."""
        wait_until = -math.inf
        async with decided:
            async for one in decided:
                group = await self._with_following([one], decided, wait_until - self._clock.monotonic())
                await self._store(_with_waiting(group, decided))
                wait_until = self._clock.monotonic() + COMMIT_EVERY_S
                del one, group

    async def _decided(self, fetched: Fetched) -> Decided:
        with self._progress.beats.at_work("decode", self._clock.monotonic):
            decided = Decided(await self._settlement(fetched), fetched.hold)
        if not isinstance(fetched.response.content, Answered):
            fetched.response.content.close()
        decided.hold.shrink_to(_size(decided))
        return decided

    async def _with_following(
        self, group: list[Decided], stream: MemoryObjectReceiveStream[Decided], wait_s: float
    ) -> list[Decided]:
        """Return the group with those that come within that time, as long as it is small; at the end without a wait."""
        if wait_s > 0 and self._awaits_more:
            size = sum(map(_size, group))
            with anyio.move_on_after(wait_s) as self._following, suppress(anyio.EndOfStream):
                while len(group) < GROUP_SETTLEMENTS and size < SMALL_GROUP_BYTES:
                    group.append(await stream.receive())
                    size += _size(group[-1])
        return group

    def expect_no_more(self) -> None:
        """Store what comes without a wait for others, until the next request: nothing is due meanwhile."""
        self._awaits_more = False
        if self._following is not None:
            self._following.cancel()

    async def _store(self, group: list[Decided]) -> None:
        settlements = [one.settlement for one in group]
        with self._progress.beats.at_work("write", self._clock.monotonic):
            accepted = await self._retry.run(lambda: self._results.settle(settlements))
            for settlement, is_accepted in zip(settlements, accepted, strict=True):
                self._record(settlement, is_accepted=is_accepted)
        for one in group:
            one.hold.release()
        self._control.record_done(len(group))

    def moved(self, task: Task, state: TaskState, asked_at_ms: int, embeddings: TaskEmbeddings | None = None) -> None:
        """Let displays and statistics know what a request made of a task."""
        self._progress.moved(task.state, state, self._clock.monotonic())
        since_ms = self._ready.moved(task, state, asked_at_ms)
        if not state.is_open:
            self._observer.ended(
                state,
                ready_to_stored_s=None if since_ms is None else max(0, self._clock.wall_ms() - since_ms) / 1000,
                segments=embeddings.count if embeddings is not None else 0,
                stored_bytes=embeddings.vectors.nbytes if embeddings is not None else 0,
            )

    async def _settlement(self, fetched: Fetched) -> Settlement:
        response, action = fetched.response, fetched.action
        content = response.content
        if isinstance(content, Answered):
            outcome, encoding = content.outcome, None
        else:
            outcome, encoding = await self._decoder.decode(content.data, content.encoding), content.encoding
        outcome = await self._understood(action, response.status, outcome)
        attempt = _attempt(fetched, outcome)
        self._observer.answered(action.endpoint, attempt.outcome, response.duration_ms / 1000, attempt.bytes)
        self._judge(outcome)
        self._planner.answered(action.task, outcome, fetched.asked_at_ms)
        self._final_states.record(action.task, outcome)
        now_ms = self._clock.wall_ms()
        circumstances = self._final_states.circumstances(action, outcome, fetched.key, now_ms)
        return Settlement(
            task=action.task,
            decision=decide(action.task, outcome, now_ms, self._rng, self._planner.times, circumstances),
            attempt=attempt,
            settled_at_ms=now_ms,
            embeddings=outcome.embeddings if isinstance(outcome, Retrieved) else None,
            metadata=self._news(action.task, outcome),
            body=_kept_body(response.content) if isinstance(outcome, Invalid | Empty) else None,
            encoding=encoding,
            charged=not isinstance(outcome, Throttled | Refused),
        )

    async def _understood(self, action: TaskRequest, status: int | None, outcome: Outcome) -> Outcome:
        """Return what the answer means; a result that names another task of this database is never this one's."""
        understood = self._final_states.understood(action, status, outcome)
        if not isinstance(understood, Retrieved):
            return understood
        received_id = understood.embeddings.received_id
        if received_id is None or is_same_id(received_id, action.task.task_id):
            return understood
        if not await self._retry.run(lambda: self._results.is_queued(received_id)):
            return understood
        message = f"The result is that of another task here, {received_id!a}."
        return Misrouted(received_id, message)

    def _news(self, task: Task, outcome: Outcome) -> MediaMetadata | None:
        """Return what an answer without embeddings says about a video of which that is not known yet."""
        is_known = task.model_name is not None and task.duration_s is not None
        return outcome.metadata if isinstance(outcome, Ready | Processing) and not is_known else None

    def _judge(self, outcome: Outcome) -> None:
        """Let breaker and scheduler know what the outcome says about the API as a whole."""
        if isinstance(outcome, Transient | Misrouted):
            self._breaker.failed(self._clock.monotonic())
        else:
            self._breaker.succeeded()
        if self._breaker.is_closed:
            set_condition(self._progress, CONDITION, None)
        elif isinstance(outcome, Transient | Misrouted):
            set_condition(self._progress, CONDITION, f"most requests fail, the last with: {outcome.message}")
        if isinstance(outcome, Refused):
            self._control.refuse(outcome)
        known = self._unknown_statuses | _KNOWN_STATUSES
        if isinstance(outcome, Processing) and outcome.status not in known and len(known) < MAX_KNOWN_STATUSES:
            self._unknown_statuses.add(outcome.status)
            log.warning("unknown status, taken for not finished", status=outcome.status)

    def _record(self, settlement: Settlement, *, is_accepted: bool) -> None:
        task, decision, attempt = settlement.task, settlement.decision, settlement.attempt
        bound = log.bind(
            task_id=task.task_id,
            trace_id=attempt.trace_id,
            bytes=attempt.bytes,
            duration_ms=attempt.duration_ms,
        )
        if not is_accepted:
            self._progress.stale += 1
            self._ready.forget(task.key)
            bound.warning("stale result refused: somebody else has this task now")
            return
        self.moved(task, decision.state, attempt.at_ms, settlement.embeddings)
        if decision.state is TaskState.HARVESTED and settlement.embeddings is not None:
            self._progress.segments += settlement.embeddings.count
            received_id = settlement.embeddings.received_id
            if received_id is not None and not is_same_id(received_id, task.task_id):
                bound.warning("the answer names another id", received_id=received_id)
            bound.info("harvested", segments=settlement.embeddings.count)
        elif not decision.state.is_open:
            self._final_states.ended(task)
            bound.info(decision.state.value, code=attempt.code, reason=attempt.message)
        elif decision.problem is not None:
            bound.debug("will be tried again", code=attempt.code, reason=attempt.message)
        else:
            bound.debug("asked", outcome=attempt.outcome)


_KNOWN_STATUSES = {"processing", "pending", "queued", "indexing", "generic_error"}


def _attempt(fetched: Fetched, outcome: Outcome) -> Attempt:
    response = fetched.response
    return Attempt(
        at_ms=fetched.asked_at_ms,
        endpoint=fetched.action.endpoint,
        outcome=outcome.kind,
        http_status=response.status,
        code=outcome.code,
        message=outcome.message,
        trace_id=response.trace_id,
        bytes=response.size,
        duration_ms=response.duration_ms,
    )


def _kept_body(content: Answered | Body) -> bytes:
    # One more byte than is kept: that it was cut must show.
    return b"" if isinstance(content, Answered) else content.beginning(MAX_PAYLOAD_BYTES + 1)


def _with_waiting(group: list[Decided], stream: MemoryObjectReceiveStream[Decided]) -> list[Decided]:
    size = sum(map(_size, group))
    while len(group) < GROUP_SETTLEMENTS and size < GROUP_BYTES:
        try:
            decided = stream.receive_nowait()
        except (anyio.WouldBlock, anyio.EndOfStream):
            break
        group.append(decided)
        size += _size(decided)
    return group


def _size(decided: Decided) -> int:
    """Return what a decision holds in memory until it is written: vectors and texts, or a body that may be kept."""
    embeddings, body = decided.settlement.embeddings, decided.settlement.body or b""
    return len(body) if embeddings is None else embeddings.vectors.nbytes + len(embeddings.document)
