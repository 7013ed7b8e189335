"""The account's lists of both API versions: whether they show the same tasks, so that one of them is enough."""

from collections.abc import Mapping
from dataclasses import dataclass

from harvester.domain.planning.list_reader import ListPage
from harvester.domain.planning.list_windows import is_whole_page
from harvester.domain.tasks.task import ApiVersion

SETTLED_MS = 60_000
"""Milliseconds: a younger task may be missing in a list that was read a moment before."""


@dataclass(slots=True)
class AccountLists:
    """The API versions whose lists are read, in this order; learns whether the first shows what the others do."""

    order: tuple[ApiVersion, ...]
    are_same: bool = False

    @property
    def to_read(self) -> tuple[ApiVersion, ...]:
        """The versions whose lists must be read to see every task."""
        return self.order[:1] if self.are_same else self.order


@dataclass(frozen=True, slots=True)
class ListedBefore:
    """The ids that another list has shown since `since_ms`, with their creation times, None if unknown.

    The reading began at `began_ms`; all times are Unix milliseconds.
    """

    created_ms: Mapping[str, int | None]
    since_ms: int
    began_ms: int

    def is_settled(self, created_ms: int | None) -> bool:
        """Return whether a task is old enough to be in every list that shows it."""
        return created_ms is not None and self.since_ms <= created_ms < self.began_ms - SETTLED_MS

    def agrees_with(self, page: ListPage) -> bool:
        """Return whether the first page of a second list shows the same tasks, at least one, and announces no more."""
        new = sum(task.task_id not in self.created_ms for task in page.tasks)
        if page.total_results is None:
            has_others = not is_whole_page(page)
        else:
            has_others = page.total_results - new > len(self.created_ms)
        if has_others:
            return False
        shown = {task.task_id for task in page.tasks if self.is_settled(task.created_at_ms)}
        dates = [task.created_at_ms for task in page.tasks if task.created_at_ms is not None]
        oldest_ms = self.since_ms if is_whole_page(page) else min(dates, default=self.began_ms) + 1
        expected = {
            task_id
            for task_id, created_ms in self.created_ms.items()
            if self.is_settled(created_ms) and created_ms is not None and created_ms >= oldest_ms
        }
        return bool(shown) and expected <= shown <= self.created_ms.keys()
