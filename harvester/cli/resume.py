"""`harvester resume`: ends the pause of the requests."""

import time

from harvester.app.stores import open_queue_editor
from harvester.cli.console import print_json, print_note
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.reports.pause_text import pause_times
from harvester.settings.model import load_settings


def resume(*, json: AsJson = False, db: Database = None, config: ConfigFile = None) -> None:
    """End the pause.

    Running harvests go on within a few seconds.

    Example: harvester resume
    """
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    with open_queue_editor(path) as queue:
        ended = queue.resume(time.time_ns() // 1_000_000)
    if json:
        print_json({"resumed": ended is not None, "since_ms": None if ended is None else ended.since_ms})
    elif ended is None:
        print_note(f"Nothing was paused: {path}")
    else:
        print_note(f"Resumed, was paused {pause_times(ended)}: {path}")
