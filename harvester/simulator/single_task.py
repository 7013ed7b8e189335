"""What the calls about a single task have in common in both versions: finding it, and building its answer."""

import asyncio

from aiohttp import web

from harvester.domain.tasks.task import ApiVersion
from harvester.simulator.catalogue import Catalogue
from harvester.simulator.dialects import DIALECTS
from harvester.simulator.layout import layout_size
from harvester.simulator.object_ids import is_object_id
from harvester.simulator.problems import invalid_parameter, unknown_task
from harvester.simulator.tasks import SimulatedTask

# Below this the hop to a thread costs more than the work: 40,000 numbers take about 2 ms.
_LARGE_NUMBERS = 40_000


def requested_id(request: web.Request) -> str:
    """Return the id in the path; ApiProblem (400) for a malformed one."""
    task_id = request.match_info["task_id"]
    if not is_object_id(task_id):
        raise invalid_parameter("task_id", "The value must be the id of an embedding task.")
    return task_id


def found(catalogue: Catalogue, task_id: str, version: ApiVersion) -> SimulatedTask:
    """Return the task if that version knows it now; else ApiProblem (404)."""
    task = catalogue.find(task_id, version)
    if task is None:
        raise unknown_task(task_id, DIALECTS[version].collection)
    return task


async def retrieved(
    catalogue: Catalogue, task: SimulatedTask, version: ApiVersion, options: tuple[str, ...] = ()
) -> web.Response:
    """Return the answer about the task with its result, if it is ready."""
    if layout_size(task) * task.request.dim < _LARGE_NUMBERS:
        return json_response(catalogue.document(task.task_id, options, version))
    return json_response(await asyncio.to_thread(catalogue.document, task.task_id, options, version))


def json_response(body: bytes, status: int = 200) -> web.Response:
    """Return an answer with that JSON text."""
    return web.Response(status=status, body=body, content_type="application/json")
