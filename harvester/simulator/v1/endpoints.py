"""The four calls on video embedding tasks."""

from collections.abc import Sequence

import orjson
from aiohttp import web

from harvester.simulator.catalogue import Catalogue
from harvester.simulator.clock import SimulatorClock
from harvester.simulator.entries import page_body
from harvester.simulator.listing import parse_list_query
from harvester.simulator.models import EVERY_OPTION
from harvester.simulator.problems import ApiProblem, invalid_parameter
from harvester.simulator.settings import SimulatorSettings
from harvester.simulator.single_task import found, json_response, requested_id, retrieved
from harvester.simulator.tasks import SimulatedTask
from harvester.simulator.v1 import documents
from harvester.simulator.v1.upload_form import read_video_request


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
        return json_response(documents.status_body(self._task(request), self._clock.now_ms()))

    async def retrieve(self, request: web.Request) -> web.Response:
        """`GET /embed/tasks/{id}`: the segments once ready, before that (or failed) the task without them."""
        task = self._task(request)
        options = _embedding_options(request.query.getall("embedding_option", []))
        return await retrieved(self._catalogue, task, "v1", options)

    async def list(self, request: web.Request) -> web.Response:
        """`GET /embed/tasks`: newest first, by pages; past the last page there is no data, and no error."""
        page = self._catalogue.page(parse_list_query(request.query, "v1"))
        return json_response(page_body(page, self._clock.now_ms()))

    async def create(self, request: web.Request) -> web.Response:
        """`POST /embed/tasks`: takes the upload and answers with the new id."""
        task = self._catalogue.create(await read_video_request(request, self._settings))
        return json_response(orjson.dumps({"_id": task.task_id}))

    def _task(self, request: web.Request) -> SimulatedTask:
        task_id = requested_id(request)
        try:
            return found(self._catalogue, task_id, "v1")
        except ApiProblem:
            if self._settings.unknown_status == 400:
                raise invalid_parameter("task_id", "The value must be the id of an embedding task.") from None
            raise


def _embedding_options(values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        if value not in EVERY_OPTION:
            raise invalid_parameter("embedding_option", f"The value must be one of {', '.join(EVERY_OPTION)}.")
    return tuple(values)
