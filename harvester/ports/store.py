"""The store of a harvest. Each method is one transaction; times are Unix milliseconds.

Each raises StoreBusyError for a problem that may pass (another program locks the store, the disk is full), and another
StoreError for one that will not.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from harvester.domain.limits.endpoint import BudgetLease, RateLimit
from harvester.domain.limits.pause import Pause
from harvester.domain.limits.shared_limits import LimitSnapshot, LimitUpdate
from harvester.domain.planning.processing_time import Key, LifeTable
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.imported import ImportedResult, ImportOutcome
from harvester.domain.tasks.listing import ListedRow, ListedTask, ListSettlement, UnnamedResult
from harvester.domain.tasks.model_gaps import ModelGaps
from harvester.domain.tasks.queue_reports import Deadline, Ends, Troubled
from harvester.domain.tasks.records import HeldLeases, Lease, Settlement
from harvester.domain.tasks.task import ApiVersion, Task, TaskState
from harvester.ports.maintenance import Covered
from harvester.ports.space import FreeSpace, LogReport


class DeadlineSource(Protocol):
    """Has the deadlines of the open tasks."""

    async def deadlines(self, now_ms: int) -> list[tuple[int, int]]:
        """Return deadlines, the nearest first, and how many open tasks have each."""
        ...


class QueueFigures(DeadlineSource, Protocol):
    """Counts of the queue; after `select`, of the selected tasks only."""

    async def counts(self) -> dict[TaskState, int]:
        """Return the number of tasks in each state."""
        ...

    async def next_due_ms(self) -> int | None:
        """Return when the next open task falls due: 0 if one is due now, None if none is open."""
        ...

    async def nearest_deadline(self) -> Deadline | None:
        """Return the nearest deadline of the open tasks."""
        ...

    async def held_by_reason(self, after_ms: int) -> dict[str, int]:
        """Count the tasks that wait for a confirmation until after that time, by reason: UNKNOWN or an error code."""
        ...

    async def states(self, since_ms: int) -> dict[str, TaskState]:
        """Return the states, by task id, of the tasks that are open or have ended since that time."""
        ...

    async def ends(self, since_ms: int) -> list[Ends]:
        """Return the ends other than `harvested` since that time, the most frequent reason first."""
        ...

    async def troubled(self, since_ms: int) -> Troubled | None:
        """Return the open tasks whose last answer since that time was an error; None without any."""
        ...


class TaskQueue(QueueFigures, Protocol):
    """Gives out open tasks, each to one owner at a time, and takes them back.

    A claim is a lease: it names its owner and ends by itself. Each claim raises the fencing number `Task.claim`, and
    the store accepts no result for a task that was claimed again since.
    """

    async def select(self, task_ids: Sequence[str], now_ms: int) -> int:
        """Queue the ids and restrict all later calls to them; return how many were new."""
        ...

    async def due(
        self, now_ms: int, *, limit: int, newest: bool = True, make_due: bool = True, lapsed: bool = True
    ) -> DueTasks:
        """Return up to `limit` due tasks of each open state, the nearest deadline first.

        `newest`: also up to `limit` of the newest pending ones; `make_due`: also those whose back-off ends by now;
        `lapsed`: also those whose lease has ended by now.
        """
        ...

    async def claim(self, lease: Lease, tasks: Sequence[Task]) -> list[Task]:
        """Claim those of the tasks that have not been claimed since they were returned as due; return them."""
        ...

    async def postpone(self, tasks: Sequence[tuple[Task, int]], now_ms: int) -> None:
        """Let tasks that are not claimed wait until the given times."""
        ...

    async def renew(self, lease: Lease) -> int:
        """Prolong the owner's claims; return how many there are."""
        ...

    async def defer(self, tasks: Sequence[tuple[Task, int]]) -> None:
        """Give claimed tasks back, each due again at the given time."""
        ...

    async def release(self, owner: str) -> int:
        """Give the owner's claims back, due at once; return how many there were."""
        ...

    async def held_leases(self) -> list[HeldLeases]:
        """Return the claims of each owner."""
        ...

    async def free(self, dead: Sequence[HeldLeases]) -> int:
        """Make the tasks of dead owners due, unless these have renewed their leases since; return how many."""
        ...

    async def make_all_due(self, now_ms: int) -> None:
        """Make every waiting task due now."""
        ...

    async def make_misdated_due(self, now_ms: int) -> int:
        """Make tasks due that wait too long because a clock was ahead; return how many."""
        ...

    async def release_held(self, limit: int) -> int:
        """Make due up to `limit` tasks that wait for a confirmation, the nearest deadline first; return how many."""
        ...

    async def retract(self, row_ids: Sequence[int]) -> None:
        """Take tasks that are not claimed back from `ready` to `pending`."""
        ...

    async def known_versions(self) -> list[tuple[int, ApiVersion]]:
        """Return the creation times and API versions of the newest tasks whose version is known, the newest last."""
        ...

    async def recent_answers(self, since_ms: int, now_ms: int) -> list[tuple[int, str]]:
        """Return the last requests since that time, the oldest first: the row id of the task, and the outcome."""
        ...

    async def is_heard_since(self, since_ms: int, now_ms: int) -> bool:
        """Return whether any process has had an answer of the API about a task, or in a page, since that time."""
        ...


class ResultStore(Protocol):
    """Stores the results of claimed tasks."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Store a group of results in one transaction; return for each whether it was accepted.

        A result is not accepted, and changes nothing, if its task was claimed again since or is settled already.
        """
        ...

    async def is_queued(self, task_id: str) -> bool:
        """Return whether the store has a task of that id."""
        ...


class ResultImporter(Protocol):
    """Stores results that come from files."""

    async def import_results(self, results: Sequence[ImportedResult], now_ms: int) -> list[ImportOutcome]:
        """Store a group of results in one transaction; return the outcome of each.

        A task becomes harvested, queued first if it is new. One that is harvested already stays as it is, unless the
        result replaces it, and so does one that a process has claimed.
        """
        ...

    async def harvested_among(self, task_ids: Sequence[str]) -> dict[str, int | None]:
        """Return those of the tasks that are harvested, with the bytes of the file that the last import of it read."""
        ...


class ListStore(Protocol):
    """Stores the entries of pages of the account's list."""

    async def listed_rows(self, task_ids: Sequence[str]) -> dict[str, ListedRow]:
        """Return the rows of those tasks that are stored or were forgotten, by task id. Only reads."""
        ...

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        """Store the changes in one transaction and give claimed tasks back; return for each change if it was stored."""
        ...

    async def name_models(self, entries: Sequence[ListedTask], now_ms: int) -> int:
        """Store the models that the entries name for results without one; return how many results they named.

        An entry also fills in what else a result lacks of file, URL, duration and input type, and its checksum covers
        them. A result whose checksum does not match its content stays as it is. A long result takes a transaction of
        its own.
        """
        ...


class ModelStore(Protocol):
    """Knows the results without a model, which only the account's list names."""

    async def unnamed_results(self, now_ms: int, *, limit: int) -> list[UnnamedResult]:
        """Return up to `limit` results without a model for which the list should be asked, the never asked ones first.

        After `models_not_listed` a result waits for as long as it had been stored by then, and for an hour at least;
        it is not returned again once its deadline has passed. Imported results are never returned.
        """
        ...

    async def models_not_listed(self, tasks: Sequence[Task], now_ms: int) -> None:
        """Record that the list was asked for the models of these results and did not name them."""
        ...

    async def model_gaps(self) -> ModelGaps:
        """Return how many stored results have no model."""
        ...


class LimitStore(Protocol):
    """Shares one request budget, and what is known of the limits, among the processes on one store."""

    async def lease_requests(self, limit: RateLimit, count: int, now_ms: int) -> BudgetLease:
        """Take `count` requests out of the shared budget, unless they would go out much later."""
        ...

    async def share_limits(self, update: LimitUpdate, now_ms: int) -> LimitSnapshot:
        """Store what one process has learned of the limits, and return what all processes have."""
        ...


class PauseSource(Protocol):
    """Has the pause that a person has asked for, of the requests of all processes on the store."""

    async def pause(self, now_ms: int) -> Pause | None:
        """Return the pause; None without one, or once its time is over. Only reads."""
        ...


class SpaceWatch(Protocol):
    """Watches the space that the store takes."""

    def free_space(self) -> FreeSpace | None:
        """Return the free and the needed space of the volume; None where the system does not say."""
        ...

    async def tend_log(self) -> LogReport:
        """Cut the log if it is too long or nothing is being written; return how long it is."""
        ...


class StoreUpkeep(SpaceWatch, Protocol):
    """Upkeep that a harvest does every few seconds or less often."""

    async def prune(self, before_ms: int) -> int:
        """Delete a batch of the attempts that were made before that time; return how many."""
        ...

    async def cover(self, after_task: int) -> Covered | None:
        """Fill in and check a batch of results of an older version; None if there are none after that row id."""
        ...

    async def share_processing_times(self, fresh: Mapping[Key, LifeTable]) -> dict[Key, LifeTable]:
        """Add newly learned processing times, and return all that are known."""
        ...


class DiscoveryStore(ListStore, LimitStore, PauseSource, Protocol):
    """The store of a single pass over the account's list."""


class TaskStore(TaskQueue, StoreUpkeep, ModelStore, Protocol):
    """The store of the scheduler."""


class HarvestStore(TaskStore, ResultStore, ResultImporter, ListStore, LimitStore, PauseSource, Protocol):
    """The whole store, open for one harvest."""

    @property
    def path(self) -> Path:
        """The file of the store."""
        ...

    def check_file(self) -> None:
        """Raise MovedFileError if the file at the path is not the one that is open."""
        ...
