"""`harvester run`: the daemon."""

import os
from typing import Any

import anyio
import typer

from harvester.cli.harvest_process import prepare_process, warn_of_excess, warn_of_sharing
from harvester.cli.loading import loading
from harvester.cli.logs import configure_logs
from harvester.cli.options import ConfigFile, Database, Strategy
from harvester.settings.api_key import resolve_api_key
from harvester.settings.machine import read_limits
from harvester.settings.machine_defaults import fitted, refuse_too_little
from harvester.settings.model import load_settings
from harvester.settings.sources import find_config_file


def run(*, strategy: Strategy = None, db: Database = None, config: ConfigFile = None) -> None:
    """Harvest until a signal stops it.

    Starts within two seconds on tasks that any program queues. SIGTERM finishes and stores the downloads under way, a
    second one stops at once; SIGHUP reads rates, concurrency, discovery and log level from the settings again.

    Example: harvester run --db harvester.db
    """
    prepare_process()
    overrides: dict[str, dict[str, Any]] = {"store": {"path": db}, "harvest": {"strategy": strategy}}
    # From now on the file has a name, so that a reload fails if it has disappeared instead of using the defaults.
    found = find_config_file(config, os.environ)
    config = found[0] if found else None
    limits = read_limits()
    refuse_too_little(limits)
    loaded = fitted(load_settings(config, overrides), limits)
    key = resolve_api_key(loaded.settings, os.environ)
    configure_logs(loaded.settings.log.level, loaded.settings.log.format)
    warn_of_excess(loaded.settings, limits)
    warn_of_sharing(loaded.settings)
    # The HTTP client and numpy take much memory: they are imported only when there is enough.
    with loading():
        from harvester.cli.daemon import Daemon  # noqa: PLC0415

    daemon = Daemon(loaded, key, lambda: fitted(load_settings(config, overrides), limits))
    raise typer.Exit(anyio.run(daemon.run))
