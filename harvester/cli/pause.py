"""`harvester pause`: stops the requests of all processes for a while."""

import time
from typing import Annotated

import typer

from harvester.app.stores import open_insights, open_queue_editor
from harvester.cli.console import print_error, print_json, print_note
from harvester.cli.durations import parse_duration_s
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.domain.errors import UsageError
from harvester.reports.formats import shown_time
from harvester.reports.pause_text import RESUME, pause_times
from harvester.settings.model import load_settings

For = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="End the pause after this time: 30m, 2h, 1d; else never.")
]

LONGEST_S = 366 * 24 * 3600


def pause(*, for_: For = None, json: AsJson = False, db: Database = None, config: ConfigFile = None) -> None:
    """Send no more requests for a while.

    Holds for each process on the database, within a few seconds, also for those that start later. Requests under way
    are finished and stored; deadlines are still watched. Ends by itself after --for, else with harvester resume.

    Example: harvester pause --for 2h
    """
    now_ms = time.time_ns() // 1_000_000
    until_ms = None if for_ is None else now_ms + round(_duration_s(for_) * 1000)
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    with open_queue_editor(path) as queue:
        paused = queue.pause(now_ms, until_ms)
    if json:
        print_json({"since_ms": paused.since_ms, "until_ms": paused.until_ms})
        return
    print_note(f"Paused {pause_times(paused)}: no process on {path} sends requests; {RESUME}.")
    with open_insights(path) as insights:
        nearest_ms = insights.urgency(now_ms).nearest_deadline_ms
    if nearest_ms is not None and now_ms < nearest_ms and (until_ms is None or nearest_ms <= until_ms):
        print_error(f"the next deadline is {shown_time(nearest_ms)}: a pause until then loses embeddings.")


def _duration_s(text: str) -> float:
    seconds = parse_duration_s(text, "--for")
    if seconds > LONGEST_S:
        raise UsageError(f"--for {text!a} is longer than a year.", remedy="Leave --for out, and end it by hand.")
    return seconds
