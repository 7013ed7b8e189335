"""Infer that tasks are ready from a page of the tasks in processing that does not show them. Times are Unix ms."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from harvester.domain.planning.hit_rate import HitRate
from harvester.domain.planning.list_reader import ListPage
from harvester.domain.planning.list_windows import ListModel, absent_from_page
from harvester.domain.planning.planned_requests import ListRequest
from harvester.domain.tasks.task import Task

INFERRED_READY_MS = 3600_000
"""Milliseconds for which an inference from a page without the task is tested by the next answer about it."""

DOUBT_MS = 3600_000
MAX_DOUBT_MS = 24 * 3600_000
"""Milliseconds, at first and at most, without such inferences after they have turned out to be wrong."""


@dataclass(slots=True)
class InferredReadiness:
    """The tasks that were inferred to be ready, and whether such inferences are trusted."""

    _until_ms: dict[int, int] = field(default_factory=dict)
    _hit_rate: HitRate = field(default_factory=HitRate)
    _doubts: int = 0
    _doubted_until_ms: int = 0
    _retracted: list[int] = field(default_factory=list)

    @property
    def row_ids(self) -> AbstractSet[int]:
        """The row ids of the tasks whose inference no answer has tested yet."""
        return self._until_ms.keys()

    def is_trusted(self, now_ms: int) -> bool:
        """Whether a page without a task shows that it has finished."""
        return now_ms >= self._doubted_until_ms

    def infer(self, request: ListRequest, page: ListPage, listing: ListModel, now_ms: int) -> list[Task]:
        """Return the tasks of `request` that must have finished, because a page of those in processing omits them."""
        if request.query.status is None or not self.is_trusted(now_ms):
            return []
        return absent_from_page(request.query, page, request.tasks, listing)

    def record(self, task: Task, asked_at_ms: int) -> None:
        """Record that the task was inferred to be ready from a page that was requested at `asked_at_ms`."""
        self._until_ms[task.row_id] = asked_at_ms + INFERRED_READY_MS

    def test(self, task: Task, asked_at_ms: int, *, is_finished: bool) -> int | None:
        """Test the inference by an answer about the task; return the time of the inference, None if there was none."""
        until_ms = self._until_ms.pop(task.row_id, None)
        if until_ms is None:
            return None
        self._hit_rate.learn(is_hit=is_finished)
        if not self._hit_rate.is_given:
            self._doubt(asked_at_ms)
        return until_ms - INFERRED_READY_MS

    def take_retracted(self) -> list[int]:
        """Return, once, the row ids of tasks whose inferred readiness is no longer believed."""
        retracted, self._retracted = self._retracted, []
        return retracted

    def expire_entries(self, now_ms: int) -> None:
        """Drop the inferences that have expired."""
        self._until_ms = {row_id: until_ms for row_id, until_ms in self._until_ms.items() if now_ms < until_ms}

    def _doubt(self, now_ms: int) -> None:
        """Stop inferring readiness from pages for a while, and retract the inferences that were not confirmed yet."""
        self._retracted += self._until_ms
        self._until_ms.clear()
        self._hit_rate = HitRate()
        self._doubted_until_ms = now_ms + min(MAX_DOUBT_MS, DOUBT_MS * 2 ** min(self._doubts, 10))
        self._doubts += 1
