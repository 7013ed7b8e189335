"""Listed tasks on their way into the queue."""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from harvester.domain.errors import StoreError
from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.limits.shared_limits import LimitSnapshot, LimitUpdate
from harvester.domain.planning.poll_times import MIN_POLL_WAIT_MS
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Failed, Processing, Ready, Retrieved, Transient
from harvester.domain.tasks.task import RETENTION_MS, TaskState
from harvester.service.list_settlement import Queued, queue_page
from harvester.store.sqlite import limits
from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.database_path import exists
from harvester.store.sqlite.dry_run_store import DryRunStore
from harvester.store.sqlite.late_store import LateStore
from harvester.store.sqlite.task_history import task_details
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import (
    NOW,
    ListPages,
    add_tasks,
    claim,
    claim_new,
    contents,
    embeddings,
    insert_like_another_program,
    object_id,
    row,
    settle_all,
    settlement,
)

CREATED = NOW - 60_000
RNG = random.Random(0)
PROCESSING = Processing("processing", CREATED)


def listed(
    number: int = 0, outcome: Ready | Failed | Processing = PROCESSING, *, created_at_ms: int | None = CREATED
) -> ListedTask:
    metadata = MediaMetadata("marengo3.0", 12.5, "a.mp4", created_at_ms=created_at_ms)
    return ListedTask(object_id(number), outcome, metadata)


def store(connection: sqlite3.Connection, *tasks: ListedTask, now_ms: int = NOW) -> Queued:
    """Queue a page as discovery does."""
    return anyio.run(queue_page, ListPages(connection), tasks, now_ms, RNG)


def columns(connection: sqlite3.Connection, *names: str, number: int = 0) -> tuple[object, ...]:
    (key,) = connection.execute("SELECT id FROM tasks WHERE task_id = ?", [object_id(number)]).fetchone()
    return row(connection, key, *names)


# Unknown ones.


def test_a_ready_task_is_queued_as_ready_with_its_times(connection: sqlite3.Connection) -> None:
    queued = store(connection, listed(outcome=Ready()))
    assert (queued.new_ids, queued.new_states) == ([object_id(0)], {TaskState.READY: 1})
    found = columns(connection, "state", "added_at", "created_at", "expires_at", "next_attempt_at", "ended_at")
    assert found == ("ready", NOW, CREATED, CREATED + RETENTION_MS, 0, None)
    assert [task.task_id for task in claim(connection)] == [object_id(0)]


def test_an_unfinished_task_is_not_asked_about_right_after_the_list_has_shown_it(
    connection: sqlite3.Connection,
) -> None:
    store(connection, listed())
    state, due = columns(connection, "state", "next_attempt_at")
    assert (state, claim(connection)) == ("pending", [])
    assert isinstance(due, int)
    assert due >= NOW + MIN_POLL_WAIT_MS
    assert len(claim(connection, now_ms=due)) == 1


def test_a_task_that_is_listed_as_failed_is_asked_itself_for_the_reason(connection: sqlite3.Connection) -> None:
    queued = store(connection, listed(outcome=Failed("No sound.")))
    assert queued.new_states == {TaskState.FAILED: 1}
    found = columns(connection, "state", "ended_at", "error_code", "error_at")
    assert found == ("ready", None, "listed_failed", NOW)
    assert len(claim(connection)) == 1


def test_without_created_at_the_deadline_is_that_of_the_id(connection: sqlite3.Connection) -> None:
    store(connection, listed(outcome=Ready(), created_at_ms=None))
    assert columns(connection, "created_at", "expires_at") == (None, NOW + RETENTION_MS)


@pytest.mark.parametrize("created_at_ms", [-(10**14), 10**15])
def test_an_absurd_time_does_not_hide_a_task(connection: sqlite3.Connection, created_at_ms: int) -> None:
    store(connection, listed(outcome=Ready(), created_at_ms=created_at_ms))
    assert len(claim(connection)) == 1


def test_what_the_list_tells_is_kept_for_the_story(connection: sqlite3.Connection) -> None:
    store(connection, listed())
    story = task_details(connection, object_id(0))
    assert story is not None
    assert story.listed == {
        "input_type": None,
        "listed_at": NOW,
        "model_name": "marengo3.0",
        "duration": 12.5,
        "input_filename": "a.mp4",
        "input_url": None,
    }


# Known ones.


def test_the_same_page_twice_queues_nothing_twice(connection: sqlite3.Connection) -> None:
    store(connection, listed(0, Ready()), listed(1), listed(2, Failed("No sound.")))
    again = store(connection, listed(0, Ready()), listed(1), listed(2, Failed("No sound.")), now_ms=NOW + 1)
    assert (again.new_ids, again.known, again.moved) == ([], 3, {})
    assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (3,)


def test_a_pending_task_that_is_listed_as_ready_is_due(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    settle_all(connection, settlement(task, PROCESSING))
    assert claim(connection) == []

    assert store(connection, listed(outcome=Ready())).moved == {TaskState.READY: 1}
    (found,) = claim(connection)
    assert (found.state, found.created_at_ms, found.expires_at_ms) == (TaskState.READY, CREATED, CREATED + RETENTION_MS)


def test_a_pending_task_that_is_listed_as_failed_has_finished_but_not_ended(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(0))
    assert store(connection, listed(outcome=Failed("No sound."))).moved == {TaskState.FAILED: 1}
    assert columns(connection, "state", "error_code", "ended_at") == ("ready", "listed_failed", None)


def test_a_due_task_that_is_listed_as_unfinished_needs_no_request(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(0))
    assert store(connection, listed()).moved == {}
    assert claim(connection) == []
    assert len(claim(connection, now_ms=NOW + 60_000)) == 1


def test_a_row_of_another_program_gets_its_deadline(connection: sqlite3.Connection, path: Path) -> None:
    insert_like_another_program(path, "INSERT INTO tasks (task_id) VALUES (?)", [object_id(0)])
    assert store(connection, listed(outcome=Ready())).known == 1
    assert columns(connection, "state", "expires_at") == ("ready", CREATED + RETENTION_MS)


def test_a_ready_task_learns_its_deadline_and_keeps_its_turn(connection: sqlite3.Connection) -> None:
    add_tasks(connection, object_id(0))
    connection.execute("UPDATE tasks SET state = 'ready', next_attempt_at = ?, failures = 2", [NOW + 5])
    assert store(connection, listed()).moved == {}
    found = columns(connection, "state", "next_attempt_at", "failures", "created_at", "expires_at")
    assert found == ("ready", NOW + 5, 2, CREATED, CREATED + RETENTION_MS)


def test_an_error_is_not_forgotten_because_the_list_is_fine(connection: sqlite3.Connection) -> None:
    settle_all(connection, settlement(claim_new(connection), Transient("The connection broke.", "connection_lost")))
    store(connection, listed(outcome=Ready()))
    assert columns(connection, "state", "failures", "error_code") == ("ready", 0, "connection_lost")


@pytest.mark.parametrize("outcome", [Ready(), PROCESSING, Failed("No sound.")])
def test_a_claimed_task_is_left_alone(connection: sqlite3.Connection, outcome: Ready | Failed | Processing) -> None:
    task = claim_new(connection)
    before = contents(connection)["tasks"]
    assert store(connection, listed(outcome=outcome)).moved == {}
    assert contents(connection)["tasks"] == before
    assert settle_all(connection, settlement(task, Retrieved(embeddings()))) == [True]


@pytest.mark.parametrize("state", [state for state in TaskState if not state.is_open])
@pytest.mark.parametrize("outcome", [Ready(), PROCESSING, Failed("No sound.")])
def test_a_task_that_has_ended_is_left_alone(
    connection: sqlite3.Connection, state: TaskState, outcome: Ready | Failed | Processing
) -> None:
    add_tasks(connection, object_id(0))
    connection.execute("UPDATE tasks SET state = ?, ended_at = ?", [state, NOW])
    before = contents(connection)
    assert store(connection, listed(outcome=outcome)).known == 1
    assert contents(connection) == before
    assert connection.execute("SELECT count(*) FROM listed").fetchone() == (0,)


# A dry run.


async def test_a_dry_run_tells_the_same_and_writes_nothing(path: Path) -> None:
    page = [listed(0, Ready()), listed(1), listed(2, Ready()), listed(3, Failed("No sound."))]
    with closing(open_for_writing(path)) as connection:
        add_tasks(connection, object_id(0), object_id(1))
        before = contents(connection)
        with closing(DryRunStore(path)) as dry_run:
            found = await queue_page(dry_run, page, NOW, RNG)
        assert contents(connection) == before
        assert found == await queue_page(ListPages(connection), page, NOW, RNG)
    assert found == Queued([object_id(2), object_id(3)], _states(ready=1, failed=1), 2, _states(ready=1))


def _states(**counts: int) -> Counter[TaskState]:
    return Counter({TaskState(name): count for name, count in counts.items()})


@pytest.fixture
def dry_run_on_nothing(path: Path) -> Iterator[DryRunStore]:
    with closing(DryRunStore(path)) as dry_run:
        yield dry_run
    assert not path.exists()


async def test_without_a_database_all_is_new_and_none_is_created(dry_run_on_nothing: DryRunStore) -> None:
    queued_now = await queue_page(dry_run_on_nothing, [listed(0), listed(1)], NOW, RNG)
    assert (len(queued_now.new_ids), queued_now.known) == (2, 0)
    assert (await dry_run_on_nothing.share_limits(LimitUpdate(), NOW)) == LimitSnapshot()


async def test_a_late_store_makes_the_database_with_the_first_task(path: Path) -> None:
    async with LateStore(path) as store:
        nothing = await queue_page(store, [], NOW, RNG)
        await store.share_limits(LimitUpdate(), NOW)
        existed = exists(path)
        first = await queue_page(store, [listed(0)], NOW, RNG)
        second = await queue_page(store, [listed(0), listed(1)], NOW, RNG)

    assert (nothing, existed) == (Queued(), False)
    assert (first.new_ids, second.new_ids, second.known) == ([object_id(0)], [object_id(1)], 1)
    with closing(open_for_writing(path)) as connection:
        assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (2,)


async def test_a_late_store_leaves_tasks_alone_that_another_process_has_queued_meanwhile(path: Path) -> None:
    async with LateStore(path) as store:
        with closing(open_for_writing(path)) as connection:
            add_tasks(connection, object_id(0))
            before = contents(connection)
            await queue_page(store, [listed(0)], NOW, RNG)
            assert contents(connection) == before


async def test_a_late_store_refuses_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        async with LateStore(tmp_path / "typo" / "harvester.db"):
            pass


async def test_a_dry_run_waits_behind_the_budget_of_others_and_takes_nothing_out_of_it(path: Path) -> None:
    limit = RateLimit(60)
    with closing(open_for_writing(path)) as connection, closing(DryRunStore(path)) as dry_run:
        in_transaction(connection, lambda connection: limits.lease_requests(connection, limit, 3, NOW))
        in_transaction(connection, lambda connection: limits.note_blocks(connection, {Endpoint.LIST: NOW + 9}, NOW))
        leases = [await dry_run.lease_requests(limit, 1, NOW) for _ in range(2)]
        assert [lease.start_ms for lease in leases] == [NOW + 3_000, NOW + 4_000]
        assert leases[0].blocks == {Endpoint.LIST: NOW + 9}
        assert limits.lease_requests(connection, limit, 1, NOW).start_ms == NOW + 3_000


def test_a_block_that_was_noted_by_a_clock_that_was_ahead_is_forgotten(connection: sqlite3.Connection) -> None:
    three_hours_ms, until_ms = 3 * 3_600_000, NOW + 600_000

    def note(endpoint: Endpoint, ahead_ms: int) -> dict[Endpoint, int]:
        blocks = {endpoint: until_ms + ahead_ms}
        in_transaction(connection, lambda connection: limits.note_blocks(connection, blocks, NOW + ahead_ms))
        return limits.known_blocks(connection, NOW)

    assert note(Endpoint.STATUS, three_hours_ms) == {}
    assert note(Endpoint.STATUS, 0) == {Endpoint.STATUS: until_ms}
    # The clock of one process may be a little ahead of another's.
    assert note(Endpoint.LIST, 60_000) == {Endpoint.STATUS: until_ms, Endpoint.LIST: until_ms + 60_000}


async def test_a_dry_run_sees_what_is_known(path: Path) -> None:
    with closing(open_for_writing(path)) as connection:
        add_tasks(connection, object_id(0))
    with closing(DryRunStore(path)) as dry_run:
        queued_now = await queue_page(dry_run, [listed(0), listed(1)], NOW, RNG)
    assert (queued_now.new_ids, queued_now.known) == ([object_id(1)], 1)


def test_a_dry_run_refuses_what_is_no_database(path: Path) -> None:
    path.write_bytes(b"not SQLite at all" * 100)
    with pytest.raises(StoreError):
        DryRunStore(path)
