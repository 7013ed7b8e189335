"""The last stage of an answer: stores decisions, several in one transaction if they are small or waiting."""

import math
from contextlib import suppress
from dataclasses import dataclass

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import TaskState
from harvester.service.harvest_parts import HarvestParts
from harvester.throttle.memory_budget import Reservation

GROUP_SETTLEMENTS = 64
GROUP_BYTES = 32 * 1024 * 1024
"""Results, and bytes: the most in one transaction, because a longer one would keep other writers waiting."""

COMMIT_EVERY_S = 0.3
"""Seconds after the last commit until which a small result waits for others: a commit writes a dozen pages of 32 KB to
the log, however little it stores. The first result after a pause does not wait."""

SMALL_GROUP_BYTES = 1024 * 1024
"""Bytes: a group of this size does not wait for others."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision to store, and the memory that is reserved for it until then."""

    settlement: Settlement
    reservation: Reservation

    @property
    def size(self) -> int:
        """The bytes in memory until it is written: vectors and texts, or a body that may be kept."""
        embeddings, body = self.settlement.embeddings, self.settlement.body or b""
        return len(body) if embeddings is None else embeddings.number_bytes + len(embeddings.document)


class ResultWriter:
    """Stores decisions, and releases the memory that is reserved for them."""

    def __init__(self, parts: HarvestParts) -> None:
        self._results = parts.results
        self._retry = parts.retry
        self._progress = parts.progress
        self._clock = parts.clock
        self._control = parts.control
        self._transitions = parts.transitions
        self._final_states = parts.final_states
        self._awaits_more = True
        self._following: anyio.CancelScope | None = None

    async def write(self, decided: MemoryObjectReceiveStream[Decided]) -> None:
        """Store decisions until the stream ends."""
        wait_until = -math.inf
        async with decided:
            async for one in decided:
                group = await self._with_following([one], decided, wait_until - self._clock.monotonic())
                await self._store(_with_waiting(group, decided))
                wait_until = self._clock.monotonic() + COMMIT_EVERY_S
                del one, group

    def expect_more(self) -> None:
        """Let small results wait for others, because a request is going out."""
        self._awaits_more = True

    def expect_no_more(self) -> None:
        """Store results without a wait for others until the next request, because no task is due meanwhile."""
        self._awaits_more = False
        if self._following is not None:
            self._following.cancel()

    async def _with_following(
        self, group: list[Decided], stream: MemoryObjectReceiveStream[Decided], wait_s: float
    ) -> list[Decided]:
        """Return the group with the results of the next `wait_s`, while it is small; at once if none is expected."""
        if wait_s > 0 and self._awaits_more:
            size = sum(one.size for one in group)
            with anyio.move_on_after(wait_s) as self._following, suppress(anyio.EndOfStream):
                while len(group) < GROUP_SETTLEMENTS and size < SMALL_GROUP_BYTES:
                    group.append(await stream.receive())
                    size += group[-1].size
        return group

    async def _store(self, group: list[Decided]) -> None:
        settlements = [one.settlement for one in group]
        with self._progress.beats.at_work("write", self._clock.monotonic):
            accepted = await self._retry.run(lambda: self._results.settle(settlements))
            for settlement, is_accepted in zip(settlements, accepted, strict=True):
                if is_accepted:
                    self._record(settlement)
                else:
                    self._transitions.record_stale(settlement)
        for one in group:
            one.reservation.release()
        self._control.record_done(len(group))

    def _record(self, settlement: Settlement) -> None:
        task, state = settlement.task, settlement.decision.state
        self._transitions.record_transition(task, state, settlement.attempt.at_ms, settlement)
        self._final_states.record_stored(settlement.decision)
        if not state.is_open and state is not TaskState.HARVESTED:
            self._final_states.record_end(task)


def _with_waiting(group: list[Decided], stream: MemoryObjectReceiveStream[Decided]) -> list[Decided]:
    size = sum(one.size for one in group)
    while len(group) < GROUP_SETTLEMENTS and size < GROUP_BYTES:
        try:
            decided = stream.receive_nowait()
        except (anyio.WouldBlock, anyio.EndOfStream):
            break
        group.append(decided)
        size += decided.size
    return group
