"""The tasks of the stand-in, and the answers to all requests about them."""

from bisect import bisect_left, bisect_right, insort

import numpy as np

from harvester.domain.errors import UsageError
from harvester.simulator import documents
from harvester.simulator.clock import SimulatorClock
from harvester.simulator.listing import ListQuery, Page
from harvester.simulator.object_ids import ObjectIdSequence
from harvester.simulator.settings import SimulatorSettings
from harvester.simulator.tasks import RETENTION_MS, SimulatedTask, TaskStatus, VideoRequest, draw_task
from harvester.simulator.vectors import SimulatedEmbeddings, embeddings_of

# Seconds. The API makes an id when the upload begins, and created_at when it ends: seconds later in its example.
_SHORTEST_UPLOAD_S, _LONGEST_UPLOAD_S = 0.2, 9.0


class Catalogue:
    """The tasks of one organization, on one clock; a task past its retention is unknown."""

    def __init__(self, settings: SimulatorSettings, clock: SimulatorClock) -> None:
        self._settings = settings
        self._clock = clock
        self._tasks: dict[str, SimulatedTask] = {}
        self._by_creation: list[tuple[int, str]] = []
        self._ids = ObjectIdSequence(settings.seed)
        self._uploads = np.random.default_rng([settings.seed, int.from_bytes(b"uploads")])
        self._seed_tasks()

    def ids(self) -> list[str]:
        """Return every id that was ever made, the oldest first, also those past their retention."""
        return [task_id for _, task_id in self._by_creation]

    def find(self, task_id: str) -> SimulatedTask | None:
        """Return the task, or None if it never existed or is past its retention."""
        task = self._tasks.get(task_id.lower())
        return task if task is not None and task.exists_at(self._clock.now_ms()) else None

    def task(self, task_id: str) -> SimulatedTask:
        """Return the task at any time; KeyError for an id that was never made."""
        return self._tasks[task_id.lower()]

    def status(self, task_id: str) -> TaskStatus:
        """Return the status at this moment; KeyError for an id that was never made."""
        return self.task(task_id).status_at(self._clock.now_ms())

    def create(self, request: VideoRequest) -> SimulatedTask:
        """Add a task that was uploaded just now."""
        return self._add(request, self._clock.now_ms())

    def page(self, query: ListQuery) -> Page:
        """Return one page of the tasks that exist now, newest first."""
        now_ms = self._clock.now_ms()
        oldest_ms = max(now_ms - RETENTION_MS + 1, query.started_at_ms or 0)
        newest_ms = now_ms if query.ended_at_ms is None else min(now_ms, query.ended_at_ms)
        first = bisect_left(self._by_creation, oldest_ms, key=_creation)
        last = bisect_right(self._by_creation, newest_ms, key=_creation)
        matching = [task_id for _, task_id in reversed(self._by_creation[first:last])]
        if query.status is not None:
            matching = [one for one in matching if self._tasks[one].status_at(now_ms) == query.status]
        offset = (query.page - 1) * query.page_limit
        on_page = [self._tasks[task_id] for task_id in matching[offset : offset + query.page_limit]]
        return Page(on_page, len(matching), query)

    def embeddings(self, task_id: str, options: tuple[str, ...] = ()) -> SimulatedEmbeddings:
        """Compute the embeddings that a client must store, ready or not; without `options`, those of all options.

        The same seed and id give the same numbers, bit for bit. KeyError for an id that was never made.
        """
        task = self.task(task_id)
        computed = task.request.options
        chosen = tuple(option for option in computed if option in options) if options else computed
        return embeddings_of(self._settings.seed, task, chosen)

    def document(self, task_id: str, options: tuple[str, ...] = ()) -> bytes:
        """Return the JSON body of a retrieve at this moment, with segments once the task is ready."""
        task = self.task(task_id)
        now_ms = self._clock.now_ms()
        if task.status_at(now_ms) != "ready":
            return documents.task_body(task, now_ms)
        return documents.retrieved_body(task, now_ms, self.embeddings(task_id, options))

    def _seed_tasks(self) -> None:
        settings, now_ms = self._settings, self._clock.now_ms()
        newest_ms = now_ms - round(settings.age_s * 1000)
        if newest_ms < (settings.spread_s + _LONGEST_UPLOAD_S) * 1000:
            raise UsageError("The oldest task would have been created before 1970.", remedy="Lower its age.")
        step_ms = settings.spread_s * 1000 / max(settings.tasks - 1, 1)
        for number in range(settings.tasks):
            request = VideoRequest(
                model=settings.model,
                options=settings.embedding_options,
                clip_length_s=settings.clip_length_s,
                filename=f"rehearsal-{number + 1:05d}.mp4",
            )
            self._add(request, newest_ms - round(step_ms * (settings.tasks - 1 - number)))

    def _add(self, request: VideoRequest, created_at_ms: int) -> SimulatedTask:
        upload_s = self._uploads.uniform(_SHORTEST_UPLOAD_S, _LONGEST_UPLOAD_S)
        task_id = self._ids.next(int(created_at_ms / 1000 - upload_s))
        task = draw_task(self._settings, task_id, request, created_at_ms)
        self._tasks[task_id] = task
        insort(self._by_creation, (created_at_ms, task_id))
        return task


def _creation(entry: tuple[int, str]) -> int:
    return entry[0]
