"""The calls of version 2: three on embedding tasks, and the query that is answered at once."""

from aiohttp import web

from harvester.simulator.catalogue import Catalogue
from harvester.simulator.clock import SimulatorClock
from harvester.simulator.entries import page_body
from harvester.simulator.listing import parse_list_query
from harvester.simulator.settings import SimulatorSettings
from harvester.simulator.single_task import found, json_response, requested_id, retrieved
from harvester.simulator.v2 import documents
from harvester.simulator.v2.create import read_media_request
from harvester.simulator.v2.query import answer_query


class EmbedTasksV2:
    """Answers from a catalogue; ApiProblem for everything that is refused."""

    def __init__(self, settings: SimulatorSettings, clock: SimulatorClock, catalogue: Catalogue) -> None:
        self._settings = settings
        self._clock = clock
        self._catalogue = catalogue

    def routes(self) -> list[web.RouteDef]:
        """Return the routes below the prefix; each is named after its endpoint class."""
        return [
            web.get("/embed-v2/tasks", self.list, name="v2.list", allow_head=False),
            web.post("/embed-v2/tasks", self.create, name="v2.create"),
            web.get("/embed-v2/tasks/{task_id}", self.retrieve, name="v2.retrieve", allow_head=False),
            web.post("/embed-v2", self.query, name="v2.query"),
        ]

    async def retrieve(self, request: web.Request) -> web.Response:
        """`GET /embed-v2/tasks/{id}`: the status, and the result once it is ready."""
        task_id = requested_id(request)
        expired = self._catalogue.find_expired(task_id, "v2")
        if expired is not None:
            return json_response(documents.expired_body(expired))
        return await retrieved(self._catalogue, found(self._catalogue, task_id, "v2"), "v2")

    async def list(self, request: web.Request) -> web.Response:
        """`GET /embed-v2/tasks`: newest first, by pages; past the last page there is no data, and no error."""
        page = self._catalogue.page(parse_list_query(request.query, "v2"))
        return json_response(page_body(page, self._clock.now_ms()))

    async def create(self, request: web.Request) -> web.Response:
        """`POST /embed-v2/tasks`: takes the request and answers 202 with the new id."""
        task = self._catalogue.create(read_media_request(await request.read()))
        return json_response(documents.created_body(task), status=202)

    async def query(self, request: web.Request) -> web.Response:
        """`POST /embed-v2`: embeds a query at once."""
        return json_response(answer_query(await request.read(), self._settings))
