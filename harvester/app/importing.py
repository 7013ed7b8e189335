"""An import of bodies from files, without a harvest."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harvester.app.stores import open_store
from harvester.service.body_import import BodyImporter, ImportListener
from harvester.service.clock import SystemClock
from harvester.service.decode_pool import Decoder
from harvester.service.imported_bodies import ImportOptions
from harvester.settings.machine import read_limits
from harvester.settings.machine_defaults import share_of
from harvester.settings.model import Settings
from harvester.throttle.memory_budget import MemoryBudget


@asynccontextmanager
async def open_importer(
    settings: Settings, options: ImportOptions, listener: ImportListener
) -> AsyncIterator[BodyImporter]:
    """Open the store, or create it, for an import. Raises StoreError."""
    async with open_store(settings.store.path) as store:
        yield BodyImporter(
            store=store,
            decoder=Decoder(settings.api.max_body_bytes, share_of(read_limits()).workers),
            budget=MemoryBudget(settings.harvest.memory_budget_bytes),
            max_body_bytes=settings.api.max_body_bytes,
            options=options,
            listener=listener,
            wall_ms=SystemClock().wall_ms,
        )
