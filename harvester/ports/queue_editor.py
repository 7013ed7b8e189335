"""Changes that commands make in the queue outside a harvest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harvester.domain.limits.pause import Pause
from harvester.domain.tasks.dead_letter import DeadLetter, Payload
from harvester.domain.tasks.labels import Labels
from harvester.domain.tasks.records import Lease, Settlement
from harvester.domain.tasks.task import Task, TaskState
from harvester.domain.tasks.task_list import TaskFilter


@dataclass(frozen=True, slots=True)
class PutBack:
    """How many tasks are pending again, and the state of each named task that is not; None for unknown ones."""

    count: int
    left: dict[str, TaskState | None]


@dataclass(frozen=True, slots=True)
class Widened:
    """The named tasks with a result of the API: which are asked for again, and which stay as they are, and why.

    - `asked_again`: these are `ready` again; their stored results stay until the new ones replace them.
    - `contained`: their results hold already what was named.
    - `past_deadline`: the deadlines (Unix milliseconds) after which the platform has dropped the rest.
    """

    asked_again: list[str] = field(default_factory=list)
    contained: list[str] = field(default_factory=list)
    past_deadline: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expedited:
    """How many tasks come first now; `held` for a confirmation; `left` with their states, None for unknown ones."""

    count: int
    held: list[str]
    left: dict[str, TaskState | None]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many tasks were removed, and the ids of others.

    These are `claimed` by a process, `unknown`, `left` for later, or were forgotten `before`.
    """

    count: int
    claimed: list[str]
    unknown: list[str]
    left: list[str]
    before: list[str]


class QueueEditor(Protocol):
    """An open store. Each method that changes it is one transaction, and raises StoreError."""

    def add(
        self,
        task_ids: Sequence[str],
        now_ms: int,
        options: Sequence[str] | None = None,
        labels: Mapping[str, Labels] | None = None,
    ) -> int:
        """Queue valid ids; return how many of them were new.

        `options` is what version 1 of the API is asked for, also of known tasks that have not ended: none for
        everything, None to leave it as it is. `labels`, by task id, are set also of known tasks; others stay.
        """
        ...

    def pause(self, now_ms: int, until_ms: int | None) -> Pause:
        """Pause the requests of all processes until then, or until `resume`; return the pause.

        A pause that lasts already keeps its beginning and gets this end.
        """
        ...

    def resume(self, now_ms: int) -> Pause | None:
        """End the pause; return it, None if nothing was paused."""
        ...

    def label(self, task_ids: Sequence[str], changes: Labels) -> list[str]:
        """Set labels of queued tasks, an empty value removes one; return the ids that were never queued."""
        ...

    def forget(self, task_ids: Sequence[str], now_ms: int, wanted: TaskFilter) -> Forgotten:
        """Remove those of the tasks that meet the filter, with all that belongs to them, and leave tombstones.

        Tasks that a process has claimed stay. A transaction that has removed much leaves the other ids for later.
        """
        ...

    def put_back(
        self, task_ids: Sequence[str], states: Sequence[TaskState], options: Sequence[str] | None = None
    ) -> PutBack:
        """Put ends other than `harvested` back to `pending`: the named tasks, and all in `states`.

        `options` as with `add`.
        """
        ...

    def expedite(self, task_ids: Sequence[str]) -> Expedited:
        """Make open tasks due now, and put them before all others at the next request about each.

        A claimed task stays with its owner. One whose end waits for a confirmation keeps waiting, because two denials
        in a row may have one cause.
        """
        ...

    def widen(self, task_ids: Sequence[str], options: Sequence[str], now_ms: int) -> Widened:
        """Ask again for those results that were retrieved with a filter and lack some of `options`; none for all.

        They are asked for these options and for those that they hold. A result that lacks segments of a stored option,
        or an end without a result, leaves the stored result as it is, and the task is `harvested` again.
        """
        ...

    def narrower(self, task_ids: Sequence[str], options: Sequence[str]) -> list[str]:
        """Return those of the tasks that are harvested and were retrieved without some of `options`; none for all."""
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
