"""Version 1: a status call and a retrieval for each task, flat errors."""

from typing import Any, ClassVar

from harvester.api.dialects.dialect import ErrorBody
from harvester.api.list_page import listed_task
from harvester.api.responses import error_outcome, status_outcome
from harvester.domain.limits.endpoint import Endpoint, LimitReport
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Outcome
from harvester.domain.tasks.task import ApiVersion


class V1:
    """`/embed/tasks`; see `harvester.api.dialects.dialect.Dialect`."""

    version: ClassVar[ApiVersion] = "v1"
    list_path: ClassVar[tuple[str, ...]] = ("embed", "tasks")

    def task_path(self, task_id: str, endpoint: Endpoint) -> tuple[str, ...]:
        """Return the path of the status call or of the retrieval."""
        path = (*self.list_path, task_id)
        return (*path, "status") if endpoint is Endpoint.STATUS else path

    def brings_result(self, endpoint: Endpoint) -> bool:
        """Return whether the call is a retrieval."""
        return endpoint is Endpoint.RETRIEVE

    def filters_options(self, endpoint: Endpoint) -> bool:
        """Return whether the call is a retrieval."""
        return endpoint is Endpoint.RETRIEVE

    def read_status(self, body: bytes, encoding: str | None) -> Outcome:
        """Return the outcome of a status call."""
        return status_outcome(body, encoding)

    def read_entry(self, entry: Any) -> ListedTask | None:
        """Return the task of an entry; the list may show tasks of both versions."""
        return listed_task(entry)

    def read_error(self, endpoint: Endpoint, status: int, body: ErrorBody, report: LimitReport) -> Outcome:
        """Return the outcome of an error, flat or, as in version 2, nested."""
        return error_outcome(endpoint, status, body.content, body.encoding, report, server_now_s=body.received_s)
