"""The named statements of queries.sql."""

import re
from enum import Enum
from functools import cache
from pathlib import Path

_NAME = "-- name: "
_TASKS = re.compile(r"\{(tasks[^}]*)\}")
_CLAIMABLE = (
    "tasks.id, tasks.task_id, tasks.state, tasks.added_at, tasks.expires_at, tasks.created_at, tasks.failures, "
    "tasks.gone, tasks.invalid, tasks.claim, tasks.unfinished_at, listed.model_name, listed.duration, "
    "tasks.doubted_at, tasks.api_version, tasks.other_id, tasks.seen_with, tasks.error_code, tasks.error_message, "
    "tasks.denied_by, tasks.retrieve_options"
)
"""The columns of a claim, in the order of the fields of Task."""

_MATCHES = """
    (:states IS NULL OR tasks.state IN (SELECT value FROM json_each(:states)))
    AND (:reasons IS NULL
         OR (tasks.state <> 'harvested' AND tasks.error_code IN (SELECT value FROM json_each(:reasons))))
    AND (:models IS NULL
         OR coalesce(videos.model_name, listed.model_name) IN (SELECT value FROM json_each(:models)))
    AND (:input_types IS NULL
         OR coalesce(videos.input_type, listed.input_type) IN (SELECT value FROM json_each(:input_types)))
    AND (:name IS NULL OR coalesce(videos.input_filename, listed.input_filename) GLOB :name)
    AND (:since IS NULL OR coalesce(tasks.ended_at, tasks.added_at) >= :since)
    AND (:ended_before IS NULL OR tasks.ended_at < :ended_before)
    AND NOT EXISTS (
        SELECT 1 FROM json_each(:labels) AS wanted WHERE NOT EXISTS (
            SELECT 1 FROM labels
            WHERE labels.task = tasks.id
              AND labels.key = json_extract(wanted.value, '$[0]') AND labels.value = json_extract(wanted.value, '$[1]')
        )
    )"""
"""The conditions of a filter, each of which is met if its parameter is NULL, of `labels` an empty list."""

_WANTED_TASK = """
    (:models IS NULL OR videos.model_name IN (SELECT value FROM json_each(:models)))
    AND (:input_types IS NULL OR videos.input_type IN (SELECT value FROM json_each(:input_types)))
    AND (:name IS NULL OR videos.input_filename GLOB :name)
    AND (:since IS NULL OR videos.harvested_at >= :since)
    AND (:labels = '[]' OR NOT EXISTS (
        SELECT 1 FROM json_each(:labels) AS wanted WHERE NOT EXISTS (
            SELECT 1 FROM labels
            WHERE labels.task = tasks.id
              AND labels.key = json_extract(wanted.value, '$[0]') AND labels.value = json_extract(wanted.value, '$[1]')
        )
    ))
    AND (NOT :latest OR videos.task NOT IN (SELECT task FROM superseded))"""
"""The conditions of a ResultFilter on a task, each of which is met if its parameter is NULL, of `labels` an empty list.

Its task ids are selected: see `stored_results.filtered`.
"""

_WANTED_SEGMENT = """
    (:options IS NULL OR segments.embedding_option IN (SELECT value FROM json_each(:options)))
    AND (:scopes IS NULL OR segments.embedding_scope IN (SELECT value FROM json_each(:scopes)))"""
"""The conditions of a ResultFilter on a segment."""

_RESULT_TASK = """
       tasks.task_id, videos.model_name, videos.input_type, videos.input_filename, videos.input_url, videos.duration,
       videos.harvested_at"""
"""The fields of a ResultTask but its labels, in their order."""

_SUPERSEDED = """superseded AS MATERIALIZED (
    SELECT task FROM (
        SELECT videos.task, row_number() OVER (
            PARTITION BY videos.input_filename
            ORDER BY coalesce(videos.created_at, tasks.created_at, tasks.added_at) DESC, videos.task DESC
        ) AS age
        FROM videos JOIN tasks ON tasks.id = videos.task WHERE videos.input_filename <> ''
    ) WHERE age > 1
)"""
"""The tasks whose file name a newer task has. One sort of the names: they have no index."""

_PLACES = {
    "{claimable}": _CLAIMABLE,
    "{matches}": _MATCHES,
    "{wanted_task}": _WANTED_TASK,
    "{wanted_segment}": _WANTED_SEGMENT,
    "{result_task}": _RESULT_TASK,
    "{superseded}": _SUPERSEDED,
}

_SELECTED = "temp.selected CROSS JOIN tasks ON tasks.id = selected.task"


class Scope(Enum):
    """The tasks that a statement is about. The value is the end of the names of its statements."""

    ALL = ""
    SELECTED = "_selected"
    """The tasks that `queue.select` has selected for the connection."""

    def query(self, name: str) -> str:
        """Return the statement called `name` for the tasks in scope."""
        return query(name + self.value)


@cache
def load_queries() -> dict[str, str]:
    """Return the statements by name, without their comments."""
    queries: dict[str, str] = {}
    name = ""
    for line in Path(__file__).with_name("queries.sql").read_text("utf-8").splitlines():
        if line.startswith(_NAME):
            name = line.removeprefix(_NAME).strip()
            queries[name] = ""
        elif name and not line.startswith("--") and line.strip():
            queries[name] += _filled(line) + "\n"
    for name, sql in list(queries.items()):
        if _TASKS.search(sql):
            queries[name] = _TASKS.sub(r"\1", sql)
            queries[name + Scope.SELECTED.value] = _TASKS.sub(_SELECTED, sql)
    return queries


def _filled(line: str) -> str:
    for place, sql in _PLACES.items():
        line = line.replace(place, sql)
    return line


def query(name: str) -> str:
    """Return the statement called `name`."""
    return load_queries()[name]
