"""The list of tasks: the parameters of a request, and the tasks of a page with their outcomes."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from harvester.api.decode.body import BodyError, decompress, excerpt, parse_object
from harvester.api.decode.result import unfinished
from harvester.domain.errors import InvalidTaskId
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Ready, Transient
from harvester.domain.tasks.task_document import video_metadata
from harvester.domain.tasks.task_id import validate_task_id

MAX_LIST_BYTES = 4 * 1024 * 1024
"""Bytes: the largest page. A page of 50 tasks is about 20 KB."""

_ONLY_IN_V2 = ("audio_embedding", "document_embedding", "image_embedding")
"""The objects of list entries that only tasks of version 2 have."""

_LAST_SECOND = 253_402_300_799
"""Unix seconds, the end of the year 9999: later dates in a list cannot be formatted."""


def list_parameters(query: ListQuery) -> dict[str, str]:
    """Return the query string of a list call."""
    parameters = {
        "started_at": _rfc3339(query.started_at_ms),
        "page": str(query.page),
        "page_limit": str(query.page_limit),
    }
    if query.ended_at_ms is not None:
        parameters["ended_at"] = _rfc3339(query.ended_at_ms)
    if query.status is not None:
        parameters["status"] = query.status
    return parameters


def parse_list(
    body: bytes, encoding: str | None, read_entry: Callable[[Any], ListedTask | None] | None = None
) -> ListPage | Transient:
    """Return the page in the 200 answer of a list call; entries without an acceptable id are only counted.

    `read_entry` reads an entry in place of `listed_task`.
    """
    read = read_entry or listed_task
    try:
        plain = decompress(body, encoding, MAX_LIST_BYTES)
        document = parse_object(plain)
    except BodyError as error:
        return Transient(error.outcome.message, error.outcome.code)
    entries = document.get("data")
    if not isinstance(entries, list):
        return Transient(f"The answer is not a list of tasks: {excerpt(plain)}.", "not_a_list")
    found = document.get("page_info")
    page_info: dict[str, Any] = found if isinstance(found, dict) else {}
    return ListPage(
        tasks=[task for entry in entries if (task := read(entry)) is not None],
        count=len(entries),
        total_results=_count(page_info.get("total_results")),
        limit_per_page=_count(page_info.get("limit_per_page")),
        page=_count(page_info.get("page")),
    )


def listed_task(entry: Any) -> ListedTask | None:
    """Return the task of an entry, in the form of either API version; None without an acceptable id."""
    if not isinstance(entry, dict) or not isinstance(task_id := entry.get("_id"), str):
        return None
    try:
        validate_task_id(task_id)
    except InvalidTaskId:
        return None
    outcome = Ready() if entry.get("status") == "ready" else unfinished(entry)
    return ListedTask(task_id, outcome, video_metadata(entry), "v2" if _is_only_in_v2(entry) else None)


def _is_only_in_v2(entry: dict[str, Any]) -> bool:
    """Whether version 1 cannot have made the task: it embeds videos by marengo3.0 only."""
    return entry.get("model_name") == "marengo3.5" or any(isinstance(entry.get(name), dict) for name in _ONLY_IN_V2)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _rfc3339(unix_ms: int) -> str:
    moment = datetime.fromtimestamp(max(0, min(unix_ms // 1000, _LAST_SECOND)), UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
