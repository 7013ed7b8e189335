"""Harvests an ended task from its kept body, with the current decoder, without a request or a key."""

import os
import random
import time
from dataclasses import dataclass

from harvester.api.decode.result import Decoded, decode_retrieval
from harvester.domain.planning.decisions import decide
from harvester.domain.tasks.dead_letter import DeadLetter, Payload, PayloadError
from harvester.domain.tasks.outcomes import Processing, Retrieved
from harvester.domain.tasks.records import Attempt, Lease, Settlement
from harvester.domain.tasks.task import Task
from harvester.domain.tasks.wholeness import missing_parts
from harvester.ports.queue_editor import QueueEditor

ENDPOINT = "kept"
"""Stands in the task's attempts in place of the class of a request."""

_LEASE_MS = 60_000
"""Milliseconds: the lease cannot end too soon, because claim and settlement are in the same transaction."""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The result for one task. `problem` is None if it is harvested now; `received_id` is the id in the body."""

    task_id: str
    problem: str | None = None
    segments: int = 0
    received_id: str | None = None


def replay_dead_letter(
    queue: QueueEditor, dead_letter: DeadLetter, *, max_body_bytes: int, now_ms: int
) -> ReplayResult:
    """Decode the kept body of a task and store the result, if it contains one; else the task stays as it is."""
    payload = queue.payload(dead_letter.key)
    if payload is None:
        return ReplayResult(dead_letter.task_id, "Nothing is kept of it any more.")
    if payload.is_cut:
        return ReplayResult(
            dead_letter.task_id, "Only the beginning of the body is kept; `harvester retry` downloads it again."
        )
    started = time.monotonic()
    try:
        outcome = _decoded(payload, max_body_bytes)
    except PayloadError as error:
        return ReplayResult(dead_letter.task_id, str(error))
    if not isinstance(outcome, Retrieved):
        return ReplayResult(dead_letter.task_id, _problem(outcome))
    attempt = Attempt(
        at_ms=now_ms,
        endpoint=ENDPOINT,
        outcome="retrieved",
        bytes=len(payload.body),
        duration_ms=round((time.monotonic() - started) * 1000),
    )
    if not _store(queue, dead_letter, outcome, attempt):
        return ReplayResult(dead_letter.task_id, "The task was put back meanwhile; nothing was stored.")
    return ReplayResult(
        dead_letter.task_id, segments=outcome.embeddings.count, received_id=outcome.embeddings.received_id
    )


def _decoded(payload: Payload, max_body_bytes: int) -> Decoded:
    body, encoding = payload.as_received()
    return decode_retrieval(body, encoding, max_body_bytes)


def _problem(outcome: Decoded) -> str:
    if isinstance(outcome, Processing):
        return f"The body says that the task is not finished: {outcome.status}."
    return "The body holds no embeddings." if outcome.message is None else outcome.message


def _store(queue: QueueEditor, dead_letter: DeadLetter, outcome: Retrieved, attempt: Attempt) -> bool:
    def settlement(task: Task) -> Settlement:
        return Settlement(
            task=task,
            decision=decide(task, outcome, attempt.at_ms, random.Random()),  # noqa: S311  # spreads waits, guards nothing
            attempt=attempt,
            settled_at_ms=attempt.at_ms,
            embeddings=outcome.embeddings,
            warnings=missing_parts(outcome.embeddings, task.retrieve_options or ()),
        )

    lease = Lease(f"kept-{os.getpid()}", attempt.at_ms + _LEASE_MS, attempt.at_ms)
    return queue.settle_ended(lease, dead_letter.task_id, settlement)
