"""`harvester backfill --json`: what became of the tasks, for a program."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvester.app.stores import open_insights
from harvester.cli.harvest_display import Summary
from harvester.domain.tasks.task import END_STATES, OPEN_STATES, TaskState
from harvester.domain.tasks.task_list import TaskFilter, TaskLine

FIRST = -(2**63)
"""Below every key of a task."""

PAGE = 2_000
"""Tasks that are read at once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why the command ends, as a word for programs, and its exit code."""

    exit_code: int
    reason: str


def as_json(path: Path, summary: Summary, only: Sequence[str] | None, refused: int, outcome: Outcome) -> dict[str, Any]:
    """Return the document. Raises StoreError if the database at `path` cannot be read.

    `only` are the ids that were given; without them the document has all tasks that are open or ended otherwise, and
    those that are harvested since the command began.
    """
    progress = summary.progress
    return {
        "tasks": dict(progress.counts),
        "harvested": progress.harvested,
        "segments": progress.segments,
        "bytes_received": progress.bytes_received,
        "requests": sum(progress.requests.values()),
        "requests_by_endpoint": {str(endpoint): count for endpoint, count in progress.requests.items()},
        "duration_s": round(summary.elapsed_s, 3),
        "ends": [
            {
                "state": end.state,
                "reason": end.code,
                "count": end.count,
                "example_task_id": end.example_task_id,
                "example_message": end.example_message,
            }
            for end in summary.ends
        ],
        **_tasks(path, only, summary.started_ms),
        "refused": refused,
        "exit_code": outcome.exit_code,
        "exit_reason": outcome.reason,
    }


def _tasks(path: Path, only: Sequence[str] | None, started_ms: int) -> dict[str, Any]:
    wanted = None if only is None else frozenset(only)
    since_ms = started_ms if only is None else None
    harvested = TaskFilter(states=(TaskState.HARVESTED,), since_ms=since_ms)
    otherwise = TaskFilter(states=tuple(state for state in TaskState if state in END_STATES - {TaskState.HARVESTED}))
    still_open = TaskFilter(states=tuple(state for state in TaskState if state in OPEN_STATES))
    return {
        "harvested_ids": [task.task_id for task in _matching(path, harvested, wanted)],
        "ended_otherwise": [_described(task) for task in _matching(path, otherwise, wanted)],
        "open": [_described(task) for task in _matching(path, still_open, wanted)],
    }


def _described(task: TaskLine) -> dict[str, Any]:
    return {"task_id": task.task_id, "state": task.state, "reason": task.reason, "message": task.message}


def _matching(path: Path, condition: TaskFilter, wanted: frozenset[str] | None) -> Iterator[TaskLine]:
    after, is_last = FIRST, False
    while not is_last:
        with open_insights(path) as insights:
            page = insights.tasks(condition, after=after, limit=PAGE)
        is_last = len(page) < PAGE
        if page:
            after = page[-1].key
        yield from (task for task in page if wanted is None or task.task_id in wanted)
