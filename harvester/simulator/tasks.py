"""One embedding task: the request, its processing time, its end."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harvester.simulator.models import SCOPES, Model
from harvester.simulator.settings import SimulatorSettings

TaskStatus = Literal["processing", "ready", "failed"]
STATUSES: tuple[TaskStatus, ...] = ("processing", "ready", "failed")
RETENTION_MS = 7 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRequest:
    """A client's request to create a task; `span_s` is the part of the video to embed, in seconds."""

    model: Model
    options: tuple[str, ...]
    clip_length_s: float
    scopes: tuple[str, ...] = SCOPES
    span_s: tuple[float, float] | None = None
    filename: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedTask:
    """A task with its whole future, which is decided when it is made."""

    task_id: str
    request: VideoRequest
    duration_s: float
    created_at_ms: int
    finished_at_ms: int
    fails: bool

    @property
    def span_s(self) -> tuple[float, float]:
        """Start and end of the embedded part of the video."""
        return self.request.span_s or (0.0, self.duration_s)

    def status_at(self, now_ms: int) -> TaskStatus:
        """Return the status that a client sees at `now_ms`."""
        if now_ms < self.finished_at_ms:
            return "processing"
        return "failed" if self.fails else "ready"

    def exists_at(self, now_ms: int) -> bool:
        """Whether the platform knows the task at `now_ms`: it is created and not yet past its retention."""
        return self.created_at_ms <= now_ms < self.created_at_ms + RETENTION_MS


def draw_task(settings: SimulatorSettings, task_id: str, request: VideoRequest, created_at_ms: int) -> SimulatedTask:
    """Decide length, processing time and end of a task; the same seed and id always give the same task."""
    draw = np.random.default_rng([settings.seed, int(task_id, 16)])
    # All three are drawn in this order, needed or not, so that one setting does not change the effect of another.
    length, deviation, luck = draw.random(), draw.standard_normal(), draw.random()
    shortest, longest = settings.duration_s
    duration_s = round(shortest + (longest - shortest) * length, 6)
    if request.span_s is not None:
        duration_s = max(duration_s, request.span_s[1])
    processing_s = settings.processing_median_s * float(np.exp(settings.processing_sigma * deviation))
    return SimulatedTask(
        task_id=task_id,
        request=request,
        duration_s=duration_s,
        created_at_ms=created_at_ms,
        finished_at_ms=created_at_ms + round(processing_s * 1000),
        fails=luck < settings.failed_ratio,
    )
