"""The tasks of the stand-in, and the answers to all requests about them."""

from bisect import bisect_left, bisect_right, insort
from dataclasses import replace
from typing import Any

import numpy as np

from harvester.domain.tasks.task import ApiVersion
from harvester.simulator.clock import SimulatorClock
from harvester.simulator.dialects import DIALECTS
from harvester.simulator.listing import ListQuery, Page
from harvester.simulator.object_ids import ObjectIdSequence
from harvester.simulator.requests import EmbedRequest
from harvester.simulator.seeding import LONGEST_UPLOAD_S, seeded_requests
from harvester.simulator.settings import SimulatorSettings
from harvester.simulator.tasks import RETENTION_MS, SimulatedTask, TaskStatus, draw_task
from harvester.simulator.vectors import SimulatedEmbeddings, embeddings_of

# Seconds. The API makes an id when the upload begins, and created_at when it ends: seconds later in its example.
_SHORTEST_UPLOAD_S = 0.2


class Catalogue:
    """The tasks of one organization, on one clock; a task past its retention is unknown."""

    def __init__(self, settings: SimulatorSettings, clock: SimulatorClock) -> None:
        self._settings = settings
        self._clock = clock
        self._tasks: dict[str, SimulatedTask] = {}
        self._by_creation: list[tuple[int, str]] = []
        self._ids = ObjectIdSequence(settings.seed)
        self._uploads = np.random.default_rng([settings.seed, int.from_bytes(b"uploads")])
        for request, created_at_ms in seeded_requests(settings, clock.now_ms()):
            self._add(request, created_at_ms)

    def ids(self) -> list[str]:
        """Return every id that was ever made, the oldest first, also those past their retention."""
        return [task_id for _, task_id in self._by_creation]

    def find(self, task_id: str, version: ApiVersion | None = None) -> SimulatedTask | None:
        """Return the task, or None if it never existed, is past its retention, or `version` does not know it."""
        task = self._tasks.get(task_id.lower())
        if task is None or not task.exists_at(self._clock.now_ms()):
            return None
        return task if version is None or self._is_known(task, version) else None

    def find_expired(self, task_id: str, version: ApiVersion) -> SimulatedTask | None:
        """Return a task past its retention that is answered as failed, by the setting `expiry`; else None."""
        task = self._tasks.get(task_id.lower())
        if task is None or self._clock.now_ms() < task.expires_at_ms or not self._is_known(task, version):
            return None
        is_failed = {"gone": False, "failed": True, "mixed": task.content % 2 == 1}[self._settings.expiry]
        return task if is_failed else None

    def task(self, task_id: str) -> SimulatedTask:
        """Return the task at any time; KeyError for an id that was never made."""
        return self._tasks[task_id.lower()]

    def status(self, task_id: str) -> TaskStatus:
        """Return the status at this moment; KeyError for an id that was never made."""
        return self.task(task_id).status_at(self._clock.now_ms())

    def create(self, request: EmbedRequest) -> SimulatedTask:
        """Add a task that was uploaded just now."""
        return self._add(request, self._clock.now_ms())

    def hold(  # noqa: PLR0913  # each is a part of the task's fate
        self,
        request: EmbedRequest,
        *,
        age_s: float = 0.0,
        processing_s: float | None = None,
        duration_s: float | None = None,
        failure: str | None = None,
        is_truncated: bool | None = None,
    ) -> SimulatedTask:
        """Add a task that was uploaded `age_s` ago, of any model; what is given is not drawn.

        A `failure` is the message with which it fails; the empty one lets it succeed.
        """
        task = self._add(request, self._clock.now_ms() - round(age_s * 1000))
        given: dict[str, Any] = {
            "finished_at_ms": None if processing_s is None else task.created_at_ms + round(processing_s * 1000),
            "duration_s": duration_s,
            "failure": failure,
            "fails": None if failure is None else bool(failure),
            "is_truncated": is_truncated,
        }
        task = replace(task, **{name: value for name, value in given.items() if value is not None})
        self._tasks[task.task_id] = task
        return task

    def page(self, query: ListQuery) -> Page:
        """Return one page of the tasks that exist now, newest first, as the list of the query's version shows them."""
        now_ms = self._clock.now_ms()
        oldest_ms = max(now_ms - RETENTION_MS + 1, query.started_at_ms or 0)
        newest_ms = now_ms if query.ended_at_ms is None else min(now_ms, query.ended_at_ms)
        first = bisect_left(self._by_creation, oldest_ms, key=_creation)
        last = bisect_right(self._by_creation, newest_ms, key=_creation)
        matching = [self._tasks[task_id] for _, task_id in reversed(self._by_creation[first:last])]
        if query.version is not None and self._settings.cross_version == "none":
            matching = [task for task in matching if task.request.version == query.version]
        if query.status is not None:
            matching = [task for task in matching if task.status_at(now_ms) == query.status]
        offset = (query.page - 1) * query.page_limit
        return Page(matching[offset : offset + query.page_limit], len(matching), query)

    def embeddings(self, task_id: str, options: tuple[str, ...] = ()) -> SimulatedEmbeddings:
        """Compute the embeddings that a client must store, ready or not; without `options`, those of all options.

        The same seed and id give the same numbers, bit for bit. KeyError for an id that was never made.
        """
        return embeddings_of(self._settings.seed, self.task(task_id), options or None)

    def document(self, task_id: str, options: tuple[str, ...] = (), version: ApiVersion | None = None) -> bytes:
        """Return the JSON body of a retrieve at this moment, with the result once the task is ready.

        Without `version`, it is that of the version that made the task.
        """
        task, now_ms = self.task(task_id), self._clock.now_ms()
        dialect = DIALECTS[version or task.request.version]
        if task.status_at(now_ms) != "ready":
            return dialect.task(task, now_ms)
        return dialect.result(task, now_ms, self.embeddings(task_id, options))

    def _is_known(self, task: SimulatedTask, version: ApiVersion) -> bool:
        if task.request.version == version:
            return True
        return self._settings.cross_version == "all" and DIALECTS[version].knows(task)

    def _add(self, request: EmbedRequest, created_at_ms: int) -> SimulatedTask:
        upload_s = self._uploads.uniform(_SHORTEST_UPLOAD_S, LONGEST_UPLOAD_S)
        task_id = self._ids.next(int(created_at_ms / 1000 - upload_s))
        task = draw_task(self._settings, task_id, request, created_at_ms)
        self._tasks[task_id] = task
        insort(self._by_creation, (created_at_ms, task_id))
        return task


def _creation(entry: tuple[int, str]) -> int:
    return entry[0]
