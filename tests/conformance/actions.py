"""The suite's actions on any store, in terms of the ports."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harvester.domain.tasks.dead_letter import Payload
from harvester.domain.tasks.outcomes import Ready
from harvester.domain.tasks.task import Task
from harvester.domain.tasks.task_reports import TaskDetails
from harvester.ports.insights import Insights
from harvester.ports.queue_editor import QueueEditor
from harvester.ports.store import HarvestStore
from tests.conformance.backends import Backend
from tests.support.store_builders import NOW, lease, object_id, settlement


@dataclass(frozen=True)
class Picture:
    """All that a store says of a task."""

    details: TaskDetails | None
    api_json: bytes | None
    payload: Payload | None


def pictures(backend: Backend, place: Path, task_ids: Iterable[str]) -> dict[str, Picture]:
    with backend.reader(place).insights() as insights:
        return {task_id: _picture(insights, task_id) for task_id in task_ids}


def picture(backend: Backend, place: Path, task_id: str) -> Picture:
    return pictures(backend, place, [task_id])[task_id]


def _picture(insights: Insights, task_id: str) -> Picture:
    details = insights.task(task_id)
    payload = None if details is None else insights.payload(details.task["id"])
    return Picture(details, insights.api_json(task_id), payload)


def row(backend: Backend, place: Path, task_id: str, *columns: str) -> tuple[object, ...]:
    """Columns of the task's row, as `harvester show` reads them."""
    details = picture(backend, place, task_id).details
    assert details is not None
    return tuple(details.task[column] for column in columns)


def ids_of(tasks: list[Task]) -> list[str]:
    return [task.task_id for task in tasks]


async def claim(
    store: HarvestStore, owner: str = "daemon", *, now_ms: int = NOW, limit: int = 100, make_due: bool = True
) -> list[Task]:
    """Claim what is due, the ready ones first, as the scheduler does."""
    due = await store.due(now_ms, limit=limit, make_due=make_due)
    return await store.claim(lease(owner, now_ms=now_ms), [*due.ready, *due.pending][:limit])


async def claim_new(store: HarvestStore, editor: QueueEditor, number: int = 0) -> Task:
    """Queue a task and claim it."""
    editor.add([object_id(number)], NOW)
    (task,) = await claim(store, limit=1)
    return task


async def make_ready(store: HarvestStore, editor: QueueEditor, *task_ids: str) -> None:
    editor.add(task_ids, NOW)
    asked = [task for task in await claim(store, "status asker") if task.task_id in task_ids]
    await store.settle([settlement(task, Ready()) for task in asked])
    await store.release("status asker")


@asynccontextmanager
async def throwaway(backend: Backend) -> AsyncIterator[tuple[HarvestStore, QueueEditor]]:
    """A store for one example of a property."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / "harvester.db"
        async with backend.open(place) as store:
            with backend.edit(place) as editor:
                yield store, editor
