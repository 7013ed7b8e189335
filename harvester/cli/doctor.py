"""`harvester doctor`: checks everything that a harvest needs."""

import os
from typing import Annotated

import typer

from harvester.cli.console import print_json, print_note, print_report
from harvester.cli.daemon_health import ask_daemon
from harvester.cli.options import AsJson, ConfigFile, Database
from harvester.ports.check_result import Diagnosis
from harvester.reports.formats import counted
from harvester.settings.model import load_settings

Live = Annotated[bool, typer.Option("--live", help="Only ask the running daemon for its health.")]
Offline = Annotated[bool, typer.Option("--offline", help="Send no request to the API; else one is sent.")]


def doctor(
    *,
    live: Live = False,
    offline: Offline = False,
    json: AsJson = False,
    db: Database = None,
    config: ConfigFile = None,
) -> None:
    """Check what the harvest needs.

    Checks settings, key, clock, database, file system, space, SQLite and limits. Each is ok, a warning or a failure
    with its remedy. Exit 1 after a failure.

    Example: harvester doctor --offline
    """
    overrides = {"store": {"path": db}}
    if live:
        found = [ask_daemon(load_settings(config, overrides).settings)]
    else:
        from harvester.cli.checks import diagnose  # noqa: PLC0415  # it loads aiohttp, which --live does not need

        found = list(diagnose(lambda: load_settings(config, overrides), os.environ, offline=offline))
    failures, warnings = (sum(one.verdict == verdict for one in found) for verdict in ("failure", "warning"))
    if json:
        print_json({"ok": not failures, "checks": [_as_json(one) for one in found]})
    else:
        for one in found:
            print_report(one.line)
        if not live:
            print_note(f"{counted(failures, 'failure')}, {counted(warnings, 'warning')}")
    raise typer.Exit(1 if failures else 0)


def _as_json(one: Diagnosis) -> dict[str, str]:
    return {"name": one.name, "verdict": one.verdict, "text": one.text, "remedy": one.remedy}
