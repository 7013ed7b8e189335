"""The filters of the Python API, as a ResultFilter."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict

from harvester.domain.errors import UsageError
from harvester.domain.moments import datetime_ms, moment_ms
from harvester.domain.results.result_filter import ResultFilter

Names = str | Iterable[str] | None
"""One name, several of which one must match, or None for any."""

Since = datetime | str | timedelta | None
"""A moment, its text by RFC 3339, or a time until now: a timedelta, or a text such as `7d`."""

_NO_TASK = ("",)
"""No task with a result has this id."""


class Filters(TypedDict, total=False):
    """The conditions of a reading; a vector meets all of those that are given."""

    model: Names
    """The name of the model, as `marengo3.0`."""
    option: Names
    """The embedding option: `visual`, `audio`, `transcription`."""
    scope: Names
    """The scope: `clip`, `asset`, which is also `video`."""
    input_type: Names
    """The medium: `video`, `audio`, `image`, `document`."""
    task_id: Names
    """The id of the task. An empty list, as a program may reckon one, matches nothing."""
    label: Mapping[str, str] | None
    """All of these labels."""
    since: Since
    """Harvested then or later."""
    name: str | None
    """A pattern for the file's name: `*`, `?` and `[…]` as in a shell; upper and lower case differ."""
    latest: bool
    """Of several tasks with one file name only the one that the API created last."""


def result_filter(filters: Filters) -> ResultFilter:
    """Return the conditions. Raises UsageError for a value that cannot be used."""
    label: Any = filters.get("label") or {}
    name: Any = filters.get("name")
    if not isinstance(label, Mapping) or not all(isinstance(one, str) for one in (*label, *label.values())):
        raise UsageError(f"label={label!a} is not a mapping of texts.", remedy='Write it as label={"show": "news"}.')
    if name is not None and not isinstance(name, str):
        raise UsageError(f"name={name!a} is not a text.", remedy='Write it as name="match*.mp4".')
    if unknown := filters.keys() - Filters.__annotations__:
        raise UsageError(
            f"There is no filter {min(unknown)!a}.", remedy=f"There is {', '.join(Filters.__annotations__)}."
        )
    return ResultFilter(
        models=_names("model", filters.get("model")),
        options=_names("option", filters.get("option")),
        scopes=_names("scope", filters.get("scope")),
        input_types=_names("input_type", filters.get("input_type")),
        task_ids=_task_ids(filters.get("task_id")),
        labels=dict(label),
        name=name,
        since_ms=since_ms(filters.get("since"), time.time_ns() // 1_000_000),
        latest=bool(filters.get("latest", False)),
    )


def _task_ids(task_id: Names) -> tuple[str, ...]:
    if task_id is None or isinstance(task_id, str):
        return _names("task_id", task_id)
    ids = [*task_id]
    return _names("task_id", ids) if ids else _NO_TASK


def _names(argument: str, names: Names) -> tuple[str, ...]:
    if names is None:
        return ()
    found = (names,) if isinstance(names, str) else tuple(names)
    if not found:
        raise UsageError(f"{argument} is an empty list, which no vector matches.", remedy="Leave it out for any.")
    if not all(isinstance(name, str) for name in found):
        raise UsageError(f"{argument}={names!a} is neither a text nor a list of texts.")
    return found


def since_ms(since: Since, now_ms: int) -> int | None:
    """Return Unix milliseconds; a moment without a zone is UTC. Raises UsageError."""
    if since is None:
        return None
    if isinstance(since, timedelta):
        return max(0, now_ms - round(since.total_seconds() * 1000))
    if isinstance(since, datetime):
        return datetime_ms(since)
    text: Any = since  # whatever the program has given
    moment = moment_ms(text, now_ms) if isinstance(text, str) else None
    if moment is None:
        raise _no_moment(since)
    return moment


def _no_moment(value: object) -> UsageError:
    return UsageError(
        f"since={value!a} is neither a time nor a date.", remedy='Write it as "12h", "7d" or "2026-05-04T13:02:11Z".'
    )
