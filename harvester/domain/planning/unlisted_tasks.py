"""Tasks that the list does not show, though it should. Times are Unix milliseconds."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from harvester.domain.planning.planned_requests import ListRequest
from harvester.domain.tasks.task import Task

PAGE_MISSES = 2
"""Pages: the planner asks about a task by itself after this many did not show it, however narrow their window."""

MISSES_KEPT_MS = 24 * 3600_000
"""Milliseconds for which a missed page counts."""

UNLISTED_MS = 60_000
"""Milliseconds, plus the task's age, for which the planner asks by itself about a task that the list does not show."""


@dataclass(slots=True)
class UnlistedTasks:
    """Counts the pages that did not show a task. The planner asks by itself about tasks that pages do not show."""

    _unlisted: dict[int, int] = field(default_factory=dict)
    _misses: dict[int, tuple[int, int]] = field(default_factory=dict)

    def row_ids(self, now_ms: int) -> set[int]:
        """Return the row ids of the tasks that the list does not show."""
        return {row_id for row_id, until_ms in self._unlisted.items() if now_ms < until_ms}

    def record_page(self, request: ListRequest, answered: Iterable[Task], now_ms: int, *, is_whole: bool) -> None:
        """Record which tasks of `request` a page has `answered` for; `is_whole`: it has all entries of its window."""
        answered_ids = {task.row_id for task in answered}
        for task in request.tasks:
            misses, _ = self._misses.pop(task.row_id, (0, 0))
            if task.row_id in answered_ids:
                continue
            if is_whole or misses + 1 >= PAGE_MISSES:
                # The older the task, the less likely it is that the list is only late.
                self._unlisted[task.row_id] = now_ms + UNLISTED_MS + task.age_ms(now_ms)
            else:
                self._misses[task.row_id] = misses + 1, now_ms + MISSES_KEPT_MS

    def forget(self, task: Task) -> None:
        """Drop what is known of a task that has finished."""
        self._misses.pop(task.row_id, None)
        self._unlisted.pop(task.row_id, None)

    def expire_entries(self, now_ms: int) -> None:
        """Drop the entries that have expired."""
        self._unlisted = {row_id: until_ms for row_id, until_ms in self._unlisted.items() if now_ms < until_ms}
        self._misses = {row_id: missed for row_id, missed in self._misses.items() if now_ms < missed[1]}
