"""Changes that commands make in the queue outside a harvest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from harvester.domain.tasks.dead_letter import DeadLetter, Payload
from harvester.domain.tasks.records import Lease, Settlement
from harvester.domain.tasks.task import Task, TaskState


@dataclass(frozen=True, slots=True)
class PutBack:
    """How many tasks are pending again, and the state of each named task that is not; None for unknown ones."""

    count: int
    left: dict[str, TaskState | None]


class QueueEditor(Protocol):
    """An open store. Each method that changes it is one transaction, and raises StoreError."""

    def add(self, task_ids: Sequence[str], now_ms: int, options: Sequence[str] | None = None) -> int:
        """Queue valid ids; return how many of them were new.

        `options` is what version 1 of the API is asked for, also of known tasks that have not ended: none for
        everything, None to leave it as it is.
        """
        ...

    def put_back(
        self, task_ids: Sequence[str], states: Sequence[TaskState], options: Sequence[str] | None = None
    ) -> PutBack:
        """Put ends other than `harvested` back to `pending`: the named tasks, and all in `states`.

        `options` as with `add`.
        """
        ...

    def dead_letters(self) -> list[DeadLetter]:
        """Return the ended tasks whose bodies are stored, without the bodies."""
        ...

    def payload(self, task_key: int) -> Payload | None:
        """Return the stored body of a result that could not be decoded, by the row id of its task; None without one."""
        ...

    def settle_ended(self, lease: Lease, task_id: str, settle: Callable[[Task], Settlement]) -> bool:
        """Put an ended task back to `pending`, claim it and store the settlement from `settle`, in one transaction.

        Return False, with nothing changed, if the task is no longer ended.
        """
        ...
