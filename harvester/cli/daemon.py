"""The daemon that `harvester run` starts: it harvests until a signal or a refused key."""

import os
from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio
import structlog

from harvester.app.harvest import Harvest
from harvester.app.wiring import open_harvest
from harvester.cli.harvest_process import noting_lost_messages
from harvester.cli.logs import configure_logs
from harvester.domain.errors import UsageError
from harvester.service.lifecycle import stopping_on_signals
from harvester.service.run_options import StopWhen
from harvester.settings.api_key import ApiKey
from harvester.settings.model import LoadedSettings
from harvester.web import Metrics, serve

GRACE_S = 60.0
"""Seconds to finish downloads after a signal. A service manager stops the daemon, and waits longer than a person."""

_RELOADABLE = ("rate.", "harvest.concurrency", "discovery.", "log.")


class Daemon:
    """One daemon, from opening the database to its exit code. SIGHUP calls `reread` to load the settings again."""

    def __init__(self, loaded: LoadedSettings, key: ApiKey, reread: Callable[[], LoadedSettings]) -> None:
        self._loaded = loaded
        self._key = key
        self._reread = reread
        self._log = structlog.stdlib.get_logger()

    async def run(self) -> int:
        """Harvest until a signal or a refused key; return the exit code. Raises HarvesterError."""
        settings = self._loaded.settings
        grace_s = settings.harvest.grace_s if self._loaded.origins["harvest.grace_s"] != "default" else GRACE_S
        metrics, token = Metrics(), settings.server.token.get_secret_value() if settings.server.token else None
        async with (
            AsyncExitStack() as stack,
            open_harvest(
                settings, self._key.reveal, until=StopWhen.SIGNALLED, grace_s=grace_s, observer=metrics
            ) as harvest,
            serve(settings.server.listen, token, harvest, metrics),
        ):
            stack.enter_context(noting_lost_messages(harvest.progress.conditions))
            discovering = anyio.CancelScope()

            def drain() -> None:
                harvest.stop()
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

    def _reload(self, harvest: Harvest) -> None:
        """Apply the settings that can change at run time; a bad file changes nothing."""
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
