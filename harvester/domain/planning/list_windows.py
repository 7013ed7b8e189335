"""Choose windows of the account's list: which tasks one page answers for.

A page holds the 50 newest tasks of a window of creation times, whoever created them. So a window may be as long as it
holds 50 tasks. How many other tasks it holds (other users', or harvested long ago) is learned from `total_results`,
minute by minute.

A page of the tasks in processing answers for more: a task of its window that it does not show has finished.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from harvester.domain.planning.list_reader import PAGE_LIMIT, PROCESSING, ListPage, ListQuery
from harvester.domain.tasks.task import Task
from harvester.domain.tasks.task_id import created_at_hint_ms

_SECOND_MS = 1000
_MINUTE_MS = 60 * _SECOND_MS

UPLOAD_MS = (-1_000, 15_000)
"""Milliseconds, from and to, by which `created_at` (upload complete) follows the time in an id (upload begun)."""

ENOUGH_DATES = 20
"""Dates: with fewer, UPLOAD_MS stands."""

DATES_KEPT = 200
ODD_DATES = 0.02
"""Share of the dates, at either end, that is ignored: some ids carry no time."""

MAX_MINUTES = 7 * 24 * 60
CROWD_STEP = 0.2
"""Weight of the latest page in the mean ratio of entries."""

MAX_TASKS = 500
"""Tasks: the most that one page is requested for, because all of them are claimed for it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task, the value of an answer about it in requests, and the probability that it is still in processing."""

    task: Task
    score: float
    unfinished: float = 1.0


@dataclass(frozen=True, slots=True)
class ListWindow:
    """A page to request, the tasks that it answers for, and the sum of their scores."""

    query: ListQuery
    tasks: tuple[Task, ...]
    score: float


@dataclass(slots=True)
class ListDensity:
    """The number of list entries between two times, as learned for each minute, or else by `ratio`."""

    ratio: float = 1.0
    """Entries for each requested task, for times without a learned number."""
    _per_minute: dict[int, float] = field(default_factory=dict)

    def learn(self, start_ms: int, end_ms: int, entries: int, ratio: float) -> None:
        """Record the number of entries between two times, and their `ratio` to the requested tasks (0: unknown)."""
        self.ratio += CROWD_STEP * (ratio - self.ratio) if ratio > 0 else 0.0
        density = entries / max(end_ms - start_ms, _SECOND_MS) * _MINUTE_MS
        first, last = start_ms // _MINUTE_MS, end_ms // _MINUTE_MS
        if len(self._per_minute) > 2 * MAX_MINUTES:
            self._per_minute.clear()
        for minute in range(max(first, last - MAX_MINUTES), last + 1):
            self._per_minute[minute] = density

    def between(self, start_ms: int, end_ms: int) -> float | None:
        """Return the expected number of entries between two times; None if no number is known."""
        first, last = self._per_minute.get(start_ms // _MINUTE_MS), self._per_minute.get(end_ms // _MINUTE_MS)
        first, last = last if first is None else first, first if last is None else last
        return None if first is None or last is None else (first + last) / 2 * (end_ms - start_ms) / _MINUTE_MS


@dataclass(slots=True)
class ListModel:
    """Learns from pages how many entries the list has, and by how much `created_at` follows the time in an id."""

    page_limit: int = PAGE_LIMIT
    everything: ListDensity = field(default_factory=ListDensity)
    processing: ListDensity = field(default_factory=ListDensity)
    _upload_ms: tuple[int, int] = UPLOAD_MS
    _uploads_ms: deque[int] = field(default_factory=lambda: deque(maxlen=DATES_KEPT))

    def learn(self, query: ListQuery, page: ListPage, known: int) -> None:
        """Learn from a page; `known` of its entries were requested."""
        if page.limit_per_page is not None and max(1, page.count) <= page.limit_per_page < query.page_limit:
            self.page_limit = page.limit_per_page
        for task in page.tasks:
            self.learn_date(task.task_id, task.created_at_ms)
        start_ms, end_ms = query.started_at_ms, query.ended_at_ms
        if end_ms is None or query.page != 1:
            return
        density = self.everything if query.status is None else self.processing
        ratio = page.count / max(1, known) if page.count else 0
        total, oldest_ms = max(page.count, page.total_results or 0), _oldest_ms(page, start_ms)
        if not is_complete(query, page) and start_ms < oldest_ms < end_ms:
            # The page holds the newest part of the window, and the total also counts the older part. Learn the two
            # parts separately if they are minutes apart.
            if total == page.count:
                start_ms = oldest_ms
            elif oldest_ms // _MINUTE_MS > start_ms // _MINUTE_MS:
                density.learn(start_ms, oldest_ms, total - page.count, 0.0)
                start_ms, total = oldest_ms, page.count
        density.learn(start_ms, end_ms, total, ratio)

    def learn_date(self, task_id: str, created_at_ms: int | None) -> None:
        """Learn from a creation time (Unix ms) by how much it follows the time in the id."""
        hint_ms = created_at_hint_ms(task_id)
        if hint_ms is None or created_at_ms is None:
            return
        self._uploads_ms.append(created_at_ms - hint_ms)
        count = len(self._uploads_ms)
        if count >= ENOUGH_DATES:
            odd, ordered = int(count * ODD_DATES), sorted(self._uploads_ms)
            self._upload_ms = (ordered[odd] - _SECOND_MS, ordered[-1 - odd] + _SECOND_MS)

    def is_crowded(self, task: Task) -> bool:
        """Whether the list has as many entries at the task's time as a page holds, so that a page may not show it."""
        start_ms, end_ms = self.span_ms(task)
        return (self.everything.between(start_ms, _end_ms(end_ms)) or 0.0) >= self.page_limit

    def span_ms(self, task: Task) -> tuple[int, int]:
        """Return the earliest and latest creation time (Unix ms) that the task may have in the list."""
        if task.created_at_ms is not None:
            return task.created_at_ms, task.created_at_ms
        # The id carries the API's time, so a wrong clock of this machine does not matter.
        hint_ms = created_at_hint_ms(task.task_id)
        created_ms_estimate = task.created_ms_estimate if hint_ms is None else hint_ms
        earliest, latest = self._upload_ms
        return created_ms_estimate + earliest, created_ms_estimate + latest


def is_complete(query: ListQuery, page: ListPage) -> bool:
    """Whether the page holds all tasks of its window: a server may return shorter pages than requested."""
    return page.count < query.page_limit and (page.total_results or 0) <= page.count


def is_whole_page(page: ListPage) -> bool:
    """Whether a first page holds all tasks of its window: no further one is announced, and it is not full."""
    return page.count < (page.limit_per_page or PAGE_LIMIT) and (page.total_results or 0) <= page.count


def best_window(
    scored: Iterable[Candidate], listing: ListModel, *, at_least: int, only_processing: bool = False
) -> ListWindow | None:
    """Return the page with the highest score among those that answer for `at_least` tasks; None if there is none.

    With `only_processing` the page shows only tasks in processing.
    """
    placed = sorted((listing.span_ms(one.task), one.task.row_id, one) for one in scored)
    spans, ones = [span for span, _, _ in placed], [one for _, _, one in placed]
    density = listing.processing if only_processing else listing.everything
    entries = _entries(spans, [one.unfinished if only_processing else 1.0 for one in ones], density)
    # A window reaches beyond an inexact date, and the newest entries come first: they leave less room on the page.
    rooms = [listing.page_limit - (density.between(start_ms, _end_ms(end_ms)) or 0.0) for start_ms, end_ms in spans]
    sums = list(accumulate((one.score for one in ones), initial=0.0))
    best: tuple[float, int, int] | None = None
    first, on_page = 0, 0.0
    for last in range(len(ones)):
        on_page += entries[last]
        while first < last and (on_page > rooms[last] or last - first >= MAX_TASKS):
            on_page -= entries[first]
            first += 1
        score = sums[last + 1] - sums[first]
        if last - first + 1 >= at_least and (best is None or score > best[0]):
            best = (score, first, last)
    if best is None:
        return None
    score, first, last = best
    query = _query(spans[first : last + 1], listing, only_processing=only_processing)
    return ListWindow(query, tuple(one.task for one in ones[first : last + 1]), score)


def absent_from_page(query: ListQuery, page: ListPage, tasks: Iterable[Task], listing: ListModel) -> list[Task]:
    """Return the tasks whose times the page covers, and which it does not show."""
    shown = {task.task_id for task in page.tasks}
    to_ms = query.ended_at_ms or 0
    # An incomplete page may leave out tasks that are older than its oldest entry.
    from_ms = query.started_at_ms if is_complete(query, page) else _oldest_ms(page, to_ms) + 1
    found = []
    for task in tasks:
        earliest_ms, latest_ms = listing.span_ms(task)
        if task.task_id not in shown and from_ms <= earliest_ms and latest_ms <= to_ms:
            found.append(task)
    return found


def absent_between_entries(query: ListQuery, page: ListPage, tasks: Iterable[Task], listing: ListModel) -> list[Task]:
    """Return those of them that are older than the newest entry: the list is not merely late with them."""
    newest_ms = max((task.created_at_ms for task in page.tasks if task.created_at_ms is not None), default=None)
    return [] if newest_ms is None else absent_from_page(replace(query, ended_at_ms=newest_ms), page, tasks, listing)


def _end_ms(latest_ms: int) -> int:
    return (latest_ms // _SECOND_MS + 1) * _SECOND_MS


def _oldest_ms(page: ListPage, default_ms: int) -> int:
    return min((task.created_at_ms for task in page.tasks if task.created_at_ms is not None), default=default_ms)


def _query(spans: Sequence[tuple[int, int]], listing: ListModel, *, only_processing: bool) -> ListQuery:
    start_ms = spans[0][0] // _SECOND_MS * _SECOND_MS
    end_ms = _end_ms(max(end for _, end in spans))
    status = PROCESSING if only_processing else None
    return ListQuery(start_ms, end_ms, page=1, page_limit=listing.page_limit, status=status)


def _entries(spans: Sequence[tuple[int, int]], own: Sequence[float], density: ListDensity) -> list[float]:
    """Return for each task the number of entries since the task before it; `own` is its own share of an entry."""
    result: list[float] = []
    before_ms: int | None = None
    for (start_ms, _), share in zip(spans, own, strict=True):
        gap = None if before_ms is None else density.between(before_ms, start_ms)
        result.append(max(share, share * density.ratio if gap is None else gap))
        before_ms = start_ms
    return result
