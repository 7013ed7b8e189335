"""A model of the API: answers as the simulator writes them, read as the client reads them, without a socket."""

import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import anyio
import numpy as np
import orjson

from bench.virtual.loop import START_MS, VirtualClock
from harvester.api.list_page import list_parameters, parse_list
from harvester.api.rate_limit_headers import read_limits
from harvester.api.responses import error_outcome, status_outcome
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.tasks.outcomes import Outcome
from harvester.domain.tasks.task import ApiVersion
from harvester.ports.api import Answered, Body, Response
from harvester.simulator.entries import page_body
from harvester.simulator.layout import Place
from harvester.simulator.limits import RateLimiter, quota_headers
from harvester.simulator.listing import Page, parse_list_query
from harvester.simulator.models import MODELS
from harvester.simulator.object_ids import ObjectIdSequence
from harvester.simulator.requests import VideoRequest
from harvester.simulator.settings import SimulatorSettings
from harvester.simulator.tasks import RETENTION_MS, SimulatedTask
from harvester.simulator.v1 import documents
from harvester.simulator.vectors import SimulatedEmbeddings
from harvester.throttle.memory_budget import Reservation
from harvester.throttle.throttle import Permit, Throttle

LATENCY_S = 0.15

PROBLEMS = {
    400: b'{"code": "generic_error", "message": "The task is not ready."}',
    403: b'{"code": "api_not_allowed", "message": "This call is not for you."}',
    404: b'{"code": "endpoint_not_found", "message": "There is no such call."}',
    429: b'{"code": "too_many_requests", "message": "You have reached the rate limit."}',
    500: b'{"code": "internal_server_error", "message": "Something went wrong."}',
}

_NO_SUCH_TASK = b'{"code": "resource_not_exists", "message": "Resource with id %s does not exist."}'
_ID_INVALID = b'{"code": "parameter_invalid", "message": "The task_id parameter is invalid."}'
_UNAVAILABLE = b"<html>Service Unavailable</html>"

_SEGMENT = SimulatedEmbeddings(
    (Place("visual", "clip", start_s=0.0, end_s=6.0),), np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8)
)
"""The result of every task: the number of requests does not depend on it."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A task of the account, and when its id is queued (Unix milliseconds); None for a task of another program."""

    task: SimulatedTask
    queued_at_ms: int | None
    exists: bool = True
    """Whether the API knows the task; else its id is a mistyped one."""

    @property
    def is_ours(self) -> bool:
        return self.queued_at_ms is not None


def draw_submissions(  # noqa: PLR0913  # each describes the tasks
    count: int,
    spread_s: float,
    *,
    seed: int,
    foreign: bool = False,
    processing_median_s: float = 300.0,
    processing_sigma: float = 0.8,
    failed_ratio: float = 0.0,
    model_name: str = "marengo3.0",
    duration_s: tuple[float, float] = (30.0, 600.0),
    opaque_ids: bool = False,
    queued_after_s: float = 0.5,
    ids_ahead_s: float = 0.0,
) -> list[Submission]:
    """Return tasks that are created evenly over `spread_s` from the start on; the same seed gives the same tasks.

    The times inside the ids are `ids_ahead_s` later than those of the creation.
    """
    rng = random.Random(f"{seed} {foreign} {model_name}")  # noqa: S311
    ids = ObjectIdSequence(rng.randrange(2**32))
    request = VideoRequest(model=MODELS[model_name], options=("visual",), clip_length_s=6.0, filename="video.mp4")
    submissions = []
    for number in range(count):
        created_ms = START_MS + round(number * spread_s * 1000 / count)
        processing_s = processing_median_s * rng.lognormvariate(0.0, processing_sigma)
        task = SimulatedTask(
            task_id=f"task-{rng.randrange(2**64):016x}"
            if opaque_ids
            else ids.next(created_ms // 1000 + round(ids_ahead_s)),
            request=request,
            duration_s=round(rng.uniform(*duration_s), 3),
            created_at_ms=created_ms,
            finished_at_ms=created_ms + round(processing_s * 1000),
            fails=rng.random() < failed_ratio,
        )
        submissions.append(Submission(task, None if foreign else created_ms + round(queued_after_s * 1000)))
    return submissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """The ways in which the API is not as documented.

    `list_problem` is the HTTP status that all list calls end in, `early_problem` that of a retrieval before its time.
    A list without `lists_dates` has no `created_at`. Unfinished tasks are called `unfinished`, and
    `status=processing` finds only those of that name. A frozen list shows tasks as they were at their creation.
    Separate lists show only the tasks that their API version knows. With `hides_models` results do not name their
    model, as in version 2 of the API; the list does.
    """

    unfinished: str = "processing"
    early_problem: int = 0
    list_problem: int = 0
    list_is_empty: bool = False
    list_is_frozen: bool = False
    list_ignores_status: bool = False
    list_ignores_window: bool = False
    list_is_ascending: bool = False
    lists_are_separate: bool = False
    list_page_limit: int = 50
    tells_page_limit: bool = True
    tells_total: bool = True
    lists_dates: bool = True
    hides_models: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Wrong answers about tasks between two times of the run: a `share` of all, each in the way of `kind`.

    `gone` is a 404, `unacceptable` a 400 about the id, `empty` a result without segments, `invalid` one with a NaN,
    `failed` a task that has failed. With `in_list` the list is unavailable, too.
    """

    kind: str
    from_s: float = 0.0
    until_s: float = 3600.0
    share: float = 1.0
    in_list: bool = False


class ModelApi:
    """Knows the future of every task, and answers as the API would now.

    Tasks are known to both API versions, those of `only_in` to that version alone. An answer takes `latency_s`. The
    list shows tasks and their status as they were `list_lag_s` ago. Requests that the `limiter` does not let through
    are refused as by the simulator; `error_ratio` of all requests end in a 503.
    """

    def __init__(  # noqa: PLR0913
        self,
        tasks: Sequence[SimulatedTask],
        clock: VirtualClock,
        throttle: Throttle,
        *,
        latency_s: float = LATENCY_S,
        list_lag_s: float = 0.0,
        limiter: RateLimiter | None = None,
        error_ratio: float = 0.0,
        quirks: Quirks | None = None,
        trouble: Trouble | None = None,
        only_in: Mapping[str, ApiVersion] | None = None,
        seed: int = 0,
    ) -> None:
        self.requests: Counter[Endpoint] = Counter()
        self.refused: Counter[Endpoint] = Counter()
        self.confirmations = 0
        """How often a version was asked about a task after another one had denied it, or answered."""
        self.retrieved: Counter[str] = Counter()
        """How often each task's embeddings were downloaded."""
        self._tasks = {task.task_id: task for task in tasks}
        self._by_creation = sorted(tasks, key=_creation)
        self._clock = clock
        self._throttle = throttle
        self._latency_s = latency_s
        self._list_lag_ms = round(list_lag_s * 1000)
        self._limiter = limiter or RateLimiter(SimulatorSettings())
        self._error_ratio = error_ratio
        self._quirks = quirks or Quirks()
        self._trouble = trouble
        self._only_in = only_in or {}
        self._asked_first: dict[str, ApiVersion] = {}
        self._rng = random.Random(seed)  # noqa: S311

    async def fetch_task(  # noqa: PLR0913  # the last three have defaults
        self,
        task_id: str,
        permit: Permit,
        reservation: Reservation,  # noqa: ARG002  # nothing is held here
        *,
        is_fresh: bool = False,  # noqa: ARG002  # there are no connections
        version: ApiVersion | None = None,
        options: tuple[str, ...] = (),  # noqa: ARG002  # every task has one segment
    ) -> Response:
        version = version or "v1"
        self.confirmations += self._asked_first.setdefault(task_id, version) != version
        response = await self._get(permit, lambda: self._answer_about(task_id, permit.endpoint, version))
        if isinstance(response.content, Body) and permit.endpoint is Endpoint.STATUS:
            return replace(response, content=Answered(status_outcome(response.content.beginning(response.size), None)))
        return response

    async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:
        response = await self._get(permit, lambda: self._listed(query))
        content = response.content
        return content.outcome if isinstance(content, Answered) else parse_list(content.beginning(response.size), None)

    def _knows(self, task_id: str, version: ApiVersion) -> bool:
        return self._only_in.get(task_id, version) == version

    async def _get(self, permit: Permit, answer: Callable[[], tuple[int, bytes]]) -> Response:
        permit.spend()
        self.requests[permit.endpoint] += 1
        await anyio.sleep(self._latency_s)
        now_s = self._clock.wall_ms() / 1000
        admission = self._limiter.admit(now_s)
        headers = quota_headers(admission.quota, "older")
        if not admission.admitted:
            self.refused[permit.endpoint] += 1
            headers["retry-after"] = str(admission.retry_after_s)
            status, body = 429, PROBLEMS[429]
        elif self._error_ratio and self._rng.random() < self._error_ratio:
            status, body = 503, _UNAVAILABLE
        else:
            status, body = answer()
        report = read_limits(headers, now_s)
        self._throttle.learn(permit.endpoint, status, report)
        content = Body(body) if status == 200 else Answered(error_outcome(permit.endpoint, status, body, None, report))
        return Response(content, round(self._latency_s * 1000), status, size=len(body))

    def _answer_about(self, task_id: str, endpoint: Endpoint, version: ApiVersion) -> tuple[int, bytes]:
        """Return the answer about a task: the right one, or a wrong one during trouble."""
        if not self._knows(task_id, version):
            return 404, _NO_SUCH_TASK % task_id.encode()
        status, body = self._about(task_id, endpoint)
        trouble = self._trouble
        is_wrong = self._is_in_trouble() and trouble is not None and self._rng.random() < trouble.share
        return _wrong(trouble.kind, task_id, endpoint, body) if is_wrong and trouble else (status, body)

    def _is_in_trouble(self) -> bool:
        at_s = (self._clock.wall_ms() - START_MS) / 1000
        return self._trouble is not None and self._trouble.from_s <= at_s < self._trouble.until_s

    def _about(self, task_id: str, endpoint: Endpoint) -> tuple[int, bytes]:
        now_ms, task = self._clock.wall_ms(), self._tasks.get(task_id)
        if task is None or not task.exists_at(now_ms):
            return 404, _NO_SUCH_TASK % task_id.encode()
        if endpoint is Endpoint.STATUS:
            return 200, self._as_called(documents.status_body(task, now_ms))
        if task.status_at(now_ms) == "processing" and self._quirks.early_problem:
            return self._quirks.early_problem, PROBLEMS[self._quirks.early_problem]
        if task.status_at(now_ms) != "ready":
            return 200, self._as_called(documents.task_body(task, now_ms))
        self.retrieved[task_id] += 1
        body = documents.retrieved_body(task, now_ms, _SEGMENT)
        return 200, _without_model(body) if self._quirks.hides_models else body

    def _as_called(self, body: bytes) -> bytes:
        return body.replace(b'"status":"processing"', b'"status":"%s"' % self._quirks.unfinished.encode())

    def _listed(self, query: ListQuery) -> tuple[int, bytes]:
        quirks = self._quirks
        if self._trouble is not None and self._trouble.in_list and self._is_in_trouble():
            return 404, PROBLEMS[404]
        if quirks.list_problem:
            return quirks.list_problem, PROBLEMS[quirks.list_problem]
        document = orjson.loads(self._as_called(self._page(query)))
        if not quirks.tells_page_limit:
            document["page_info"]["limit_per_page"] = query.page_limit
        if not quirks.tells_total:
            del document["page_info"]["total_results"]
        if not quirks.lists_dates:
            for entry in document["data"]:
                del entry["created_at"]
        return 200, orjson.dumps(document)

    def _page(self, query: ListQuery) -> bytes:
        # There and back, so that a query that the API cannot express fails here, too.
        asked, quirks = parse_list_query(list_parameters(query)), self._quirks
        asked = replace(asked, page_limit=min(asked.page_limit, quirks.list_page_limit))
        seen_at_ms = self._clock.wall_ms() - self._list_lag_ms
        shown_at_ms = START_MS if quirks.list_is_frozen else seen_at_ms
        oldest_ms, newest_ms = seen_at_ms - RETENTION_MS + 1, seen_at_ms
        if not quirks.list_ignores_window:
            oldest_ms = max(oldest_ms, asked.started_at_ms or 0)
            newest_ms = min(newest_ms, asked.ended_at_ms or newest_ms)
        first = bisect_left(self._by_creation, oldest_ms, key=_creation)
        last = bisect_right(self._by_creation, newest_ms, key=_creation)
        matching = [] if quirks.list_is_empty else self._by_creation[first:last]
        if not quirks.list_is_ascending:
            matching = matching[::-1]
        if asked.status is not None and not quirks.list_ignores_status:
            named = "processing" if quirks.unfinished == asked.status else None
            matching = [task for task in matching if task.status_at(shown_at_ms) == named]
        if quirks.lists_are_separate:
            matching = [task for task in matching if self._knows(task.task_id, query.version or "v1")]
        offset = (asked.page - 1) * asked.page_limit
        on_page = matching[offset : offset + asked.page_limit]
        return page_body(Page(on_page, len(matching), asked), shown_at_ms)


def _wrong(kind: str, task_id: str, endpoint: Endpoint, body: bytes) -> tuple[int, bytes]:
    """Return a wrong answer in place of `body`; a status cannot lack what only a result has."""
    match kind:
        case "gone":
            return 404, _NO_SUCH_TASK % task_id.encode()
        case "unacceptable":
            return 400, _ID_INVALID
        case "failed":
            return 200, b'{"_id": "%s", "status": "failed", "message": "Broken."}' % task_id.encode()
        case "empty" if endpoint is Endpoint.RETRIEVE:
            return 200, b'{"_id": "%s", "status": "ready", "video_embedding": {"segments": []}}' % task_id.encode()
        case "invalid" if endpoint is Endpoint.RETRIEVE:
            return 200, b'{"_id": "%s", "status": "ready", "video_embedding": {"segments": [{"float": [NaN]}]}}'
        case _:
            return 200, body


def _without_model(body: bytes) -> bytes:
    document = orjson.loads(body)
    del document["model_name"]
    return orjson.dumps(document)


def _creation(task: SimulatedTask) -> int:
    return task.created_at_ms
