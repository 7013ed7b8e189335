"""`harvester backup`: a checked copy while the daemon works."""

import signal
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from harvester.app.stores import open_maintenance
from harvester.cli.console import print_json, print_note
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.reports.formats import shown_bytes, shown_duration
from harvester.settings.model import load_settings

Target = Annotated[
    Path, typer.Argument(metavar="FILE", readable=False, help="The file to write the copy to.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")]


def backup(
    file: Target, *, force: Force = False, json: AsJson = False, db: Database = None, config: ConfigFile = None
) -> None:
    """Copy the database while it is in use.

    The copy shows the database at one moment and is checked as by `verify`. FILE appears only when it is complete.

    Example: harvester backup harvester-monday.db
    """
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    # SIGTERM removes the unfinished copy; after a second one, or SIGKILL, the next backup does.
    signal.signal(signal.SIGTERM, _end)
    started = time.monotonic()
    done = open_maintenance(path).back_up(file, replace=force)
    took_s = time.monotonic() - started
    if json:
        print_json(
            {
                "path": str(done.path),
                "taken_at_ms": done.taken_at_ms,
                "bytes": done.bytes,
                "schema_version": done.schema_version,
                "tasks": {state.value: count for state, count in done.counts.items()},
                "took_s": round(took_s, 3),
            }
        )
        return
    tasks = sum(done.counts.values())
    size, time_taken = shown_bytes(done.bytes), shown_duration(took_s)
    print_note(f"{file} holds {tasks} tasks, {size}, copied and checked in {time_taken}.")


def _end(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)
