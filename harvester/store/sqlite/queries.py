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
            queries[name] += line.replace("{claimable}", _CLAIMABLE) + "\n"
    for name, sql in list(queries.items()):
        if _TASKS.search(sql):
            queries[name] = _TASKS.sub(r"\1", sql)
            queries[name + Scope.SELECTED.value] = _TASKS.sub(_SELECTED, sql)
    return queries


def query(name: str) -> str:
    """Return the statement called `name`."""
    return load_queries()[name]
