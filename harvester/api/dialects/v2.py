"""Version 2: one call brings status and result, errors are nested."""

from typing import Any, ClassVar

from harvester.api.dialects.dialect import ErrorBody
from harvester.api.list_page import listed_task
from harvester.api.responses import error_outcome, status_outcome
from harvester.domain.limits.endpoint import Endpoint, LimitReport
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Outcome
from harvester.domain.tasks.task import ApiVersion


class V2:
    """`/embed-v2/tasks`; see `harvester.api.dialects.dialect.Dialect`."""

    version: ClassVar[ApiVersion] = "v2"
    list_path: ClassVar[tuple[str, ...]] = ("embed-v2", "tasks")

    def task_path(self, task_id: str, endpoint: Endpoint) -> tuple[str, ...]:  # noqa: ARG002  # there is one call
        """Return the path of the one call about a task."""
        return (*self.list_path, task_id)

    def brings_result(self, endpoint: Endpoint) -> bool:  # noqa: ARG002
        """Return True: a result that comes in answer to a question is not thrown away."""
        return True

    def filters_options(self, endpoint: Endpoint) -> bool:  # noqa: ARG002
        """Return False: a result is always whole."""
        return False

    def read_status(self, body: bytes, encoding: str | None) -> Outcome:
        """Return the outcome of an answer that brings no result."""
        return status_outcome(body, encoding)

    def read_entry(self, entry: Any) -> ListedTask | None:
        """Return the task of an entry; the list may show tasks of both versions."""
        return listed_task(entry)

    def read_error(self, endpoint: Endpoint, status: int, body: ErrorBody, report: LimitReport) -> Outcome:
        """Return the outcome of an error, nested or, as in version 1, flat."""
        return error_outcome(endpoint, status, body.content, body.encoding, report, server_now_s=body.received_s)
