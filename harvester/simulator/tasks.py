"""One embedding task: the request, its processing time, its end."""

from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from harvester.simulator.failures import messages_for
from harvester.simulator.requests import EmbedRequest
from harvester.simulator.settings import SimulatorSettings

TaskStatus = Literal["processing", "ready", "failed"]
STATUSES: tuple[TaskStatus, ...] = ("processing", "ready", "failed")
RETENTION_MS = 7 * 24 * 3600 * 1000

# Seconds that remain after the beginning of a part without an end.
_SHORTEST_REST_S = 10.0
_MOST_PAGES = 12
_FEWEST_SENTENCES, _MOST_SENTENCES = 10, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedTask:
    """A task with its whole future, which is decided when it is made.

    A document has `pages` or `sentences`. `failure` is the message of a failed task in version 2.
    """

    task_id: str
    request: EmbedRequest
    duration_s: float
    created_at_ms: int
    finished_at_ms: int
    fails: bool
    failure: str = ""
    is_truncated: bool = False
    pages: int = 1
    sentences: int = 1

    @property
    def span_s(self) -> tuple[float, float]:
        """Start and end of the embedded part of the video or audio."""
        start, end = self.request.span_s or (0.0, self.duration_s)
        return start, min(end, self.duration_s)

    @property
    def content(self) -> int:
        """A number for what is embedded."""
        return self.request.content_of(self.task_id)

    def status_at(self, now_ms: int) -> TaskStatus:
        """Return the status that a client sees at `now_ms`."""
        if now_ms < self.finished_at_ms:
            return "processing"
        return "failed" if self.fails else "ready"

    def exists_at(self, now_ms: int) -> bool:
        """Whether the platform knows the task at `now_ms`: it is created and not yet past its retention."""
        return self.created_at_ms <= now_ms < self.expires_at_ms

    @property
    def expires_at_ms(self) -> int:
        """When its retention ends, in Unix milliseconds."""
        return self.created_at_ms + RETENTION_MS


def draw_task(settings: SimulatorSettings, task_id: str, request: EmbedRequest, created_at_ms: int) -> SimulatedTask:
    """Decide size, processing time and end of a task; the same seed and id always give the same task."""
    draw = np.random.default_rng([settings.seed, int(task_id, 16)])
    # All are drawn in this order, needed or not, so that one setting does not change the effect of another.
    length, deviation, luck, cause, size = draw.random(), draw.standard_normal(), *draw.random(3)
    if request.version == "v2":
        length = np.random.default_rng([settings.seed, request.content_of(task_id)]).random()
    shortest, longest = settings.duration_s
    duration_s = round(shortest + (longest - shortest) * length, 6)
    if request.span_s is not None:
        start, end = request.span_s
        duration_s = max(duration_s, start + _SHORTEST_REST_S if end == inf else end)
    processing_s = settings.processing_median_s * float(np.exp(settings.processing_sigma * deviation))
    fails = bool(request.flaw) or luck < settings.failed_ratio
    messages = messages_for(request.medium, settings.failures)
    return SimulatedTask(
        task_id=task_id,
        request=request,
        duration_s=duration_s,
        created_at_ms=created_at_ms,
        finished_at_ms=created_at_ms + round(processing_s * 1000),
        fails=fails,
        failure=(request.flaw or messages[int(cause * len(messages))]) if fails else "",
        is_truncated=request.model.counts_tokens and bool(size < settings.truncated_ratio),
        pages=1 + int(length * _MOST_PAGES),
        sentences=_FEWEST_SENTENCES + int(length * (_MOST_SENTENCES - _FEWEST_SENTENCES)),
    )
