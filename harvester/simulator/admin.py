"""Calls by which another process controls the stand-in: its clock, its tasks, its request log.

They are outside the API's prefix: they need no key, and are neither counted nor recorded.
"""

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from harvester.simulator.catalogue import Catalogue
from harvester.simulator.clock import SimulatorClock
from harvester.simulator.faults import FaultSchedule
from harvester.simulator.held_tasks import hold_task
from harvester.simulator.problems import ApiProblem
from harvester.simulator.request_log import RequestLog
from harvester.simulator.rfc3339 import format_ms
from harvester.simulator.topics import TOPICS


class Admin:
    """The calls below `/simulator`."""

    def __init__(self, clock: SimulatorClock, catalogue: Catalogue, log: RequestLog, faults: FaultSchedule) -> None:
        self._clock = clock
        self._catalogue = catalogue
        self._log = log
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """Return the routes, prefix included."""
        return [
            web.get("/simulator/clock", self.clock),
            web.post("/simulator/clock", self.steer_clock),
            web.get("/simulator/tasks", self.tasks),
            web.post("/simulator/tasks", self.hold),
            web.get("/simulator/tasks/{task_id}", self.task),
            web.get("/simulator/topics", self.topics),
            web.get("/simulator/requests", self.requests),
            web.get("/simulator/faults", self.faults),
        ]

    async def clock(self, _request: web.Request) -> web.Response:
        """`GET /simulator/clock`: `{"now", "rfc3339", "speed"}`, now in epoch seconds."""
        return _json(
            {
                "now": self._clock.now(),
                "rfc3339": format_ms(self._clock.now_ms()),
                "speed": self._clock.speed,
            }
        )

    async def steer_clock(self, request: web.Request) -> web.Response:
        """`POST /simulator/clock`: `{"set": epoch, "advance_s": seconds, "speed": factor}`, one or more."""
        steps: dict[str, Callable[[float], None]] = {
            "set": self._clock.set,
            "advance_s": self._clock.advance,
            "speed": self._set_speed,
        }
        try:
            wanted = orjson.loads(await request.read())
            numbers = {name: float(wanted[name]) for name in wanted}
            unknown = numbers.keys() - steps.keys()
            for name in [] if unknown else numbers:
                steps[name](numbers[name])
        except (ValueError, TypeError) as error:
            return _json({"message": f"The clock cannot be set like this: {error}"}, status=400)
        if unknown or not numbers:
            return _json({"message": f"Give one or more of {', '.join(steps)}."}, status=400)
        return await self.clock(request)

    async def tasks(self, _request: web.Request) -> web.Response:
        """`GET /simulator/tasks`: `[{"_id", "status", "exists"}]`, the oldest first, also expired ones."""
        return _json([self._state(task_id) for task_id in self._catalogue.ids()])

    async def hold(self, request: web.Request) -> web.Response:
        """`POST /simulator/tasks`: adds a task of any version, model, medium and age; see `hold_task`."""
        try:
            task = hold_task(self._catalogue, await request.read())
        except ApiProblem as problem:
            return _json({"message": problem.message}, status=400)
        return _json({"_id": task.task_id}, status=201)

    async def task(self, request: web.Request) -> web.Response:
        """`GET /simulator/tasks/{id}`: all about one task, with the places of its embeddings and their topics."""
        try:
            task = self._catalogue.task(request.match_info["task_id"])
        except KeyError:
            return _json({"message": "There is no such task."}, status=404)
        return _json(
            {
                **self._state(task.task_id),
                "api_version": task.request.version,
                "input_type": task.request.medium,
                "model_name": task.request.model.name,
                "failure": task.failure,
                "embeddings": self._catalogue.embeddings(task.task_id).places,
            }
        )

    async def topics(self, _request: web.Request) -> web.Response:
        """`GET /simulator/topics`: the words that the stand-in's media show, and that its queries know."""
        return _json(TOPICS)

    async def requests(self, _request: web.Request) -> web.Response:
        """`GET /simulator/requests`: the request log, the oldest first."""
        return _json(list(self._log))

    async def faults(self, _request: web.Request) -> web.Response:
        """`GET /simulator/faults`: how often each kind of fault was served."""
        return _json(dict(self._faults.served))

    def _state(self, task_id: str) -> dict[str, Any]:
        task, now_ms = self._catalogue.task(task_id), self._clock.now_ms()
        return {"_id": task.task_id, "status": task.status_at(now_ms), "exists": task.exists_at(now_ms)}

    def _set_speed(self, factor: float) -> None:
        self._clock.speed = factor


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
