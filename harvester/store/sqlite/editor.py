"""Changes the queue outside a harvest: see `harvester.ports.queue_editor`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from harvester.domain.limits.pause import Pause
from harvester.domain.tasks.dead_letter import DeadLetter, Payload
from harvester.domain.tasks.labels import Labels
from harvester.domain.tasks.records import Lease, Settlement
from harvester.domain.tasks.task import Task, TaskState
from harvester.domain.tasks.task_list import TaskFilter
from harvester.ports.queue_editor import Expedited, Forgotten, PutBack, Widened
from harvester.store.sqlite import queue, widening
from harvester.store.sqlite.connection import Connection, open_for_writing
from harvester.store.sqlite.database_path import check_exists
from harvester.store.sqlite.dead_letters import dead_letters, load_payload
from harvester.store.sqlite.expediting import expedite
from harvester.store.sqlite.forgetting import forget
from harvester.store.sqlite.labels import set_labels, unknown_among
from harvester.store.sqlite.pausing import begin_pause, end_pause
from harvester.store.sqlite.results import settle as settle_group
from harvester.store.sqlite.sqlite_errors import translating_errors
from harvester.store.sqlite.transaction import in_transaction


class SqliteQueueEditor:
    """Changes the queue through an open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self,
        task_ids: Sequence[str],
        now_ms: int,
        options: Sequence[str] | None = None,
        labels: Mapping[str, Labels] | None = None,
    ) -> int:
        """Queue valid ids, with what to retrieve of them and their labels; return how many of them were new."""

        def body(connection: Connection) -> int:
            added = queue.add(connection, task_ids, now_ms)
            if options is not None:
                queue.choose_options(connection, task_ids, options)
            if labels is not None:
                set_labels(connection, labels)
            return added

        return in_transaction(self._connection, body)

    def pause(self, now_ms: int, until_ms: int | None) -> Pause:
        """Pause the requests of all processes until then, or until `resume`; return the pause."""
        return in_transaction(self._connection, lambda connection: begin_pause(connection, now_ms, until_ms))

    def resume(self, now_ms: int) -> Pause | None:
        """End the pause; return it, None if nothing was paused."""
        return in_transaction(self._connection, lambda connection: end_pause(connection, now_ms))

    def label(self, task_ids: Sequence[str], changes: Labels) -> list[str]:
        """Set labels of queued tasks, an empty value removes one; return the ids that were never queued."""

        def body(connection: Connection) -> list[str]:
            set_labels(connection, dict.fromkeys(task_ids, changes))
            return unknown_among(connection, task_ids)

        return in_transaction(self._connection, body)

    def forget(self, task_ids: Sequence[str], now_ms: int, wanted: TaskFilter) -> Forgotten:
        """Remove those of the tasks that meet the filter and are not claimed, and leave tombstones."""
        return in_transaction(self._connection, lambda connection: forget(connection, task_ids, now_ms, wanted))

    def put_back(
        self, task_ids: Sequence[str], states: Sequence[TaskState], options: Sequence[str] | None = None
    ) -> PutBack:
        """Put ends other than `harvested` back to `pending`: the named tasks, and all in `states`."""

        def body(connection: Connection) -> PutBack:
            left = queue.not_ended(connection, task_ids)
            return PutBack(queue.retry(connection, task_ids=task_ids, states=states, options=options), left)

        return in_transaction(self._connection, body)

    def expedite(self, task_ids: Sequence[str]) -> Expedited:
        """Make open tasks due now, and put them before all others at the next request about each."""
        return in_transaction(self._connection, lambda connection: expedite(connection, task_ids))

    def widen(self, task_ids: Sequence[str], options: Sequence[str], now_ms: int) -> Widened:
        """Ask again for those results that were retrieved with a filter and lack some of `options`."""
        return in_transaction(
            self._connection, lambda connection: widening.widen(connection, task_ids, options, now_ms)
        )

    def narrower(self, task_ids: Sequence[str], options: Sequence[str]) -> list[str]:
        """Return those of the tasks that are harvested and were retrieved without some of `options`."""
        return widening.narrower(self._connection, task_ids, options)

    def dead_letters(self) -> list[DeadLetter]:
        """Return the ended tasks whose bodies are stored, without the bodies."""
        return dead_letters(self._connection)

    def payload(self, task_key: int) -> Payload | None:
        """Return the stored body of a result that could not be decoded; None without one."""
        return load_payload(self._connection, task_key)

    def settle_ended(self, lease: Lease, task_id: str, settle: Callable[[Task], Settlement]) -> bool:
        """Put an ended task back, claim it and store the settlement from `settle`; False if it is no longer ended."""

        def body(connection: Connection) -> bool:
            task = queue.claim_ended(connection, lease, task_id)
            return task is not None and settle_group(connection, [settle(task)]) == [True]

        return in_transaction(self._connection, body)


@contextmanager
def open_editor(path: Path, *, must_exist: bool) -> Iterator[SqliteQueueEditor]:
    """Open the database at `path`, or create it unless it `must_exist`. Raises StoreError."""
    with translating_errors(path):
        if must_exist:
            check_exists(path)
        with closing(open_for_writing(path)) as connection:
            yield SqliteQueueEditor(connection)
