"""What an answer about a task shows about processing times."""

from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.task import Task, age_ms

FORETOLD = 0.9
"""Probability of having finished above which the next answer about a task tests the estimates."""


def observe(  # noqa: PLR0913  # the last two are named
    times: ProcessingTimes,
    task: Task,
    metadata: MediaMetadata,
    at_ms: int,
    *,
    is_finished: bool,
    is_counted: bool = False,
) -> None:
    """Learn the processing time of a task from an answer at `at_ms` (Unix ms) with that `metadata`.

    `is_counted`: the classes of the video as known before have counted it already.
    """
    # The time in an id may be hours off, so learn only from the age by the API's creation time.
    created_at_ms = task.created_ms_estimate if metadata.created_at_ms is None else metadata.created_at_ms
    model_name, duration_s = task.model_name or metadata.model_name, task.duration_s or metadata.duration
    by_s, after_s = age_ms(created_at_ms, task.added_at_ms, at_ms) / 1000, 0.0
    if task.unfinished_at_ms is not None:
        after_s = age_ms(created_at_ms, task.added_at_ms, task.unfinished_at_ms) / 1000
    if not is_finished or after_s > 0 or times.of(model_name, duration_s).chance(by_s) < FORETOLD:
        # A task whose first answer came long after its end says nothing about processing times, so it is excluded.
        counted = (task.model_name, task.duration_s) if is_counted else None
        times.observe(model_name, duration_s, after_s, by_s, is_finished=is_finished, counted=counted)
