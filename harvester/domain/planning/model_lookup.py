"""Choose pages of the account's list that name the models of stored results.

A result of version 2 of the API does not say which model has made it; the task's entry in the list does. One page names
the models of up to 50 results. Times in `_ms` are Unix milliseconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from harvester.domain.planning.list_reader import PAGE_LIMIT, ListPage, ListQuery
from harvester.domain.planning.list_windows import Candidate, ListModel, ListWindow, best_window
from harvester.domain.tasks.listing import UnnamedResult
from harvester.domain.tasks.task import DAY_MS, ApiVersion, Task

HOUR_MS = 3600 * 1000

URGENT_MS = DAY_MS
"""Milliseconds before its deadline from which a result has its model looked up at once: the list forgets it soon."""

MANY = PAGE_LIMIT * 9 // 10
"""Results on one page that are worth it at once, if nothing else is."""

SHORTEST_WAIT_MS = 60 * 1000
"""Milliseconds for which a result waits, at least, for others that the same page names."""

BUDGET_SHARE = 0.01
"""Share of the request budget that pages with few results may take."""

BARREN_PAGES = 4
"""Pages in a row that name no model, after which a lookup gives up for a while."""


@dataclass(frozen=True, slots=True)
class Load:
    """What else a harvest has to request.

    `is_idle`: no task of the `open_tasks` is worth a request now. `rate_per_s` is the sustained rate limit in force,
    None without one. `requests` is how many others were sent since the last page of a lookup.
    """

    open_tasks: int
    is_idle: bool
    rate_per_s: float | None
    requests: int


def is_page_due(window: ListWindow, results: Sequence[UnnamedResult], now_ms: int, load: Load) -> bool:
    """Return whether the page `window`, the best for these results, is worth a request now."""
    if any(0 < result.task.expires_at_ms - now_ms <= URGENT_MS for result in results):
        return True
    waited_ms = now_ms - min(result.harvested_at_ms for result in results)
    if not load.is_idle:
        return len(window.tasks) >= MANY and waited_ms >= HOUR_MS and load.requests >= MANY
    patience_ms = HOUR_MS if load.open_tasks else _patience_ms(load.rate_per_s)
    return len(window.tasks) >= MANY or waited_ms >= patience_ms


def _patience_ms(rate_per_s: float | None) -> float:
    """Return how long results wait for others while no task is open: a page with few of them should cost little."""
    return min(HOUR_MS, max(SHORTEST_WAIT_MS, 1000 / (rate_per_s * BUDGET_SHARE) if rate_per_s else 0.0))


@dataclass(slots=True)
class ModelLookup:
    """Chooses the pages of one lookup, and decides when it gives up.

    `listing` learns from the pages elsewhere. `barren` is how many of the last pages have named no model.
    """

    listing: ListModel
    barren: int = 0
    _next_pages: dict[ListQuery, int] = field(default_factory=dict)
    """The page to request next of a window that one page could not show whole, by its first page."""

    @property
    def has_given_up(self) -> bool:
        """Whether further pages would probably name no model either."""
        return self.barren >= BARREN_PAGES

    def next_page(self, results: Iterable[UnnamedResult], version: ApiVersion | None = None) -> ListWindow | None:
        """Return the page of that API version's list that should name the most of these results; None without any."""
        tasks = [result.task for result in results]
        dated = [Candidate(task, 1.0) for task in tasks if task.is_dated]
        window = best_window(dated, self.listing, at_least=1) or self._undated(tasks)
        if window is None:
            return None
        window = self._whole(window, tasks)
        query = replace(window.query, version=version)
        return replace(window, query=replace(query, page=self._next_pages.get(query, 1)))

    def record(self, window: ListWindow, page: ListPage, named: int) -> list[Task]:
        """Learn from the page that `window` brought, which has named the models of `named` results.

        Return the tasks of the window whose models the list does not name, or not within a few pages.
        """
        self.barren = 0 if named else self.barren + 1
        is_end = _is_last(window.query, page)
        if not is_end:
            self._next_pages[replace(window.query, page=1)] = window.query.page + 1
        if not (is_end or self.has_given_up):
            return []
        shown = {entry.task_id for entry in page.tasks if entry.metadata.model_name is not None}
        return [task for task in window.tasks if task.task_id not in shown]

    def _whole(self, window: ListWindow, tasks: Iterable[Task]) -> ListWindow:
        """Return the window with all of the tasks that it must show, and without its oldest seconds if they overflow.

        A task that is left out stays beside others, which the next page names; one in the middle would cost a page.
        """
        start_ms, end_ms = window.query.started_at_ms, window.query.ended_at_ms or 0
        spans = sorted((self.listing.span_ms(task), task.row_id, task) for task in tasks)
        inside = [(first, task) for (first, last), _, task in spans if start_ms <= first and last < end_ms]
        over = len(inside) - window.query.page_limit
        if over > 0:
            cut_ms = inside[over][0] // 1000 * 1000
            cut_ms += 1000 if inside[over - 1][0] >= cut_ms else 0
            fewer = [(first, task) for first, task in inside if first >= cut_ms]
            start_ms, inside = (cut_ms, fewer) if fewer else (start_ms, inside)
        query = replace(window.query, started_at_ms=start_ms)
        return replace(window, query=query, tasks=tuple(task for _, task in inside) or window.tasks)

    def _undated(self, tasks: Sequence[Task]) -> ListWindow | None:
        """Return a page of the day before the oldest task was queued: its id does not say when it was created."""
        if not tasks:
            return None
        queued_ms = min(task.added_at_ms for task in tasks)
        asked = tuple(task for task in tasks if task.added_at_ms < queued_ms + HOUR_MS)
        from_ms, to_ms = queued_ms - DAY_MS, queued_ms + HOUR_MS
        start_ms, end_ms = from_ms // 1000 * 1000, (to_ms // 1000 + 1) * 1000
        query = ListQuery(max(0, start_ms), end_ms, page_limit=self.listing.page_limit)
        return ListWindow(query, asked, float(len(asked)))


def _is_last(query: ListQuery, page: ListPage) -> bool:
    """Return whether no further page of the window has entries; a server may return shorter pages than requested."""
    if page.total_results is None:
        return page.count < query.page_limit
    return page.count == 0 or (query.page - 1) * query.page_limit + page.count >= page.total_results
