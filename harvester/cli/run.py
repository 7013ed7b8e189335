"""`harvester run`: the daemon."""

import os
from typing import Any

import anyio
import typer

from harvester.cli.harvest_process import prepare_process, warn_of_excess
from harvester.cli.logs import configure_logs
from harvester.cli.options import ConfigFile, Database, Strategy
from harvester.settings.api_key import resolve_api_key
from harvester.settings.machine import read_limits
from harvester.settings.machine_defaults import fitted, refuse_too_little
from harvester.settings.model import load_settings
from harvester.settings.sources import find_config_file


def run(*, strategy: Strategy = None, db: Database = None, config: ConfigFile = None) -> None:
    """Harvest until told to stop.

    Takes up what any program queues, within two seconds. SIGTERM finishes and stores what is being downloaded, a
    second one stops at once; SIGHUP reads rates, concurrency, discovery and log level from the settings again.

    Example: harvester run --db harvester.db
    """
    prepare_process()
    overrides: dict[str, dict[str, Any]] = {"store": {"path": db}, "harvest": {"strategy": strategy}}
    # Named from now on: a file that vanishes must not count as one without settings when they are read again.
    found = find_config_file(config, os.environ)
    config = found[0] if found else None
    limits = read_limits()
    refuse_too_little(limits)
    loaded = fitted(load_settings(config, overrides), limits)
    key = resolve_api_key(loaded.settings, os.environ)
    configure_logs(loaded.settings.log.level, loaded.settings.log.format)
    warn_of_excess(loaded.settings, limits)
    # The HTTP client and numpy take much of a small memory: only once it is known to be large enough.
    from harvester.cli.daemon import Daemon  # noqa: PLC0415

    daemon = Daemon(loaded, key, lambda: fitted(load_settings(config, overrides), limits))
    raise typer.Exit(anyio.run(daemon.run))
