"""The four calls on video embedding tasks."""

import asyncio
from collections.abc import Sequence

import orjson
from aiohttp import web

from harvester.simulator import documents
from harvester.simulator.catalogue import Catalogue
from harvester.simulator.clock import SimulatorClock
from harvester.simulator.listing import parse_list_query
from harvester.simulator.models import EVERY_OPTION
from harvester.simulator.object_ids import is_object_id
from harvester.simulator.problems import invalid_parameter, unknown_task
from harvester.simulator.settings import SimulatorSettings
from harvester.simulator.tasks import SimulatedTask
from harvester.simulator.upload_form import read_video_request
from harvester.simulator.vectors import segments_per_option

# Below this the hop to a thread costs more than the work: 40,000 numbers take about 2 ms.
_LARGE_NUMBERS = 40_000


class EmbedTasks:
    """Answers from a catalogue; ApiProblem for everything that is refused."""

    def __init__(self, settings: SimulatorSettings, clock: SimulatorClock, catalogue: Catalogue) -> None:
        self._settings = settings
        self._clock = clock
        self._catalogue = catalogue

    def routes(self) -> list[web.RouteDef]:
        """Return the routes below the version's prefix; each is named after its endpoint class."""
        return [
            web.get("/embed/tasks", self.list, name="list", allow_head=False),
            web.post("/embed/tasks", self.create, name="create"),
            web.get("/embed/tasks/{task_id}", self.retrieve, name="retrieve", allow_head=False),
            web.get("/embed/tasks/{task_id}/status", self.status, name="status", allow_head=False),
        ]

    async def status(self, request: web.Request) -> web.Response:
        """`GET /embed/tasks/{id}/status`."""
        task = self._task(request)
        return _json(documents.status_body(task, self._clock.now_ms()))

    async def retrieve(self, request: web.Request) -> web.Response:
        """`GET /embed/tasks/{id}`: the segments once ready, before that (or failed) the task without them."""
        task = self._task(request)
        options = _embedding_options(request.query.getall("embedding_option", []))
        if _numbers(task) < _LARGE_NUMBERS:
            return _json(self._catalogue.document(task.task_id, options))
        return _json(await asyncio.to_thread(self._catalogue.document, task.task_id, options))

    async def list(self, request: web.Request) -> web.Response:
        """`GET /embed/tasks`: newest first, by pages; past the last page there is no data, and no error."""
        page = self._catalogue.page(parse_list_query(request.query))
        return _json(documents.page_body(page, self._clock.now_ms()))

    async def create(self, request: web.Request) -> web.Response:
        """`POST /embed/tasks`: takes the upload and answers with the new id."""
        task = self._catalogue.create(await read_video_request(request, self._settings))
        return _json(orjson.dumps({"_id": task.task_id}))

    def _task(self, request: web.Request) -> SimulatedTask:
        task_id = request.match_info["task_id"]
        if not is_object_id(task_id):
            raise invalid_parameter("task_id", "The value must be the id of an embedding task.")
        task = self._catalogue.find(task_id)
        if task is None:
            raise unknown_task(task_id)
        return task


def _embedding_options(values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        if value not in EVERY_OPTION:
            raise invalid_parameter("embedding_option", f"The value must be one of {', '.join(EVERY_OPTION)}.")
    return tuple(values)


def _numbers(task: SimulatedTask) -> int:
    return len(segments_per_option(task)) * len(task.request.options) * task.request.model.dim


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
