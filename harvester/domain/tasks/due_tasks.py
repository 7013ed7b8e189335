"""The tasks that are due, as the store reads them for the planner."""

from collections.abc import Sequence
from dataclasses import dataclass

from harvester.domain.tasks.task import Task


@dataclass(frozen=True, slots=True)
class DueTasks:
    """Due tasks, the nearest deadline first. `is_whole`: these are all due tasks.

    `expedited` are the row ids of those that a person wants before all others.
    """

    ready: Sequence[Task]
    pending: Sequence[Task]
    is_whole: bool = True
    expedited: frozenset[int] = frozenset()
