"""Which page names the models of the most results, when it is worth a request, and when a lookup gives up."""

from dataclasses import replace

import pytest

from harvester.domain.planning.list_reader import PAGE_LIMIT, ListPage, ListQuery
from harvester.domain.planning.list_windows import ListModel, ListWindow
from harvester.domain.planning.model_lookup import (
    BARREN_PAGES,
    HOUR_MS,
    MANY,
    SHORTEST_WAIT_MS,
    URGENT_MS,
    Load,
    ModelLookup,
    is_page_due,
)
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask, UnnamedResult
from harvester.domain.tasks.outcomes import Ready
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS, Task, TaskState

NOON_MS = 1_760_000_000_000
A_MINUTE = 1.0
"""Requests a second: 60 a minute."""
A_DAY = 50 / 86_400


def result(key: int, *, after_ms: int = 0, harvested_ms: int | None = None) -> UnnamedResult:
    at_ms = NOON_MS + after_ms
    task = Task(
        key,
        f"{at_ms // 1000:08x}{key:016x}",
        TaskState.HARVESTED,
        added_at_ms=at_ms,
        expires_at_ms=at_ms + RETENTION_MS,
        created_at_ms=at_ms,
    )
    return UnnamedResult(task, at_ms if harvested_ms is None else harvested_ms)


def undated(key: int, *, after_ms: int = 0) -> UnnamedResult:
    one = result(key, after_ms=after_ms)
    return replace(one, task=replace(one.task, task_id=f"task-{key}", created_at_ms=None))


def listed(one: UnnamedResult, model: str | None = "marengo3.5") -> ListedTask:
    return ListedTask(one.task.task_id, Ready(), MediaMetadata(model_name=model, created_at_ms=one.task.created_at_ms))


def page(*entries: ListedTask, total: int | None = None) -> ListPage:
    return ListPage(entries, len(entries), len(entries) if total is None else total)


class TestThePage:
    def test_one_page_names_fifty(self) -> None:
        results = [result(key, after_ms=1000 * key) for key in range(120)]
        window = ModelLookup(ListModel()).next_page(results)
        assert window is not None
        assert len(window.tasks) == PAGE_LIMIT
        assert (window.query.page, window.query.page_limit, window.query.status) == (1, PAGE_LIMIT, None)

    def test_the_oldest_that_have_no_room_are_left_to_the_next_page_with_their_neighbours(self) -> None:
        results = [result(key, after_ms=1000 * (key // 3)) for key in range(120)]
        lookup = ModelLookup(ListModel())
        window = window_of(lookup, results)
        named = {task.row_id for task in window.tasks}
        assert PAGE_LIMIT - 3 < len(named) <= PAGE_LIMIT
        assert {len([key for key in named if key // 3 == second]) for second in range(40)} <= {0, 3}

    def test_none_is_needed_without_results(self) -> None:
        assert ModelLookup(ListModel()).next_page([]) is None

    def test_a_complete_page_shows_which_results_the_list_does_not_name(self) -> None:
        lookup, results = ModelLookup(ListModel()), [result(key) for key in range(3)]
        window = window_of(lookup, results)
        answer = page(listed(results[0]), listed(results[1], model=None))
        assert lookup.record(window, answer, named=1) == [results[1].task, results[2].task]
        assert not lookup.has_given_up

    def test_of_a_second_with_more_tasks_than_a_page_holds_the_next_page_is_requested(self) -> None:
        lookup, results = ModelLookup(ListModel()), [result(key) for key in range(120)]
        left, asked = list(results), []
        while left:
            window = window_of(lookup, left)
            asked.append(window.query.page)
            first = (window.query.page - 1) * PAGE_LIMIT
            shown = results[first : first + PAGE_LIMIT]
            answer = page(*map(listed, shown), total=len(results))
            lookup.listing.learn(window.query, answer, len(shown))
            assert lookup.record(window, answer, named=len(shown)) == []
            left = [one for one in left if one not in shown]
        assert asked == [1, 2, 3]

    def test_a_page_that_is_not_the_last_says_nothing_about_the_others(self) -> None:
        lookup, results = ModelLookup(ListModel()), [result(key) for key in range(2)]
        assert lookup.record(window_of(lookup, results), page(listed(results[0]), total=400), named=1) == []

    def test_where_others_fill_the_pages_the_lookup_gives_up_and_leaves_the_results_alone(self) -> None:
        lookup, results, foreign = ModelLookup(ListModel()), [result(1)], [result(key) for key in range(2, 52)]
        for number in range(1, BARREN_PAGES + 1):
            assert not lookup.has_given_up
            window = window_of(lookup, results)
            assert window.query.page == number
            absent = lookup.record(window, page(*map(listed, foreign), total=5000), named=0)
        assert lookup.has_given_up
        assert absent == [results[0].task]

    def test_a_page_that_names_models_lets_the_lookup_go_on(self) -> None:
        lookup, results = ModelLookup(ListModel()), [result(1)]
        for named in [*[0] * (BARREN_PAGES - 1), 1, 0]:
            lookup.record(window_of(lookup, results), page(total=5000), named=named)
        assert not lookup.has_given_up

    def test_a_list_that_claims_more_and_shows_nothing_ends(self) -> None:
        lookup, results = ModelLookup(ListModel()), [result(1)]
        assert lookup.record(window_of(lookup, results), page(total=5000), named=0) == [results[0].task]

    def test_ids_without_a_time_are_sought_on_the_day_before_they_were_queued(self) -> None:
        results = [undated(1), undated(2, after_ms=DAY_MS)]
        window = window_of(ModelLookup(ListModel()), results)
        assert window.tasks == (results[0].task,)
        assert window.query == ListQuery(NOON_MS - DAY_MS, NOON_MS + HOUR_MS + 1000)


def window_of(lookup: ModelLookup, results: list[UnnamedResult]) -> ListWindow:
    window = lookup.next_page(results)
    assert window is not None
    return window


class TestWhenItIsDue:
    """60 requests a minute, unless said otherwise, and many requests since the last page."""

    requests = MANY

    def due(self, count: int, waited_ms: float, *, open_tasks: int = 1, is_idle: bool = True) -> bool:
        return self.due_at(A_MINUTE, count, waited_ms, open_tasks=open_tasks, is_idle=is_idle)

    def due_at(
        self, rate_per_s: float | None, count: int, waited_ms: float, *, open_tasks: int = 1, is_idle: bool = True
    ) -> bool:
        results = [result(key, harvested_ms=NOON_MS) for key in range(count)]
        now_ms = round(NOON_MS + waited_ms)
        window = window_of(ModelLookup(ListModel()), results)
        load = Load(open_tasks, is_idle=is_idle, rate_per_s=rate_per_s, requests=self.requests)
        return is_page_due(window, results, now_ms, load)

    def test_a_page_with_many_at_once_if_nothing_else_is_worth_a_request(self) -> None:
        assert self.due(MANY, 0)
        assert not self.due(MANY - 1, 0)

    def test_a_page_with_many_after_an_hour_in_a_harvest_that_is_never_idle(self) -> None:
        assert not self.due(MANY, HOUR_MS - 1, is_idle=False)
        assert self.due(MANY, HOUR_MS, is_idle=False)
        assert not self.due(MANY - 1, DAY_MS, is_idle=False)
        self.requests = MANY - 1
        assert not self.due(MANY, HOUR_MS, is_idle=False)

    def test_a_page_with_few_after_an_hour(self) -> None:
        assert not self.due(1, HOUR_MS - 1)
        assert self.due(1, HOUR_MS)

    @pytest.mark.parametrize(
        ("rate_per_s", "waited_ms"), [(None, SHORTEST_WAIT_MS), (A_MINUTE, 100_000), (A_DAY, HOUR_MS)]
    )
    def test_with_no_open_task_a_page_with_few_costs_a_hundredth_of_the_budget(
        self, rate_per_s: float | None, waited_ms: int
    ) -> None:
        assert not self.due_at(rate_per_s, 1, waited_ms - 1, open_tasks=0)
        assert self.due_at(rate_per_s, 1, waited_ms, open_tasks=0)

    def test_at_once_before_the_list_forgets_a_result_however_busy_the_harvest_is(self) -> None:
        assert self.due(1, RETENTION_MS - URGENT_MS, is_idle=False)
        assert not self.due(1, RETENTION_MS - URGENT_MS - 1, is_idle=False)

    def test_what_the_list_has_forgotten_by_its_dates_is_not_urgent(self) -> None:
        assert not self.due(1, RETENTION_MS, is_idle=False)
        assert self.due(1, RETENTION_MS)
