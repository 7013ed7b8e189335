"""The list of tasks: its query and one page of the answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from harvester.domain.tasks.task import ApiVersion
from harvester.simulator import rfc3339
from harvester.simulator.problems import invalid_parameter
from harvester.simulator.tasks import STATUSES, SimulatedTask, TaskStatus

MAX_PAGE_LIMIT = 50
_MOST_DIGITS = 9  # int() of a longer text is not worth its time


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """One page of the list: creation times in Unix milliseconds, both ends included; None leaves one open."""

    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    status: TaskStatus | None = None
    page: int = 1
    page_limit: int = 10
    version: ApiVersion | None = None
    """The version whose list is asked; None for both."""


@dataclass(frozen=True, slots=True)
class Page:
    """The tasks of one page, newest first, and the number of all tasks that the query matches."""

    tasks: list[SimulatedTask]
    total_results: int
    query: ListQuery

    @property
    def total_page(self) -> int:
        """How many pages the query has; 0 when nothing matches."""
        return ceil(self.total_results / self.query.page_limit)


def parse_list_query(parameters: Mapping[str, str], version: ApiVersion | None = None) -> ListQuery:
    """Read the query string of a list call; ApiProblem (400) names the wrong parameter."""
    page_limit = _positive(parameters, "page_limit", 10)
    if page_limit > MAX_PAGE_LIMIT:
        raise invalid_parameter("page_limit", f"The value must be at most {MAX_PAGE_LIMIT}.")
    return ListQuery(
        started_at_ms=_moment(parameters, "started_at"),
        ended_at_ms=_moment(parameters, "ended_at"),
        status=_status(parameters),
        page=_positive(parameters, "page", 1),
        page_limit=page_limit,
        version=version,
    )


def _positive(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) > 0):
        raise invalid_parameter(name, "The value must be a whole number of 1 or more.")
    return int(text)


def _moment(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    try:
        return rfc3339.parse_ms(text)
    except ValueError:
        raise invalid_parameter(name, "The value must be an RFC 3339 date-time such as 2024-09-26T10:29:19Z.") from None


def _status(parameters: Mapping[str, str]) -> TaskStatus | None:
    text = parameters.get("status")
    if text is None:
        return None
    for status in STATUSES:
        if text == status:
            return status
    raise invalid_parameter("status", f"The value must be one of {', '.join(STATUSES)}.")
