"""The named statements of queries.sql."""

from functools import cache
from pathlib import Path

_NAME = "-- name: "


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
            queries[name] += line + "\n"
    return queries


def query(name: str) -> str:
    """Return the statement called `name`."""
    return load_queries()[name]
