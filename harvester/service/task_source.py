"""What the scheduler needs of the store."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from harvester.domain.planning.plan import DueTasks
from harvester.domain.planning.processing_time import Key, LifeTable
from harvester.domain.tasks.queue_reports import Deadline
from harvester.domain.tasks.records import HeldLeases, Lease
from harvester.domain.tasks.task import Task, TaskState
from harvester.ports.maintenance import Covered
from harvester.service.room import RoomSource


class TaskSource(RoomSource, Protocol):
    """Where open tasks come from, and are kept meanwhile; see `harvester.store.sqlite.store.Store`."""

    async def due(
        self, now_ms: int, *, limit: int, newest: bool = True, wake: bool = True, lapsed: bool = True
    ) -> DueTasks:
        """Return due tasks; `lapsed`: also what is claimed by a lease that has ended by now."""
        ...

    async def claim(self, lease: Lease, tasks: Sequence[Task]) -> list[Task]:
        """Claim tasks that were due."""
        ...

    async def postpone(self, tasks: Sequence[tuple[Task, int]], now_ms: int) -> None:
        """Let tasks that are not claimed sleep until a time."""
        ...

    async def wake_misdated(self, now_ms: int) -> int:
        """Make due what sleeps too long as a clock was ahead; return how many."""
        ...

    async def held_leases(self) -> list[HeldLeases]:
        """Return what each owner has in hand."""
        ...

    async def free(self, dead: Sequence[HeldLeases]) -> int:
        """Make due what dead owners had in hand."""
        ...

    async def withdraw(self, keys: Sequence[int]) -> None:
        """Take tasks that nobody has in hand back from `ready` to `pending`."""
        ...

    async def share_processing_times(self, fresh: Mapping[Key, LifeTable]) -> dict[Key, LifeTable]:
        """Add what was learned of processing times, and return all that is known."""
        ...

    async def wake_early(self, now_ms: int) -> None:
        """Make every waiting task due now."""
        ...

    async def release_held(self, limit: int) -> int:
        """Make due tasks that wait for a confirmation; return how many."""
        ...

    async def held_by_reason(self, after_ms: int) -> dict[str, int]:
        """Count the tasks that wait for a confirmation until after a time, by reason."""
        ...

    async def recent_answers(self, since_ms: int, now_ms: int) -> list[tuple[int, str]]:
        """Return the last requests since a time: the row id of the task, and the outcome."""
        ...

    async def renew(self, lease: Lease) -> int:
        """Prolong the owner's claims; return how many there are."""
        ...

    async def defer(self, tasks: Sequence[tuple[Task, int]]) -> None:
        """Give claimed tasks back, each due again at a time."""
        ...

    async def release(self, owner: str) -> int:
        """Give the owner's claims back."""
        ...

    async def prune(self, before_ms: int) -> int:
        """Forget a batch of old attempts; return how many."""
        ...

    async def cover(self, after_task: int) -> Covered | None:
        """Give a batch of what an older version stored its checksum; None if there are none behind that row."""
        ...

    async def counts(self) -> dict[TaskState, int]:
        """Count tasks by state."""
        ...

    async def next_due_ms(self) -> int | None:
        """Return when the next open task falls due: 0 if one is due now, None if none is open."""
        ...

    async def nearest_deadline(self) -> Deadline | None:
        """Return the nearest deadline of the open tasks."""
        ...

    async def deadlines(self, now_ms: int) -> list[tuple[int, int]]:
        """Return deadlines, the nearest first, and how many open tasks have each."""
        ...
