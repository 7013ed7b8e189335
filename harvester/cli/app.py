"""The one place that chooses and wires concrete classes."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from harvester.api.client import Client, ClientSettings
from harvester.api.throttle import Throttle
from harvester.config import Settings
from harvester.domain.breaker import Breaker
from harvester.domain.pacing import RateLimit
from harvester.service.clock import Clock, SystemClock
from harvester.service.decoder import Decoder
from harvester.service.pipeline import Pipeline
from harvester.service.progress import Progress
from harvester.service.scheduler import HarvestSettings, Scheduler, Until
from harvester.store.connecting import translating_errors
from harvester.store.sqlite import Store


@dataclass(frozen=True, slots=True)
class Harvest:
    """A harvest that is ready to run, and what displays read while it does."""

    store: Store
    scheduler: Scheduler
    progress: Progress
    clock: Clock


@asynccontextmanager
async def open_harvest(
    settings: Settings, key: Callable[[], str], *, until: Until = Until.ENDED, only: Sequence[str] | None = None
) -> AsyncIterator[Harvest]:
    """Open the store and the session for one harvest, of all open tasks or of `only` these ids. Raises StoreError."""
    clock = SystemClock()
    breaker, progress = Breaker(), Progress(started=clock.monotonic())
    async with AsyncExitStack() as stack:
        stack.enter_context(translating_errors(settings.store.path))
        store = await stack.enter_async_context(Store(settings.store.path))
        limit = RateLimit(settings.rate.requests_per_minute, settings.rate.burst)
        throttle = Throttle(limit, clock.monotonic, ledger=store, wall_ms=clock.wall_ms)
        if only is not None:
            await store.want(only, clock.wall_ms())
        client = await stack.enter_async_context(Client(_client_settings(settings), key, throttle))
        pipeline = Pipeline(
            asker=client,
            decoder=Decoder(settings.api.max_body_bytes),
            settler=store,
            breaker=breaker,
            progress=progress,
            clock=clock,
        )
        scheduler = Scheduler(
            HarvestSettings(
                concurrency=settings.harvest.concurrency,
                lease_s=settings.harvest.lease_s,
                grace_s=settings.harvest.grace_s,
                until=until,
                has_status_call=settings.api.version == "v1",
            ),
            source=store,
            pipeline=pipeline,
            throttle=throttle,
            breaker=breaker,
            progress=progress,
            clock=clock,
        )
        yield Harvest(store, scheduler, progress, clock)


def _client_settings(settings: Settings) -> ClientSettings:
    api = settings.api
    return ClientSettings(
        base_url=api.base_url,
        version=api.version,
        connect_timeout_s=api.connect_timeout_s,
        read_timeout_s=api.read_timeout_s,
        max_body_bytes=api.max_body_bytes,
        connections=settings.harvest.concurrency,
    )
