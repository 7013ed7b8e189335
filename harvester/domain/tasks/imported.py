"""Results that come from files instead of the API."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from harvester.domain.tasks.embeddings import TaskEmbeddings
from harvester.domain.tasks.records import Attempt, Decision, Settlement
from harvester.domain.tasks.task import Task, TaskState, deadline_ms
from harvester.domain.tasks.wholeness import missing_parts

ResultSource = Literal["file", "bedrock"]
"""A task object of the API, or the output of Amazon Bedrock."""

ENDPOINT = "import"
"""Stands in the task's attempts in place of the class of a request."""


class ImportOutcome(StrEnum):
    """What became of a result.

    `known`: it is stored already. `other`: the task is harvested with other vectors. `claimed`: a harvest works on it.
    """

    STORED = "stored"
    KNOWN = "known"
    CLAIMED = "claimed"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ImportedResult:
    """The result of a task from a file, with every check passed. `replaces`: also what is stored already."""

    task_id: str
    source: ResultSource
    embeddings: TaskEmbeddings
    attempt: Attempt
    replaces: bool = False


def imported_settlement(task: Task, result: ImportedResult, now_ms: int) -> Settlement:
    """Return how a claimed task becomes harvested with the result. `now_ms`: Unix milliseconds."""
    created_at_ms = result.embeddings.metadata.created_at_ms or task.created_at_ms
    decision = Decision(
        state=TaskState.HARVESTED,
        expires_at_ms=deadline_ms(task.task_id, created_at_ms=created_at_ms, added_at_ms=task.added_at_ms),
        created_at_ms=created_at_ms,
        version=task.version,
        seen_with=task.seen_with,
    )
    return Settlement(
        task=task,
        decision=decision,
        attempt=result.attempt,
        settled_at_ms=now_ms,
        embeddings=result.embeddings,
        warnings=missing_parts(result.embeddings),
    )
