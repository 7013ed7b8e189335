"""`harvester run`: the daemon."""

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import typer

from harvester.cli.options import ConfigFile, Database, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable

    from harvester.app import Harvest
    from harvester.settings.api_key import ApiKey
    from harvester.settings.model import LoadedSettings

GRACE_S = 60.0
"""A daemon is stopped by a service manager, which waits longer than a person does."""


def run(*, strategy: Strategy = None, db: Database = None, config: ConfigFile = None) -> None:
    """Harvest until told to stop.

    Takes up what any program queues, within two seconds. SIGTERM finishes and stores what is being downloaded, a
    second one stops at once; SIGHUP reads rates, concurrency, discovery and log level from the settings again.

    Example: harvester run --db harvester.db
    """
    import anyio  # noqa: PLC0415

    from harvester.cli.harvest_process import prepare_process, warn_of_excess  # noqa: PLC0415
    from harvester.cli.logs import configure_logs  # noqa: PLC0415
    from harvester.settings.api_key import resolve_api_key  # noqa: PLC0415
    from harvester.settings.machine import read_limits  # noqa: PLC0415
    from harvester.settings.machine_defaults import fitted, refuse_too_little  # noqa: PLC0415
    from harvester.settings.model import load_settings  # noqa: PLC0415
    from harvester.settings.sources import find_config_file  # noqa: PLC0415

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
    daemon = Daemon(loaded, key, lambda: fitted(load_settings(config, overrides), limits))
    raise typer.Exit(anyio.run(daemon.run))


class Daemon:
    """One daemon, from opening the database to its exit code. `reread` loads the settings again, for SIGHUP."""

    def __init__(self, loaded: "LoadedSettings", key: "ApiKey", reread: "Callable[[], LoadedSettings]") -> None:
        import structlog  # noqa: PLC0415

        self._loaded = loaded
        self._key = key
        self._reread = reread
        self._log = structlog.stdlib.get_logger()

    async def run(self) -> int:
        """Harvest until a signal or a refused key; return the exit code. Raises HarvesterError."""
        import anyio  # noqa: PLC0415

        from harvester.app import open_harvest  # noqa: PLC0415
        from harvester.cli.harvest_process import noting_lost_messages  # noqa: PLC0415
        from harvester.service.lifecycle import stopping_on_signals  # noqa: PLC0415
        from harvester.service.scheduler import Until  # noqa: PLC0415
        from harvester.web import Metrics, serve  # noqa: PLC0415

        settings = self._loaded.settings
        grace_s = settings.harvest.grace_s if self._loaded.origins["harvest.grace_s"] != "default" else GRACE_S
        metrics, token = Metrics(), settings.server.token.get_secret_value() if settings.server.token else None
        async with (
            AsyncExitStack() as stack,
            open_harvest(settings, self._key.reveal, until=Until.STOPPED, grace_s=grace_s, observer=metrics) as harvest,
            serve(settings.server.listen, token, harvest, metrics),
        ):
            stack.enter_context(noting_lost_messages(harvest.progress.conditions))
            discovering = anyio.CancelScope()

            def drain() -> None:
                harvest.scheduler.stop()
                discovering.cancel()

            async def discover() -> None:
                with discovering:
                    await harvest.keep_discovering(lambda: self._loaded.settings)

            async with stopping_on_signals(drain, lambda: self._reload(harvest)) as stop:
                self._log.info("started", database=str(settings.store.path), pid=os.getpid())
                async with anyio.create_task_group() as group:
                    group.start_soon(discover, name="discovery")
                    await harvest.scheduler.run()
                    group.cancel_scope.cancel()
            self._log.info("stopped", why=stop.description or "the API refuses the key", open=harvest.progress.open)
        harvest.raise_if_refused()
        return stop.exit_code or 0

    def _reload(self, harvest: "Harvest") -> None:
        """Take over what can change while running; a bad file changes nothing."""
        from harvester.cli.logs import configure_logs  # noqa: PLC0415
        from harvester.domain.errors import UsageError  # noqa: PLC0415

        try:
            loaded = self._reread()
        except UsageError as error:
            self._log.error("settings refused, the old ones go on", why=str(error))
            return
        before, after = self._loaded.settings.flat(), loaded.settings.flat()
        changed = {name for name, value in after.items() if value != before[name]}
        needs_restart = sorted(name for name in changed if not name.startswith(_RELOADABLE))
        self._loaded = loaded
        harvest.reload(loaded.settings)
        configure_logs(loaded.settings.log.level, loaded.settings.log.format)
        self._log.info("settings reloaded", changed=sorted(changed - set(needs_restart)))
        if needs_restart:
            self._log.warning("these settings need a restart", settings=needs_restart)


_RELOADABLE = ("rate.", "harvest.concurrency", "discovery.", "log.")
