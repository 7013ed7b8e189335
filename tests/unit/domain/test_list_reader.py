"""Reading a list that changes under the reader, or whose server does not do as documented."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.planning.list_reader import (
    MAX_IDLE_REQUESTS,
    MAX_REQUESTS,
    PAGE_LIMIT,
    ListPage,
    ListQuery,
    ListReader,
)
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Ready
from tests.support.thorough import thorough

NOW = 1_760_000_000_000
DAY = 24 * 3600 * 1000
SINCE = NOW - 7 * DAY


def listed(task_id: str, created_at_ms: int | None) -> ListedTask:
    return ListedTask(task_id, Ready(), MediaMetadata(created_at_ms=created_at_ms))


@dataclass
class Server:
    """The API's list: newest first, a window with both ends included, pages of at most `cap` tasks."""

    created: dict[str, int]
    cap: int = PAGE_LIMIT
    heeds_window: bool = True
    precision_ms: int = 1
    includes_end: bool = True
    order: Callable[[tuple[str, int]], Any] = lambda task: (-task[1], task[0])
    total_results: int | None = None
    asked: list[ListQuery] = field(default_factory=list)

    def answer(self, query: ListQuery) -> ListPage:
        self.asked.append(query)
        matching = [task for task in sorted(self.created.items(), key=self.order) if self._matches(task[1], query)]
        limit = min(query.page_limit, self.cap)
        first = (query.page - 1) * limit
        shown = [
            listed(task_id, created // self.precision_ms * self.precision_ms)
            for task_id, created in matching[first : first + limit]
        ]
        total = len(matching) if self.total_results is None else self.total_results
        return ListPage(shown, len(shown), total, limit)

    def _matches(self, created: int, query: ListQuery) -> bool:
        if not self.heeds_window:
            return True
        end = NOW + DAY if query.ended_at_ms is None else query.ended_at_ms
        return query.started_at_ms <= created and (created < end or (self.includes_end and created == end))


def read(
    answer: Callable[[ListQuery], ListPage],
    *,
    between: Callable[[], object] = lambda: None,
    since_ms: int = SINCE,
) -> tuple[list[str], ListReader]:
    """Read to the end; `between` is called after each page."""
    reader, found = ListReader(since_ms), list[str]()
    while reader.query is not None:
        found += [task.task_id for task in reader.take(answer(reader.query))]
        between()
    return found, reader


def spread(count: int, *, step_ms: int = 60_000) -> dict[str, int]:
    """Tasks at equal distances; the higher the number the older."""
    return {f"task-{number}": NOW - number * step_ms for number in range(count)}


# Requests that one reading of the list takes.


@pytest.mark.parametrize(
    ("count", "requests"),
    [(0, 1), (1, 1), (49, 1), (50, 2), (98, 2), (99, 3), (147, 3), (1_000, 21), (5_000, 103)],
)
def test_a_page_brings_49_tasks_and_the_one_that_joins_it_to_the_page_before(count: int, requests: int) -> None:
    server = Server(spread(count))
    found, reader = read(server.answer)
    assert (found, len(server.asked), reader.problem) == (list(spread(count)), requests, None)


def test_the_first_page_has_no_end_so_that_a_slow_clock_hides_nothing() -> None:
    assert ListReader(SINCE + 7).query == ListQuery(SINCE, None, 1, PAGE_LIMIT)


def test_older_tasks_are_left_out_even_where_the_server_gives_them() -> None:
    server = Server(spread(500, step_ms=DAY // 10), heeds_window=False)
    found, _ = read(server.answer)
    assert found == [task_id for task_id, created in server.created.items() if created >= SINCE]
    assert len(server.asked) < 10


def test_the_newest_time_is_returned() -> None:
    _, reader = read(Server(spread(120)).answer)
    assert reader.newest_ms == NOW
    _, reader = read(Server({}).answer)
    assert reader.newest_ms is None


def test_a_list_that_has_been_read_takes_no_more_pages() -> None:
    reader = ListReader(SINCE)
    reader.take(ListPage([], 0))
    with pytest.raises(RuntimeError):
        reader.take(ListPage([], 0))


# A list that changes.


def test_tasks_that_are_made_meanwhile_hide_nothing() -> None:
    server, numbers = Server(spread(300)), iter(range(10_000))

    def make() -> None:
        server.created |= {f"new-{next(numbers)}": NOW + 1 + number for number in range(60)}

    found, reader = read(server.answer, between=make)
    assert (found, reader.problem) == (list(spread(300)), None)


def test_tasks_that_are_dropped_meanwhile_hide_nothing() -> None:
    server = Server(spread(300))
    kept = [task_id for number, task_id in enumerate(server.created) if number % 3]
    dropped = iter([task_id for number, task_id in enumerate(server.created) if not number % 3])

    def drop() -> None:
        for task_id, _ in zip(dropped, range(15), strict=False):
            del server.created[task_id]

    found, _ = read(server.answer, between=drop)
    assert set(kept) <= set(found)


def test_more_tasks_in_one_second_than_a_page_holds_are_all_found_while_others_vanish() -> None:
    created = {f"task-{number:03}": NOW + number % 7 for number in range(400)} | {"older": NOW - DAY}
    server, doomed = Server(created), [f"task-{number:03}" for number in range(0, 400, 5)]

    def drop() -> None:
        for task_id in [doomed.pop() for _ in range(min(6, len(doomed)))]:
            server.created.pop(task_id)

    kept = set(created) - set(doomed)
    found, reader = read(server.answer, between=drop)
    assert kept <= set(found)
    assert (len(found), reader.problem) == (len(set(found)), None)


@dataclass(frozen=True)
class Disturbance:
    """Changes between two pages: tasks come, at any place of the list, and some of the mortal ones vanish."""

    made: list[int]
    dropped: list[int]


# Few seconds, so that many tasks share one, and milliseconds, so that many share those.
moments = st.builds(lambda second, ms: NOW - second * 1000 - ms, st.integers(0, 12), st.integers(0, 3))
disturbances = st.builds(
    Disturbance, st.lists(moments, max_size=12), st.lists(st.integers(0, 10_000), max_size=12, unique=True)
)


@given(
    immortal=st.lists(moments, max_size=100),
    mortal=st.lists(moments, max_size=60),
    happening=st.lists(disturbances, max_size=25),
    cap=st.integers(8, 16),
    heeds_window=st.booleans(),
    precision_ms=st.sampled_from([1, 1000]),
    includes_end=st.booleans(),
)
def test_every_task_that_is_there_all_the_time_is_found_once(
    *,
    immortal: list[int],
    mortal: list[int],
    happening: list[Disturbance],
    cap: int,
    heeds_window: bool,
    precision_ms: int,
    includes_end: bool,
) -> None:
    kept = {f"immortal-{number}": created for number, created in enumerate(immortal)}
    doomed = {f"mortal-{number}": created for number, created in enumerate(mortal)}
    server = Server(kept | doomed, cap, heeds_window=heeds_window, precision_ms=precision_ms, includes_end=includes_end)
    waiting, made = iter(happening), iter(range(10_000))

    def disturb() -> None:
        for disturbance in [next(waiting, None)]:
            if disturbance is not None:
                server.created |= {f"mortal-new-{next(made)}": created for created in disturbance.made}
                mortals = sorted(task_id for task_id in server.created if task_id.startswith("mortal"))
                for task_id in {mortals[number % len(mortals)] for number in disturbance.dropped if mortals}:
                    del server.created[task_id]

    found, reader = read(server.answer, between=disturb)
    assert len(found) == len(set(found))
    assert len(server.asked) <= MAX_REQUESTS
    if reader.problem is None:
        assert set(kept) <= set(found)
    # Only a list that never comes to rest may be given up.
    assert reader.problem is None or happening


@given(st.lists(moments, max_size=250), st.integers(8, 16), st.booleans(), st.sampled_from([1, 1000]), st.booleans())
def test_a_list_at_rest_is_always_read_to_its_end(
    created: list[int],
    cap: int,
    heeds_window: bool,  # noqa: FBT001
    precision_ms: int,
    includes_end: bool,  # noqa: FBT001
) -> None:
    tasks = {f"task-{number}": moment for number, moment in enumerate(created)}
    server = Server(tasks, cap, heeds_window=heeds_window, precision_ms=precision_ms, includes_end=includes_end)
    found, reader = read(server.answer)
    assert (set(found), len(found), reader.problem) == (set(tasks), len(tasks), None)


# Servers that do not do as documented.


@pytest.mark.parametrize("total_results", [0, 1, 10**9])
def test_a_wrong_total_neither_hides_tasks_nor_keeps_the_reader(total_results: int) -> None:
    server = Server(spread(170), total_results=total_results)
    found, reader = read(server.answer)
    assert (found, reader.problem) == (list(spread(170)), None)
    assert len(server.asked) <= 6


def test_a_server_that_ignores_the_window_is_read_by_positions() -> None:
    server = Server(spread(300), heeds_window=False)
    found, reader = read(server.answer)
    assert (found, reader.problem) == (list(spread(300)), None)
    assert len(server.asked) < 12


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(lambda task: task[1], id="oldest first"),
        pytest.param(lambda task: hash(("seed", task[0])), id="in no order"),
    ],
)
def test_a_server_that_sorts_in_another_way_is_read_by_positions(order: Callable[[tuple[str, int]], Any]) -> None:
    server = Server(spread(300), order=order)
    found, reader = read(server.answer)
    assert (set(found), len(found), reader.problem) == (set(spread(300)), 300, None)


def test_a_disorder_that_shows_late_is_read_by_positions_from_the_beginning() -> None:
    created = spread(1_000)
    created["task-900"], created["task-901"] = created["task-901"], created["task-900"]
    server = Server(created, order=lambda task: int(task[0][5:]))
    found, reader = read(server.answer)
    assert (set(found), len(found), reader.problem) == (set(created), 1_000, None)


@pytest.mark.parametrize(("includes_end", "precision_ms"), [(False, 1), (True, 1000), (False, 1000)])
def test_an_end_that_is_left_out_and_times_that_are_cut_to_seconds_hide_nothing(
    includes_end: bool,  # noqa: FBT001
    precision_ms: int,
) -> None:
    created = {f"task-{number:03}": NOW - number // 3 * 300 for number in range(300)}
    server = Server(created, includes_end=includes_end, precision_ms=precision_ms)
    found, reader = read(server.answer)
    assert (found, reader.problem) == (list(created), None)


def test_smaller_pages_than_asked_for_are_taken_for_full_ones() -> None:
    found, reader = read(Server(spread(95), cap=10).answer)
    assert (found, reader.problem) == (list(spread(95)), None)


def test_smaller_pages_that_are_not_announced_are_known_by_the_total() -> None:
    server = Server(spread(95), cap=10)

    def answer(query: ListQuery) -> ListPage:
        page = server.answer(query)
        return ListPage(page.tasks, page.count, page.total_results)

    assert read(answer)[0] == list(spread(95))


def test_smaller_pages_that_are_not_announced_hide_nothing_of_a_second_with_more_tasks() -> None:
    tasks = spread(30) | {f"burst-{number}": NOW + 3_600_000 + number for number in range(12)}
    server = Server(tasks, cap=10)

    def answer(query: ListQuery) -> ListPage:
        page = server.answer(query)
        return ListPage(page.tasks, page.count, page.total_results)

    found, reader = read(answer)
    assert (set(found), reader.problem) == (set(tasks), None)


def test_tasks_without_a_time_are_found_by_positions() -> None:
    names = [f"task-{number}" for number in range(170)]

    def answer(query: ListQuery) -> ListPage:
        first = (query.page - 1) * query.page_limit
        shown = [listed(name, None) for name in names[first : first + query.page_limit]]
        return ListPage(shown, len(shown))

    found, reader = read(answer)
    assert (found, reader.problem) == (names, None)


def test_entries_that_cannot_be_used_take_up_their_place_on_the_page() -> None:
    server = Server(spread(120))

    def answer(query: ListQuery) -> ListPage:
        page = server.answer(query)
        return ListPage([task for task in page.tasks if int(task.task_id[5:]) % 10], page.count, page.total_results)

    assert read(answer)[0] == [task_id for number, task_id in enumerate(spread(120)) if number % 10]


# Servers that do not end.


def same_page(_query: ListQuery) -> ListPage:
    return ListPage([listed(task_id, created) for task_id, created in spread(50).items()], 50, 50, 50)


def test_one_page_for_ever_is_left_with_a_warning() -> None:
    found, reader = read(same_page)
    assert found == list(spread(50))
    assert reader.problem is not None
    assert "repeats itself" in reader.problem
    assert reader._requests <= MAX_IDLE_REQUESTS + 4


def unknown_ids() -> Iterator[list[str]]:
    number = 0
    while True:
        yield [f"task-{number + one}" for one in range(50)]
        number += 50


@pytest.mark.parametrize(
    "created",
    [
        pytest.param(lambda number: NOW - number, id="each older"),
        pytest.param(lambda _: NOW, id="all at once", marks=thorough),
        pytest.param(lambda _: None, id="undated", marks=thorough),
    ],
)
def test_new_tasks_for_ever_are_left_with_a_warning(created: Callable[[int], int | None]) -> None:
    pages = unknown_ids()

    def answer(_query: ListQuery) -> ListPage:
        return ListPage([listed(name, created(int(name[5:]))) for name in next(pages)], 50, None, 50)

    found, reader = read(answer)
    assert len(found) == len(set(found))
    assert reader.problem is not None


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 80), st.none() | moments), max_size=60), min_size=1, max_size=12),
    st.none() | st.integers(-5, 100),
    st.none() | st.integers(-5, 100),
)
def test_whatever_the_pages_hold_the_reading_ends(
    pages: list[list[tuple[int, int | None]]], total: int | None, limit: int | None
) -> None:
    turns = cycle_of(pages)

    def answer(_query: ListQuery) -> ListPage:
        tasks = [listed(f"task-{number}", created) for number, created in next(turns)]
        return ListPage(tasks, len(tasks), total, limit)

    found, reader = read(answer)
    assert len(found) == len(set(found))
    assert reader._requests < 300


def cycle_of(pages: list[list[tuple[int, int | None]]]) -> Iterator[list[tuple[int, int | None]]]:
    while True:
        yield from pages


def positions(queries: Iterable[ListQuery]) -> list[int]:
    return [(query.page - 1) * query.page_limit for query in queries]


def test_positions_reach_as_far_as_pages_do() -> None:
    server = Server(spread(6_000), heeds_window=False)
    found, reader = read(server.answer)
    assert (found, reader.problem) == (list(spread(6_000)), None)
    assert len(server.asked) <= 6_000 / 40


def test_a_page_behind_a_gap_is_followed_by_earlier_ones() -> None:
    """In one second 200 tasks; between the second page and the third, those of the first vanish."""
    server = Server({f"task-{number:03}": NOW for number in range(200)})
    turn = iter(range(100))

    def drop() -> None:
        if next(turn) == 3:
            for number in range(100):
                server.created.pop(f"task-{number:03}")

    found, reader = read(server.answer, between=drop)
    assert ([f"task-{number:03}" for number in range(200)], None) == (sorted(found), reader.problem)
    assert any(later < earlier for earlier, later in pairwise(positions(server.asked)))
