"""One pass over the account's list of tasks, without a harvest."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog

from harvester.api.client import Client
from harvester.app import configured
from harvester.app.stores import open_discovery_store
from harvester.domain.tasks.key_fingerprint import key_fingerprint
from harvester.service.clock import ApiClock, SystemClock
from harvester.service.discovery import DiscoveryParts, discover_lately
from harvester.service.discovery_report import DiscoveryReport
from harvester.service.pause_watch import PauseWatch, refuse_if_paused
from harvester.settings.model import Settings
from harvester.throttle.throttle import Throttle

log = structlog.stdlib.get_logger()


async def discover_once(
    settings: Settings, key: Callable[[], str], *, since_s: float, dry_run: bool = False
) -> DiscoveryReport:
    """Queue the account's tasks of the last `since_s` seconds. A dry run only compares.

    Raises PausedError and StoreError.
    """
    clock = ApiClock(SystemClock())
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_discovery_store(settings.store.path, dry_run=dry_run))
        throttle = Throttle(configured.rate_limit(settings), clock.monotonic, limit_store=store, wall_ms=clock.wall_ms)
        pause = PauseWatch(store, clock, _log_pause)
        await refuse_if_paused(store, clock.wall_ms())
        client = Client(configured.client_settings(settings), key, throttle, on_api_time=clock.learn)
        parts = DiscoveryParts(
            api=await stack.enter_async_context(client),
            throttle=throttle,
            store=store,
            clock=clock,
            pause=pause,
            key=lambda: key_fingerprint(key()),
            lists=configured.account_lists(settings),
        )
        return await discover_lately(parts, clock, lately_ms=round(since_s * 1000), is_dry=dry_run)


def _log_pause(text: str | None) -> None:
    if text is not None:
        log.warning("paused", why=text)
