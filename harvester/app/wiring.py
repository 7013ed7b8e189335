"""Chooses the class of each part of a harvest, and connects them."""

import gc
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from harvester.api.client import Client
from harvester.app import configured
from harvester.app.harvest import Harvest
from harvester.app.stores import open_store
from harvester.domain.limits.circuit_breaker import Breaker
from harvester.domain.tasks.key_fingerprint import key_fingerprint
from harvester.ports.store import HarvestStore
from harvester.service.api_health import ApiHealth
from harvester.service.clock import CONDITION as CLOCK_CONDITION
from harvester.service.clock import ApiClock, Clock, SystemClock
from harvester.service.conditions import set_condition
from harvester.service.disk_space import DiskSpaceGuard
from harvester.service.final_states import FinalStates
from harvester.service.harvest_parts import HarvestParts
from harvester.service.list_api import ObservedListApi
from harvester.service.observer import EndStatistics, NullObserver, Observer
from harvester.service.pause_watch import CONDITION as PAUSE_CONDITION
from harvester.service.pause_watch import PauseWatch
from harvester.service.progress import Progress
from harvester.service.run_control import RunControl
from harvester.service.run_options import StopWhen
from harvester.service.scheduler import Scheduler
from harvester.service.store_retry import StoreRetry
from harvester.service.transitions import ProgressListener, TransitionLog, Transitions
from harvester.settings.model import Settings
from harvester.throttle.memory_budget import MemoryBudget
from harvester.throttle.throttle import Throttle


@asynccontextmanager
async def open_harvest(  # noqa: PLR0913  # all but the first two are named
    settings: Settings,
    key: Callable[[], str],
    *,
    until: StopWhen = StopWhen.ALL_DONE,
    only: Sequence[str] | None = None,
    grace_s: float | None = None,
    observer: Observer | None = None,
    is_guest: bool = False,
) -> AsyncIterator[Harvest]:
    """Open store and session for a harvest of all open tasks, or of those with the ids `only`. Raises StoreError.

    `is_guest`: the process is another program's, so it starts no processes and leaves the garbage collector alone.
    """
    observer, progress = observer or NullObserver(), Progress(started=SystemClock().monotonic())
    clock = ApiClock(SystemClock(), lambda text: progress.note(CLOCK_CONDITION, text))
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.store.path))
        throttle = Throttle(
            configured.rate_limit(settings),
            clock.monotonic,
            limit_store=store,
            wall_ms=clock.wall_ms,
        )
        if only is not None:
            await store.select(only, clock.wall_ms())
        client = Client(configured.client_settings(settings), key, throttle, on_api_time=clock.learn)
        await stack.enter_async_context(client)
        parts = _parts(
            settings,
            key,
            until,
            store=store,
            client=client,
            throttle=throttle,
            clock=clock,
            progress=progress,
            observer=observer,
            is_guest=is_guest,
        )
        scheduler = Scheduler(configured.run_options(settings, until, grace_s), parts)
        if not is_guest:
            # The objects that exist by now live as long as the process: a garbage collection that walks through them
            # would stop the event loop for tens of milliseconds each time.
            gc.collect()
            gc.freeze()
        yield Harvest(store, scheduler, parts, settings)


def _parts(  # noqa: PLR0913  # parts that several others share
    settings: Settings,
    key: Callable[[], str],
    until: StopWhen,
    *,
    store: HarvestStore,
    client: Client,
    throttle: Throttle,
    clock: Clock,
    progress: Progress,
    observer: Observer,
    is_guest: bool,
) -> HarvestParts:
    breaker, control = Breaker(), RunControl(progress)
    budget = MemoryBudget(settings.harvest.memory_budget_bytes)
    return HarvestParts(
        source=store,
        results=store,
        pages=store,
        task_api=client,
        list_api=ObservedListApi(client, observer, clock),
        decoder=configured.decoder(settings, key, has_workers=not is_guest),
        throttle=throttle,
        budget=budget,
        disk_space=DiskSpaceGuard(store, budget, progress, clock),
        pause=PauseWatch(store, clock, lambda text: set_condition(progress, PAUSE_CONDITION, text)),
        breaker=breaker,
        planner=configured.planner(settings, until),
        final_states=FinalStates(
            clock, progress, key=lambda: key_fingerprint(key()), asks_once=until is StopWhen.ALL_ASKED
        ),
        api_health=ApiHealth(breaker, progress, clock, control, configured.api_address(settings)),
        transitions=Transitions(ProgressListener(progress, clock), EndStatistics(observer, clock), TransitionLog()),
        progress=progress,
        observer=observer,
        clock=clock,
        retry=StoreRetry(progress, clock),
        control=control,
        new_rng=random.Random,
        retrieve_options=settings.harvest.embedding_options,
    )
