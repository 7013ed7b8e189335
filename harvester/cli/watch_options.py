"""The options `--watch` and `--every` of a report."""

from typing import Annotated

import typer

from harvester.cli.durations import parse_duration_s
from harvester.domain.errors import UsageError

Watch = Annotated[bool, typer.Option("--watch", help="Show it repeatedly, until Ctrl-C.")]
Every = Annotated[
    str | None, typer.Option("--every", metavar="TIME", help="With --watch: the time between two readings; else 2s.")
]


def watch_every_s(command: str, every: str | None, *, is_watched: bool, as_json: bool) -> float | None:
    """Return the seconds between two readings; None without --watch. Raises UsageError."""
    if is_watched and as_json:
        remedy = f"Call `harvester {command} --json` again."
        raise UsageError("--watch is for people, --json for programs.", remedy=remedy)
    if every is not None and not is_watched:
        raise UsageError("--every needs --watch.", remedy="Add --watch.")
    return parse_duration_s(every or "2s", "--every") if is_watched else None
