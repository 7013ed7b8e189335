"""An API with scripted answers, for all answers that a healthy API never sends."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. With `announced_bytes` the connection breaks before that many bytes have come."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    announced_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One received request; `at` is monotonic seconds."""

    at: float
    path: str
    headers: Mapping[str, str]


def as_json(document: Any, status: int = 200, **headers: str) -> Answer:
    """Write an answer as the API does."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(json.dumps(document).encode(), status, {"content-type": "application/json", **names})


def problem(status: int, code: str, message: str, **headers: str) -> Answer:
    """Write a refusal as the API does."""
    return as_json({"code": code, "message": message}, status, **headers)


def ready(task_id: str, **metadata: Any) -> dict[str, Any]:
    """Return a finished task of two segments."""
    vectors = [[0.6, 0.8, 0.0, 0.0], [0.0, 0.0, -0.8, 0.6]]
    return {
        "_id": task_id,
        "model_name": "marengo3.0",
        "status": "ready",
        "video_embedding": {
            "metadata": {"duration": 12, "input_filename": "a.mp4", "video_embedding_scope": ["clip"], **metadata},
            "segments": [
                {
                    "embedding_option": "visual",
                    "embedding_scope": "clip",
                    "start_offset_sec": number * 6,
                    "end_offset_sec": number * 6 + 6,
                    "float": vector,
                }
                for number, vector in enumerate(vectors)
            ],
        },
    }


def task_id(number: int, *, age_s: float = 3600.0) -> str:
    """Return an id with a creation time that long ago; an hour old, the task is retrieved at once."""
    return f"{int(time.time() - age_s):08x}{number:016x}"


EMPTY_LIST = as_json({"data": [], "page_info": {"page": 1, "total_results": 0}})


class ScriptedApi:
    """Returns the answers of each path in turn and repeats the last; a path without answers does not exist.

    Without answers for it the list is empty, because a missing list would be a fault of the API.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, list[Answer]] = {"embed/tasks": [EMPTY_LIST]}

    def will_say(self, path: str, *answers: Answer) -> None:
        """Set the answers of a path below the version."""
        self._answers[path] = list(answers)

    def holds(self, task_id: str, *answers: Answer) -> None:
        """Set the answers to retrievals of a task; without answers, a good result."""
        self.will_say(f"embed/tasks/{task_id}", *(answers or (as_json(ready(task_id)),)))

    def requests(self, task_id: str) -> int:
        """Return the number of requests about a task."""
        return sum(f"/tasks/{task_id}" in one.path for one in self.asked)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """The base URL for a client in place of `https://api.twelvelabs.io/v1.3`."""
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1.3"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(Asked(asyncio.get_running_loop().time(), request.path_qs, dict(request.headers)))
        answers = self._answers.get(request.path.removeprefix("/v1.3/"), [])
        if not answers:
            answers = [problem(404, "resource_not_exists", f"Resource with path {request.path} does not exist.")]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.announced_bytes is None:
            return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
        return await _broken_off(request, answer, answer.announced_bytes)


async def _broken_off(request: web.Request, answer: Answer, announced_bytes: int) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = announced_bytes
    await response.prepare(request)
    await response.write(answer.body)
    if request.transport is not None:
        request.transport.close()
    return response
