"""When to ask about a task again, and when to request its result whatever the estimate says."""

from harvester.domain.planning.finish_estimates import last_unfinished_ms, last_unfinished_s
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.task import DAY_MS, Task

MIN_POLL_WAIT_MS = 3_000
POLL_WAIT_SHARE_OF_AGE = 0.01
"""Share of a task's age that passes before the next question, so that questions about a task that hangs become rare."""

MAX_POLL_WAIT_MS = 6 * 3600 * 1_000
"""Milliseconds: the longest wait for the next question about a task."""

LAST_CHANCE_MS = 10 * 60 * 1_000
FORCED_ATTEMPTS_BEFORE_DEADLINE_MS = (4 * DAY_MS, DAY_MS, LAST_CHANCE_MS)
"""Milliseconds before the deadline at which the result is requested, whatever the estimate, the list and the strategy.

No wait may jump over these. The first is early because with few requests a day the last day is too short for all tasks.
"""


def next_poll_ms(task: Task, now_ms: int, times: ProcessingTimes) -> int:
    """Return when the next question about a task that is unfinished now may pay, at the earliest (Unix ms)."""
    age_s = task.age_ms(now_ms) / 1000
    worth_s = times.of(task.model_name, task.duration_s).age_of_wait_s(times.least_wait_s, age_s) - age_s
    wait_ms = max(MIN_POLL_WAIT_MS, int(worth_s * 1000), int(task.age_ms(now_ms) * POLL_WAIT_SHARE_OF_AGE))
    wait_ms = min(wait_ms, MAX_POLL_WAIT_MS)
    return at_latest_before_deadline(task, now_ms, wait_ms)


def at_latest_before_deadline(task: Task, now_ms: int, delay_ms: int) -> int:
    """Return `now + delay` (Unix ms), or the first of FORCED_ATTEMPTS_BEFORE_DEADLINE_MS that it would jump over."""
    due_ms = now_ms + delay_ms
    return min((chance_ms for chance_ms in _chances_ms(task) if now_ms < chance_ms < due_ms), default=due_ms)


def is_last_chance(task: Task, now_ms: int) -> bool:
    """Return whether one of FORCED_ATTEMPTS_BEFORE_DEADLINE_MS has come since the last answer about the task."""
    if now_ms < task.expires_at_ms - FORCED_ATTEMPTS_BEFORE_DEADLINE_MS[0]:
        return False
    heard_ms = last_unfinished_ms(task, now_ms) or 0
    return any(now_ms >= chance_ms > heard_ms for chance_ms in _chances_ms(task))


def first_poll_ms(task: Task, now_ms: int, times: ProcessingTimes) -> int:
    """Return when a question about a task may pay, from what is known of it (Unix ms)."""
    unfinished_s = last_unfinished_s(task, now_ms)
    worth_s = times.of(task.model_name, task.duration_s).age_of_wait_s(times.least_wait_s, unfinished_s)
    wait_ms = min(MAX_POLL_WAIT_MS, round(worth_s * 1000) - task.age_ms(now_ms))
    return at_latest_before_deadline(task, now_ms, max(1_000, wait_ms))


def _chances_ms(task: Task) -> list[int]:
    return [task.expires_at_ms - before_ms for before_ms in FORCED_ATTEMPTS_BEFORE_DEADLINE_MS]
