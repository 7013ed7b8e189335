"""The log of requests and their answers: for tests that count, and for people who watch."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import orjson
from aiohttp import web

from harvester.domain.tasks.task import ApiVersion

Endpoint = Literal["status", "retrieve", "list", "create", "query", "other"]
_ENDPOINTS: tuple[Endpoint, ...] = ("status", "retrieve", "list", "create", "query")

# A rehearsal may run for days: the oldest requests are forgotten (the file has them all).
_REMEMBERED = 250_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One answered request; `at` is the stand-in's time in epoch seconds, `bytes` the body as it was sent.

    `fault` is the kind of misbehaviour that was served in place of the right answer.
    """

    at: float
    method: str
    path: str
    query: str
    endpoint: Endpoint
    task_id: str | None
    status: int
    bytes: int
    fault: str | None = None

    @property
    def version(self) -> ApiVersion:
        """The version of the API that was asked."""
        return version_of(self.path)


def version_of(path: str) -> ApiVersion:
    """Return the version that a request asks, by its path; v1 for paths that do not exist."""
    return "v2" if "/embed-v2" in path else "v1"


def endpoint_of(request: web.Request) -> Endpoint:
    """Return the call that a request makes: the name of its route, without the version."""
    name = (request.match_info.route.name or "").rpartition(".")[2]
    return next((endpoint for endpoint in _ENDPOINTS if endpoint == name), "other")


class RequestLog:
    """The answered requests in their order; while it is open, also appended to `file` as JSON lines."""

    def __init__(self, file: Path | None = None) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=_REMEMBERED)
        self._path = file
        self._file: FileIO | None = None

    def __iter__(self) -> Iterator[RequestRecord]:
        return iter(list(self._records))

    def __len__(self) -> int:
        return len(self._records)

    def __enter__(self) -> Self:
        """Open the file, if one was given; OSError when it cannot be written."""
        if self._path is not None:
            # Without a buffer, so that a reader of the file sees each request at once.
            self._file = FileIO(self._path, "a")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def append(self, record: RequestRecord) -> None:
        """Remember one request; OSError when the file cannot be written."""
        self._records.append(record)
        if self._file is not None:
            self._file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))

    def count(
        self, endpoint: Endpoint | None = None, status: int | None = None, version: ApiVersion | None = None
    ) -> int:
        """Return how many requests went to `endpoint` of `version` and were answered with `status`; None means any."""
        return sum(
            endpoint in {None, record.endpoint}
            and status in {None, record.status}
            and version in {None, record.version}
            for record in self._records
        )

    def clear(self) -> None:
        """Forget all records; the file keeps them."""
        self._records.clear()
