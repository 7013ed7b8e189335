"""Estimate from the learned processing times whether a pending task has finished, and how long it has waited since."""

from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.task import Task


def chance_finished(task: Task, now_ms: int, times: ProcessingTimes) -> float:
    """Return the probability that a pending task has finished by now."""
    return times.of(task.model_name, task.duration_s).chance(*_ages_s(task, now_ms))


def chance_and_wait(task: Task, now_ms: int, times: ProcessingTimes) -> tuple[float, float]:
    """Return the probability that a pending task has finished by now, and the expected seconds since then."""
    return times.of(task.model_name, task.duration_s).chance_and_wait(*_ages_s(task, now_ms))


def last_unfinished_s(task: Task, now_ms: int) -> float:
    """Return the age (seconds) at which the task was last known to be unfinished, 0 if it never was."""
    unfinished_ms = last_unfinished_ms(task, now_ms)
    return (0 if unfinished_ms is None else task.age_ms(unfinished_ms)) / 1000


def last_unfinished_ms(task: Task, now_ms: int) -> int | None:
    """Return when the task was last known to be unfinished; ignore a time in the future (the clock was ahead)."""
    at_ms = task.unfinished_at_ms
    return None if at_ms is None or at_ms > now_ms else at_ms


def _ages_s(task: Task, now_ms: int) -> tuple[float, float]:
    return task.age_ms(now_ms) / 1000, last_unfinished_s(task, now_ms)
