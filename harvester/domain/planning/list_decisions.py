"""Decide what happens to a task that a page of the list shows: (task, entry) -> decision.

| state of the task | the entry says | decision                                                                  |
| ----------------- | -------------- | ------------------------------------------------------------------------- |
| pending           | processing     | as after a status call                                                    |
| pending           | ready          | as after a status call                                                    |
| pending           | failed         | `ready`: the entry seldom has a reason, so the task itself is asked       |
| ready             | anything       | its creation time, deadline and API version, if they were unknown         |

A list entry never ends a task.
"""

from dataclasses import replace

from harvester.domain.planning.backoff import Rng
from harvester.domain.planning.decisions import Circumstances, decide, unchanged
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.tasks.failures import LISTED_FAILED, LISTED_WITHOUT_REASON, NO_REASON
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Failed, Ready
from harvester.domain.tasks.records import Decision, Problem
from harvester.domain.tasks.task import Task, TaskState


def decide_listed(  # noqa: PLR0913  # as decide
    task: Task,
    listed: ListedTask,
    now_ms: int,
    rng: Rng,
    times: ProcessingTimes | None = None,
    *,
    key: str | None = None,
) -> Decision | None:
    """Return the decision about the open `task`; None if the entry says nothing new.

    `task` is the stored one, before the entry. `key` is the fingerprint of the API key of the list request.
    """
    described = listed.describe(task)
    if task.state is TaskState.PENDING:
        circumstances = Circumstances(version=listed.version, key=key)
        return _decide_pending(described, listed, now_ms, rng, times, circumstances)
    is_dated = task.created_at_ms is None and listed.created_at_ms is not None
    if task.version is None and listed.version is not None:
        return replace(unchanged(described), version=listed.version)
    return unchanged(described) if is_dated else None


def listed_state(decision: Decision) -> TaskState:
    """Return the state that the list shows: `failed` for a task that is still to be asked for the reason."""
    is_failed = decision.problem is not None and decision.problem.code == LISTED_FAILED
    return TaskState.FAILED if is_failed else decision.state


def _decide_pending(  # noqa: PLR0913, PLR0917  # as decide
    task: Task,
    listed: ListedTask,
    now_ms: int,
    rng: Rng,
    times: ProcessingTimes | None,
    circumstances: Circumstances,
) -> Decision:
    if not isinstance(listed.outcome, Failed):
        return decide(task, listed.outcome, now_ms, rng, times, circumstances)
    reason = listed.outcome.message
    problem = Problem(code=LISTED_FAILED, message=LISTED_WITHOUT_REASON if reason == NO_REASON else reason)
    return replace(decide(task, Ready(), now_ms, rng, times, circumstances), problem=problem)
