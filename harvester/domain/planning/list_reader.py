"""Read the account's list of tasks completely, although it changes meanwhile.

The list is newest first and comes in pages. New tasks push others onto later pages, where the reader sees them again;
tasks that vanish pull others onto earlier pages, which a reader of pages 1, 2, 3, … has already read. So the reader
moves a window, not a page number: it always requests the first page of the tasks that are not newer than the oldest one
so far. It has then seen all newer tasks, whatever was added or removed.

If the window cannot move (more tasks in one second than a page holds, or a server that ignores the window or sorts in
another way), the reader counts positions instead. Each page must then overlap the tasks read before; otherwise a task
may have slipped through, and the reader steps back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.task import ApiVersion

PAGE_LIMIT = 50
"""Tasks: the longest page that the API returns (documented)."""

PROCESSING = "processing"
"""The status of a task that has not finished (documented)."""

MAX_REQUESTS = 5_000
"""Requests after which the reader stops, because the list does not end."""

MAX_IDLE_REQUESTS = 8
"""Requests in a row without progress after which the reader stops, because the server repeats itself."""

_SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class ListQuery:
    """One page of the list. Times are Unix milliseconds at whole seconds; `ended_at_ms` None leaves the end open.

    With `status` the page holds only tasks in that status. `version` is the API version whose list is asked, None for
    the one that new tasks are asked in first.
    """

    started_at_ms: int
    ended_at_ms: int | None = None
    page: int = 1
    page_limit: int = PAGE_LIMIT
    status: str | None = None
    version: ApiVersion | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """An answer of the list with `count` entries, unusable ones included; the other numbers are the server's claims."""

    tasks: Sequence[ListedTask]
    count: int
    total_results: int | None = None
    limit_per_page: int | None = None
    page: int | None = None


@dataclass(slots=True)
class ListReader:
    """Returns the next query, and the tasks of a page that it has not returned before.

    `query` is None when the list has been read; `problem` then says why it may be incomplete. The reader finds every
    task that is in the list all the time.
    """

    since_ms: int
    version: ApiVersion | None = None
    query: ListQuery | None = field(init=False)
    problem: str | None = None
    newest_ms: int | None = None
    _limit: int = PAGE_LIMIT
    _requests: int = 0
    _idle: int = 0
    _is_limit_guessed: bool = False
    _by_position: bool = False
    _seen: set[str] = field(default_factory=set)
    _passed: set[str] = field(default_factory=set)
    """The tasks read without a gap; a task on a page that does not overlap them is not added."""

    def __post_init__(self) -> None:
        self.since_ms -= self.since_ms % _SECOND_MS
        self.query = ListQuery(self.since_ms, version=self.version)

    def take(self, page: ListPage) -> list[ListedTask]:
        """Learn from the answer to `query`, and return the new tasks. Raises RuntimeError if the list has been read."""
        if self.query is None:
            raise RuntimeError("the list has been read")
        fresh: dict[str, ListedTask] = {}
        for task in page.tasks:
            created = task.created_at_ms
            if task.task_id not in self._seen and (created is None or created >= self.since_ms):
                fresh[task.task_id] = task
        self._seen.update(fresh)
        self._requests += 1
        dates = [task.created_at_ms for task in page.tasks if task.created_at_ms is not None]
        self.newest_ms = max([*dates, *([] if self.newest_ms is None else [self.newest_ms])], default=None)
        self.query = self._next(self.query, page, dates, is_fresh=bool(fresh))
        return list(fresh.values())

    def _next(self, query: ListQuery, page: ListPage, dates: list[int], *, is_fresh: bool) -> ListQuery | None:
        limit = query.page_limit
        if page.limit_per_page is not None and max(1, page.count) <= page.limit_per_page < limit:
            limit = self._limit = page.limit_per_page
        offset = (query.page - 1) * limit
        ids = {task.task_id for task in page.tasks}
        if offset and ids.isdisjoint(self._passed):
            return self._within_limits(self._at(query.ended_at_ms, offset // 2))
        has_grown = not ids <= self._passed
        self._passed |= ids
        if self._is_last(page, dates, offset, limit, is_fresh=is_fresh):
            return None
        if not self._by_position and _is_unexpected(dates, query.ended_at_ms):
            self._by_position = True
            self._passed.clear()
            return self._within_limits(self._at(None, 0))
        bound = _whole_second_after(min(dates)) if dates and not self._by_position else math.inf
        # A window that still holds the whole page would return the same page again.
        if bound < (math.inf if query.ended_at_ms is None else query.ended_at_ms) and bound <= max(dates):
            return self._within_limits(self._at(int(bound), 0), has_moved=True)
        # One position back, so that the last task that was read is seen again.
        return self._within_limits(self._at(query.ended_at_ms, offset + page.count - 1), has_moved=has_grown)

    def _is_last(self, page: ListPage, dates: list[int], offset: int, limit: int, *, is_fresh: bool) -> bool:
        if dates and max(dates) < self.since_ms:
            return True
        claims_more = page.total_results is not None and page.total_results > offset + page.count
        if not claims_more:
            return page.count < limit
        if is_fresh or self._is_limit_guessed:
            return not is_fresh
        if page.count < limit:
            # The server may shorten pages silently: take the length of a short page as the limit, once.
            self._limit, self._is_limit_guessed = max(1, page.count), True
        return False

    def _at(self, ended_at_ms: int | None, position: int) -> ListQuery:
        """Return the page that holds that position and reaches farthest beyond it.

        Pages begin at multiples of their size, so the reader chooses the size.
        """
        size = max(range(1, self._limit + 1), key=lambda size: (size - position % size, size))
        return ListQuery(self.since_ms, ended_at_ms, position // size + 1, size, version=self.version)

    def _within_limits(self, query: ListQuery, *, has_moved: bool = False) -> ListQuery | None:
        self._idle = 0 if has_moved else self._idle + 1
        if self._idle >= MAX_IDLE_REQUESTS:
            self.problem = f"The list of tasks repeats itself; it was left after {self._requests} requests."
        elif self._requests >= MAX_REQUESTS:
            self.problem = f"The list of tasks does not end; it was left after {self._requests} requests."
        return query if self.problem is None else None


def _is_unexpected(dates: list[int], ended_at_ms: int | None) -> bool:
    """Whether the tasks are not newest first, or newer than the end of the window."""
    is_sorted = all(newer >= older for newer, older in pairwise(dates))
    return not is_sorted or (ended_at_ms is not None and bool(dates) and dates[0] > ended_at_ms)


def _whole_second_after(unix_ms: int) -> int:
    """Return the next whole second.

    The API's documentation does not say whether a window includes its end, nor how it treats milliseconds. So windows
    end at a whole second after everything that they must include.
    """
    return (unix_ms // _SECOND_MS + 1) * _SECOND_MS
