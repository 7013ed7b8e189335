"""Windows of the account's list: which tasks one page would answer for.

A page holds 50 tasks, the newest of a window of creation times, whoever made them. So a window may be as long as it
takes to hold 50; how many others there are (another user's tasks, one's own that were harvested long ago) is learned
from `total_results`, minute by minute.

A page of only what is still processing answers for more: whatever of a window it does not show has finished.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from harvester.domain.planning.list_reader import PAGE_LIMIT, PROCESSING, ListPage, ListQuery
from harvester.domain.tasks.task import Task
from harvester.domain.tasks.task_id import created_at_hint_ms

_SECOND_MS = 1000
_MINUTE_MS = 60 * _SECOND_MS

UPLOAD_MS = (-1_000, 15_000)
"""An id is made when an upload begins, `created_at` when it is complete: so much later, before more is known."""

ENOUGH_DATES = 20
DATES_KEPT = 200
ODD_DATES = 0.02
"""Such a part of the dates, at either end, may be of ids that carry no time."""

MAX_MINUTES = 7 * 24 * 60
CROWD_STEP = 0.2

MAX_TASKS = 500
"""So many tasks at most are asked about with one page: they are claimed for it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task, what it is worth to hear of it, and the probability that it is still processing."""

    task: Task
    score: float
    unfinished: float = 1.0


@dataclass(frozen=True, slots=True)
class Window:
    """One page to ask for, the tasks it would answer for, and what these are worth together."""

    query: ListQuery
    tasks: tuple[Task, ...]
    score: float


@dataclass(slots=True)
class ListDensity:
    """How many entries the list has between two times: learned by the minute, and else in proportion."""

    ratio: float = 1.0
    """Entries for each task that is asked about, where nothing is known of the time."""
    _per_minute: dict[int, float] = field(default_factory=dict)

    def learn(self, start_ms: int, end_ms: int, entries: int, ratio: float) -> None:
        """Take note that there are so many entries between two times, `ratio` for each that was asked about."""
        self.ratio += CROWD_STEP * (ratio - self.ratio) if ratio > 0 else 0.0
        density = entries / max(end_ms - start_ms, _SECOND_MS) * _MINUTE_MS
        first, last = start_ms // _MINUTE_MS, end_ms // _MINUTE_MS
        if len(self._per_minute) > 2 * MAX_MINUTES:
            self._per_minute.clear()
        for minute in range(max(first, last - MAX_MINUTES), last + 1):
            self._per_minute[minute] = density

    def between(self, start_ms: int, end_ms: int) -> float | None:
        """Return how many entries are expected between two times; None where nothing is known of them."""
        first, last = self._per_minute.get(start_ms // _MINUTE_MS), self._per_minute.get(end_ms // _MINUTE_MS)
        first, last = last if first is None else first, first if last is None else last
        return None if first is None or last is None else (first + last) / 2 * (end_ms - start_ms) / _MINUTE_MS


@dataclass(slots=True)
class ListModel:
    """What pages have taught about the list: how crowded it is, and how ids and dates belong together."""

    page_limit: int = PAGE_LIMIT
    everything: ListDensity = field(default_factory=ListDensity)
    processing: ListDensity = field(default_factory=ListDensity)
    _upload_ms: tuple[int, int] = UPLOAD_MS
    _uploads_ms: deque[int] = field(default_factory=lambda: deque(maxlen=DATES_KEPT))

    def learn(self, query: ListQuery, page: ListPage, known: int) -> None:
        """Take note of a page, `known` of whose entries were asked about."""
        if page.limit_per_page is not None and max(1, page.count) <= page.limit_per_page < query.page_limit:
            self.page_limit = page.limit_per_page
        for task in page.tasks:
            self.learn_date(task.task_id, task.created_at_ms)
        start_ms, end_ms = query.started_at_ms, query.ended_at_ms
        if end_ms is None or query.page != 1:
            return
        crowd = self.everything if query.status is None else self.processing
        ratio = page.count / max(1, known) if page.count else 0
        total, oldest_ms = max(page.count, page.total_results or 0), _oldest_ms(page, start_ms)
        if not is_complete(query, page) and start_ms < oldest_ms < end_ms:
            # The page holds the newest part of the window. What the older part holds is known from the total, and told
            # apart where it is minutes away.
            if total == page.count:
                start_ms = oldest_ms
            elif oldest_ms // _MINUTE_MS > start_ms // _MINUTE_MS:
                crowd.learn(start_ms, oldest_ms, total - page.count, 0.0)
                start_ms, total = oldest_ms, page.count
        crowd.learn(start_ms, end_ms, total, ratio)

    def learn_date(self, task_id: str, created_at_ms: int | None) -> None:
        """Take note of when a task was created, to tell how much later that is than the time in its id."""
        hint_ms = created_at_hint_ms(task_id)
        if hint_ms is None or created_at_ms is None:
            return
        self._uploads_ms.append(created_at_ms - hint_ms)
        count = len(self._uploads_ms)
        if count >= ENOUGH_DATES:
            odd, ordered = int(count * ODD_DATES), sorted(self._uploads_ms)
            self._upload_ms = (ordered[odd] - _SECOND_MS, ordered[-1 - odd] + _SECOND_MS)

    def is_crowded(self, task: Task) -> bool:
        """Whether the list has so many entries of the task's time that a page need not show it."""
        start_ms, end_ms = self.span_ms(task)
        return (self.everything.between(start_ms, _end_ms(end_ms)) or 0.0) >= self.page_limit

    def span_ms(self, task: Task) -> tuple[int, int]:
        """Return between which two times the list may have the task."""
        if task.created_at_ms is not None:
            return task.created_at_ms, task.created_at_ms
        # The API's time, whatever the clock says that queued it.
        hint_ms = created_at_hint_ms(task.task_id)
        born_ms = task.born_ms if hint_ms is None else hint_ms
        earliest, latest = self._upload_ms
        return born_ms + earliest, born_ms + latest


def is_complete(query: ListQuery, page: ListPage) -> bool:
    """Whether the page holds all that was asked for: a server may give less at a time than it was asked to."""
    return page.count < query.page_limit and (page.total_results or 0) <= page.count


def best_window(
    scored: Iterable[Candidate], listing: ListModel, *, at_least: int, only_processing: bool = False
) -> Window | None:
    """Return the page that is worth most, among those that answer for `at_least` so many tasks; None without one.

    `only_processing`: of a page that shows only what is still processing.
    """
    placed = sorted((listing.span_ms(one.task), one.task.key, one) for one in scored)
    spans, ones = [span for span, _, _ in placed], [one for _, _, one in placed]
    crowd = listing.processing if only_processing else listing.everything
    entries = _entries(spans, [one.unfinished if only_processing else 1.0 for one in ones], crowd)
    # Where a date is not exact, the window reaches beyond it, and the newest entries come first.
    rooms = [listing.page_limit - (crowd.between(start_ms, _end_ms(end_ms)) or 0.0) for start_ms, end_ms in spans]
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
    return Window(query, tuple(one.task for one in ones[first : last + 1]), score)


def absent_from_processing_page(
    query: ListQuery, page: ListPage, tasks: Iterable[Task], listing: ListModel
) -> list[Task]:
    """Return the tasks that a page of what is still processing would show, and does not."""
    shown = {task.task_id for task in page.tasks}
    to_ms = query.ended_at_ms or 0
    # Otherwise the page may leave out what is older than its oldest entry.
    from_ms = query.started_at_ms if is_complete(query, page) else _oldest_ms(page, to_ms) + 1
    found = []
    for task in tasks:
        earliest_ms, latest_ms = listing.span_ms(task)
        if task.task_id not in shown and from_ms <= earliest_ms and latest_ms <= to_ms:
            found.append(task)
    return found


def _end_ms(latest_ms: int) -> int:
    return (latest_ms // _SECOND_MS + 1) * _SECOND_MS


def _oldest_ms(page: ListPage, default_ms: int) -> int:
    return min((task.created_at_ms for task in page.tasks if task.created_at_ms is not None), default=default_ms)


def _query(spans: Sequence[tuple[int, int]], listing: ListModel, *, only_processing: bool) -> ListQuery:
    start_ms = spans[0][0] // _SECOND_MS * _SECOND_MS
    end_ms = _end_ms(max(end for _, end in spans))
    status = PROCESSING if only_processing else None
    return ListQuery(start_ms, end_ms, page=1, page_limit=listing.page_limit, status=status)


def _entries(spans: Sequence[tuple[int, int]], own: Sequence[float], crowd: ListDensity) -> list[float]:
    """Return for each task how many entries come with the step from the one before; `own` is its own share."""
    result: list[float] = []
    before_ms: int | None = None
    for (start_ms, _), share in zip(spans, own, strict=True):
        gap = None if before_ms is None else crowd.between(before_ms, start_ms)
        result.append(max(share, share * crowd.ratio if gap is None else gap))
        before_ms = start_ms
    return result
