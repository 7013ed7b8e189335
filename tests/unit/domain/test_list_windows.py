from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.planning.list_reader import PAGE_LIMIT, PROCESSING, ListPage, ListQuery
from harvester.domain.planning.list_windows import (
    MAX_TASKS,
    UPLOAD_MS,
    Candidate,
    ListModel,
    absent_from_page,
    best_window,
)
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Processing
from harvester.domain.tasks.task import RETENTION_MS, Task, TaskState

NOON_MS = 1_760_000_000_000


def task(key: int, *, at_ms: int, dated: bool = True) -> Task:
    hinted = f"{at_ms // 1000:08x}{key:016x}"
    return Task(
        key,
        hinted,
        TaskState.PENDING,
        added_at_ms=at_ms,
        expires_at_ms=at_ms + RETENTION_MS,
        created_at_ms=at_ms if dated else None,
    )


def row(count: int, *, every_ms: int, score: float = 1.0, unfinished: float = 1.0) -> list[Candidate]:
    return [Candidate(task(key, at_ms=NOON_MS + key * every_ms), score, unfinished) for key in range(count)]


def page_of(tasks: list[Task], *, total: int | None = None) -> ListPage:
    listed = [
        ListedTask(one.task_id, Processing(), MediaMetadata(created_at_ms=one.created_at_ms or one.created_ms_estimate))
        for one in tasks
    ]
    return ListPage(listed, len(listed), total)


def test_a_page_answers_for_fifty_of_those_that_stand_close() -> None:
    window = best_window(row(120, every_ms=360), ListModel(), at_least=2)
    assert window is not None
    assert (len(window.tasks), window.score) == (PAGE_LIMIT, PAGE_LIMIT)
    first, last = window.tasks[0].created_ms_estimate, window.tasks[-1].created_ms_estimate
    assert window.query.started_at_ms <= first
    assert window.query.ended_at_ms is not None
    assert last < window.query.ended_at_ms
    assert window.query.started_at_ms % 1000 == window.query.ended_at_ms % 1000 == 0


def test_the_page_that_is_worth_most_is_chosen() -> None:
    cheap, dear = row(60, every_ms=360), Candidate(task(1000, at_ms=NOON_MS + 3_600_000), 100.0)
    window = best_window([*cheap, dear], ListModel(), at_least=1)
    assert window is not None
    assert dear.task in window.tasks


@pytest.mark.parametrize(("total", "is_crowded"), [(PAGE_LIMIT - 1, False), (PAGE_LIMIT + 1, True), (None, True)])
def test_of_a_second_with_more_tasks_than_a_page_holds_a_page_need_not_show_each(
    total: int | None,
    is_crowded: bool,  # noqa: FBT001
) -> None:
    listing, second = ListModel(), [task(key, at_ms=NOON_MS) for key in range(PAGE_LIMIT)]
    assert not listing.is_crowded(second[0])
    query = ListQuery(NOON_MS, NOON_MS + 1000, page=1, page_limit=PAGE_LIMIT)
    listing.learn(query, page_of(second[:total], total=total), len(second))
    assert listing.is_crowded(second[0]) == is_crowded
    assert not listing.is_crowded(task(1, at_ms=NOON_MS + 3_600_000))


def test_of_too_few_there_is_no_page() -> None:
    assert best_window(row(1, every_ms=1), ListModel(), at_least=2) is None
    assert best_window([], ListModel(), at_least=1) is None


def test_a_page_of_the_unfinished_answers_for_all_that_have_finished() -> None:
    old = row(400, every_ms=360, unfinished=0.1)
    window = best_window(old, ListModel(), at_least=2, only_processing=True)
    assert window is not None
    assert len(window.tasks) == 400
    assert window.query.status == PROCESSING
    many = best_window(row(2 * MAX_TASKS, every_ms=360, unfinished=0.0), ListModel(), at_least=2, only_processing=True)
    assert many is not None
    assert len(many.tasks) == MAX_TASKS


def test_where_others_crowd_the_list_a_page_answers_for_fewer() -> None:
    listing, tasks = ListModel(), row(120, every_ms=360)
    query = ListQuery(NOON_MS, NOON_MS + 43_000)
    listing.learn(query, page_of([one.task for one in tasks[-25:]], total=480), 25)
    window = best_window(tasks, listing, at_least=2)
    assert window is not None
    assert 10 <= len(window.tasks) <= 15
    alone = best_window(row(10, every_ms=3_600_000), listing, at_least=2)
    assert alone is not None
    assert len(alone.tasks) < 10


def test_where_a_minute_holds_hundreds_of_others_no_task_is_asked_about_by_page() -> None:
    listing, tasks = ListModel(), row(10, every_ms=60_000)
    listing.learn(ListQuery(NOON_MS, NOON_MS + 600_000), page_of([one.task for one in tasks[:1]], total=5_000), 1)
    assert best_window(tasks, listing, at_least=2) is None


def test_a_full_page_without_a_total_tells_of_its_newest_part() -> None:
    listing, tasks = ListModel(), row(50, every_ms=100)
    query = ListQuery(NOON_MS - 3_600_000, NOON_MS + 5_000)
    listing.learn(query, page_of([one.task for one in tasks]), 50)
    assert listing.everything.between(NOON_MS, NOON_MS + 5_000) == pytest.approx(50)


def test_a_smaller_page_than_asked_for_is_learned() -> None:
    listing = ListModel()
    listing.learn(ListQuery(NOON_MS), ListPage((), 10, limit_per_page=10), 10)
    window = best_window(row(30, every_ms=360), listing, at_least=2)
    assert window is not None
    assert window.query.page_limit == 10


def test_until_more_is_known_a_date_from_an_id_may_be_seconds_early() -> None:
    listing, hinted = ListModel(), task(1, at_ms=NOON_MS, dated=False)
    assert listing.span_ms(hinted) == (NOON_MS + UPLOAD_MS[0], NOON_MS + UPLOAD_MS[1])
    shown = [task(key, at_ms=NOON_MS) for key in range(30)]
    listed = [
        ListedTask(one.task_id, Processing(), MediaMetadata(created_at_ms=NOON_MS + 3_000 + one.row_id))
        for one in shown
    ]
    listing.learn(ListQuery(NOON_MS), ListPage(listed, 30), 30)
    earliest, latest = listing.span_ms(hinted)
    assert NOON_MS + 1_000 < earliest < NOON_MS + 3_000 < latest < NOON_MS + 5_000


@given(st.sets(st.integers(0, 99), max_size=PAGE_LIMIT), st.booleans())
def test_what_a_page_of_the_unfinished_does_not_show_has_finished(shown: set[int], is_dated: bool) -> None:  # noqa: FBT001
    tasks = [task(key, at_ms=NOON_MS + key * 1000, dated=is_dated) for key in range(100)]
    page = page_of([tasks[key] for key in sorted(shown, reverse=True)])
    query = ListQuery(NOON_MS - 60_000, NOON_MS + 200_000, status=PROCESSING)
    found = {one.row_id for one in absent_from_page(query, page, tasks, ListModel())}
    assert not found & shown
    if page.count < PAGE_LIMIT:
        assert found == set(range(100)) - shown
    else:
        # A full page says nothing of what is older than its oldest entry.
        assert all(key > min(shown) for key in found)


def test_nothing_is_concluded_of_what_may_lie_outside_of_the_window() -> None:
    tasks = [task(1, at_ms=NOON_MS, dated=False), task(2, at_ms=NOON_MS + 59_000, dated=False)]
    query = ListQuery(NOON_MS, NOON_MS + 60_000, status=PROCESSING)
    assert absent_from_page(query, ListPage((), 0), tasks, ListModel()) == []


def test_a_short_page_of_a_larger_total_says_nothing_of_what_is_older() -> None:
    """A server that gives ten at a time, whatever it is asked for."""
    tasks = [task(key, at_ms=NOON_MS + key * 1000) for key in range(30)]
    query = ListQuery(NOON_MS, NOON_MS + 60_000, status=PROCESSING)
    shown = tasks[29:19:-1]
    assert absent_from_page(query, page_of(shown, total=30), tasks, ListModel()) == []
    assert len(absent_from_page(query, page_of(shown, total=10), tasks, ListModel())) == 20


def test_a_crowd_in_one_minute_leaves_the_others_alone() -> None:
    listing, hour_ms = ListModel(), 3_600_000
    newest = [task(key, at_ms=NOON_MS + hour_ms - key) for key in range(PAGE_LIMIT)]
    listing.learn(ListQuery(NOON_MS, NOON_MS + hour_ms + 1000), page_of(newest, total=60), 1)
    crowded, quiet = (listing.everything.between(at_ms, at_ms + 1000) for at_ms in (NOON_MS + hour_ms, NOON_MS))
    assert crowded is not None
    assert quiet is not None
    assert crowded > 20
    assert quiet < 0.1


def test_a_second_that_holds_more_than_a_page_is_not_asked_for_by_page() -> None:
    listing, tasks = ListModel(), row(200, every_ms=4)
    query = ListQuery(NOON_MS, NOON_MS + 1000)
    listing.learn(query, page_of([one.task for one in tasks[-PAGE_LIMIT:]], total=200), PAGE_LIMIT)
    window = best_window(tasks, listing, at_least=2)
    assert window is None or {one.row_id for one in window.tasks} <= set(range(140, 200))


def test_a_few_ids_that_carry_no_time_do_not_widen_the_windows() -> None:
    listing = ListModel()
    for number in range(100):
        hint_ms = NOON_MS if number % 60 else NOON_MS - 90 * 60_000
        listing.learn_date(f"{hint_ms // 1000:08x}{number:016x}", NOON_MS + 3_000)
    earliest, latest = listing.span_ms(task(1, at_ms=NOON_MS, dated=False))
    assert latest - earliest < 5_000


def test_the_time_in_an_id_counts_though_the_clock_that_queued_it_is_behind() -> None:
    hinted = task(1, at_ms=NOON_MS, dated=False)
    behind = replace(hinted, added_at_ms=NOON_MS - 3_600_000, expires_at_ms=NOON_MS - 3_600_000 + RETENTION_MS)
    assert ListModel().span_ms(behind) == ListModel().span_ms(hinted)
