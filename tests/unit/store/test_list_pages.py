"""The entries of a list page for open tasks are stored as answers."""

import random
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial

import anyio
import pytest

from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedChange, ListedTask
from harvester.domain.tasks.outcomes import Failed, Processing, Ready, Retrieved
from harvester.domain.tasks.records import Attempt
from harvester.domain.tasks.task import RETENTION_MS, Task
from harvester.service.list_settlement import settle_page
from harvester.store.sqlite import queue
from harvester.store.sqlite.transaction import in_transaction
from tests.support.store_builders import (
    LEASE_MS,
    NOW,
    ListPages,
    add_tasks,
    claim,
    embeddings,
    object_id,
    row,
    settle_all,
    settlement,
)

CREATED = NOW - 480_000
ASKED = Attempt(NOW, "list", "", http_status=200)


def listed(number: int, outcome: Ready | Failed | Processing, *, metadata: MediaMetadata | None = None) -> ListedTask:
    return ListedTask(
        object_id(number), outcome, metadata or MediaMetadata("marengo3.0", 12.5, "a.mp4", created_at_ms=CREATED)
    )


def apply_page(
    connection: sqlite3.Connection,
    page: Sequence[ListedTask],
    claimed: Sequence[Task] = (),
    finished: Sequence[Task] = (),
    meanwhile: Callable[[], object] = lambda: None,
) -> list[ListedChange]:
    """Settle a page as the list poller does."""
    decide = partial(settle_page, finished=finished, attempt=ASKED, rng=random.Random(0), times=ProcessingTimes())
    return anyio.run(decide, ListPages(connection, meanwhile), page, claimed)


def queued(connection: sqlite3.Connection, count: int) -> None:
    add_tasks(connection, *(object_id(number) for number in range(count)))


def test_a_page_is_the_answer_for_each_task_that_it_was_asked_for(connection: sqlite3.Connection) -> None:
    queued(connection, 4)
    claimed = claim(connection)
    page = [listed(0, Ready()), listed(1, Processing()), listed(2, Failed("broken"))]
    heard = apply_page(connection, page, claimed)
    assert [one.task.task_id for one in heard] == [object_id(number) for number in range(3)]
    columns = [row(connection, one.row_id, "state", "attempts", "created_at", "lease_owner") for one in claimed]
    assert columns == [
        ("ready", 1, CREATED, None),
        ("pending", 1, CREATED, None),
        ("ready", 1, CREATED, None),
        ("pending", 0, None, None),
    ]
    assert row(connection, claimed[1].row_id, "unfinished_at", "expires_at") == (NOW, CREATED + RETENTION_MS)
    kept = connection.execute("SELECT endpoint, outcome FROM attempts ORDER BY task").fetchall()
    assert kept == [("list", "ready"), ("list", "processing"), ("list", "failed")]


def test_what_the_page_does_not_hold_is_due_at_once(connection: sqlite3.Connection) -> None:
    queued(connection, 2)
    claimed = claim(connection)
    apply_page(connection, [], claimed)
    assert [one.task_id for one in claim(connection)] == [object_id(0), object_id(1)]


def test_others_on_the_page_are_answered_for_too_and_not_charged(connection: sqlite3.Connection) -> None:
    queued(connection, 1)
    (one,) = apply_page(connection, [listed(0, Ready()), listed(7, Ready())])
    assert row(connection, one.task.row_id, "state", "attempts") == ("ready", 0)
    assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (1,)


def test_a_task_that_another_process_has_claimed_is_left_alone(connection: sqlite3.Connection) -> None:
    queued(connection, 1)
    (theirs,) = claim(connection, "another process")
    assert apply_page(connection, [listed(0, Failed("broken"))]) == []
    assert settle_all(connection, settlement(theirs, Retrieved(embeddings()))) == [True]


def test_a_page_whose_lease_has_lapsed_changes_no_task_that_others_have_claimed_since(
    connection: sqlite3.Connection,
) -> None:
    queued(connection, 2)
    mine = claim(connection, "mine")
    later_ms = NOW + LEASE_MS + 1
    theirs = claim(connection, "theirs", now_ms=later_ms)
    assert apply_page(connection, [listed(0, Failed("broken"))], mine) == []
    assert row(connection, mine[1].row_id, "lease_owner", "next_attempt_at") == ("theirs", later_ms + LEASE_MS)
    settled = settle_all(connection, *(settlement(one, Retrieved(embeddings())) for one in theirs))
    assert settled == [True, True]


def test_a_lease_that_has_lapsed_without_anybody_noticing_does_no_harm(connection: sqlite3.Connection) -> None:
    queued(connection, 1)
    mine = claim(connection, "mine")
    in_transaction(connection, lambda connection: queue.make_due(connection, NOW + LEASE_MS + 1))
    assert len(apply_page(connection, [listed(0, Ready())], mine)) == 1
    assert row(connection, mine[0].row_id, "state") == ("ready",)


def test_a_page_uses_the_claim_up(connection: sqlite3.Connection) -> None:
    """The same answer twice, or another one for the same claim, is stored once."""
    queued(connection, 1)
    (mine,) = claim(connection)
    apply_page(connection, [listed(0, Processing())], [mine])
    assert settle_all(connection, settlement(mine, Failed("broken"))) == [False]
    assert row(connection, mine.row_id, "state") == ("pending",)


@pytest.mark.parametrize("late", [Processing(), Failed("broken")])
def test_a_list_that_is_late_takes_no_result_back(connection: sqlite3.Connection, late: Processing | Failed) -> None:
    queued(connection, 2)
    ready, ended = claim(connection)
    settle_all(connection, settlement(ready, Ready()), settlement(ended, Retrieved(embeddings())))
    apply_page(connection, [listed(0, late), listed(1, late)])
    assert row(connection, ready.row_id, "state", "created_at") == ("ready", CREATED)
    assert row(connection, ended.row_id, "state") == ("harvested",)


def test_a_ready_task_keeps_its_turn_when_the_list_dates_it(connection: sqlite3.Connection) -> None:
    queued(connection, 1)
    (one,) = claim(connection)
    settle_all(connection, settlement(one, Ready()))
    apply_page(connection, [listed(0, Ready())])
    assert row(connection, one.row_id, "next_attempt_at", "expires_at") == (0, CREATED + RETENTION_MS)


def test_a_ready_task_that_the_page_was_requested_for_is_due_again_when_the_list_dates_it(
    connection: sqlite3.Connection,
) -> None:
    queued(connection, 1)
    connection.execute("UPDATE tasks SET state = 'ready'")
    (mine,) = claim(connection)
    apply_page(connection, [listed(0, Ready())], [mine])
    assert row(connection, mine.row_id, "next_attempt_at", "lease_owner", "created_at") == (0, None, CREATED)


def test_an_answer_without_a_date_leaves_the_known_one(connection: sqlite3.Connection) -> None:
    queued(connection, 1)
    apply_page(connection, [listed(0, Processing())])
    apply_page(connection, [listed(0, Processing(), metadata=MediaMetadata())])
    (found,) = claim(connection, now_ms=NOW + 10 * LEASE_MS)
    assert (found.created_at_ms, found.model_name, found.duration_s) == (CREATED, "marengo3.0", 12.5)


@pytest.mark.parametrize("outcome", [Ready, Processing])
def test_what_a_single_answer_says_about_the_video_is_kept_like_a_list_entrys(
    connection: sqlite3.Connection, outcome: type[Ready | Processing]
) -> None:
    queued(connection, 1)
    (one,) = claim(connection)
    settle_all(connection, settlement(one, outcome(metadata=MediaMetadata("marengo3.0", 12.5))))
    (found,) = claim(connection, now_ms=NOW + 10 * LEASE_MS)
    assert (found.model_name, found.duration_s) == ("marengo3.0", 12.5)


def test_what_a_page_of_the_unfinished_does_not_show_is_ready_and_the_rest_is_given_back(
    connection: sqlite3.Connection,
) -> None:
    queued(connection, 3)
    claimed = claim(connection)
    assert len(apply_page(connection, [listed(0, Processing())], claimed, finished=[claimed[1]])) == 1
    found = [row(connection, one.row_id, "state", "attempts", "next_attempt_at", "lease_owner") for one in claimed]
    assert found[1:] == [("ready", 1, 0, None), ("pending", 0, 0, None)]
    (attempt,) = connection.execute("SELECT endpoint, outcome FROM attempts WHERE task = ?", (claimed[1].row_id,))
    assert attempt == ("list", "not unfinished")


def test_a_task_that_another_process_has_claimed_meanwhile_is_not_inferred_ready(
    connection: sqlite3.Connection,
) -> None:
    queued(connection, 1)
    (mine,) = claim(connection)
    (theirs,) = claim(connection, "other", now_ms=NOW + LEASE_MS)
    apply_page(connection, [], [mine], finished=[mine])
    assert row(connection, mine.row_id, "state", "claim") == ("pending", theirs.claim)
