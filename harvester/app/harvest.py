"""The one place that chooses and wires concrete classes."""

import gc
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from harvester.api.client import Client, ClientSettings
from harvester.api.redaction import SecretGuard
from harvester.app.stores import open_discovery_store, open_reader, open_store
from harvester.domain.errors import KeyRefusedError
from harvester.domain.limits.circuit_breaker import Breaker
from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.planning.planner import Planner, PlannerSettings
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.key_fingerprint import key_fingerprint
from harvester.domain.tasks.outcomes import Outcome, Refused
from harvester.domain.tasks.task import DAY_MS
from harvester.ports.insights import StoreReader
from harvester.ports.store import HarvestStore
from harvester.service.api_health import ApiHealth
from harvester.service.clock import CONDITION as CLOCK_CONDITION
from harvester.service.clock import ApiClock, Clock, SystemClock
from harvester.service.continuous_discovery import keep_discovering
from harvester.service.decode_pool import Decoder
from harvester.service.discovery import discover_lately
from harvester.service.discovery_range import Schedule
from harvester.service.discovery_report import DiscoveryReport
from harvester.service.disk_space import DiskSpaceGuard
from harvester.service.final_states import FinalStates
from harvester.service.guarded_decoder import GuardedDecoder
from harvester.service.harvest_parts import HarvestParts
from harvester.service.list_api import ObservedListApi
from harvester.service.observer import EndStatistics, NullObserver, Observer
from harvester.service.progress import Progress
from harvester.service.run_control import RunControl
from harvester.service.run_options import RunOptions, StopWhen
from harvester.service.scheduler import Scheduler
from harvester.service.store_retry import StoreRetry
from harvester.service.transitions import ProgressListener, TransitionLog, Transitions
from harvester.settings.ca_certificates import trusted
from harvester.settings.machine import read_limits
from harvester.settings.machine_defaults import share_of
from harvester.settings.model import Settings
from harvester.settings.proxies import proxy_for
from harvester.throttle.memory_budget import MemoryBudget
from harvester.throttle.throttle import Throttle


@dataclass(frozen=True, slots=True)
class Harvest:
    """A harvest that is ready to run, and the values that displays read meanwhile."""

    store: HarvestStore
    scheduler: Scheduler
    parts: HarvestParts

    @property
    def database(self) -> Path:
        """The file that embeddings are stored in."""
        return self.store.path

    @property
    def progress(self) -> Progress:
        """The state of the harvest at any moment."""
        return self.parts.progress

    @property
    def throttle(self) -> Throttle:
        """The rate limit in force."""
        return self.parts.throttle

    @property
    def clock(self) -> Clock:
        """The clock of the harvest."""
        return self.parts.clock

    @property
    def refusal(self) -> Refused | None:
        """The answer by which the API refused the key; None before that."""
        return self.parts.control.refusal

    def stop(self) -> None:
        """Start no new request; those under way have the grace time to finish. Safe to call twice."""
        self.parts.control.stop()

    @property
    def reader(self) -> StoreReader:
        """A reader of the store, for use during the harvest."""
        return open_reader(self.store.path)

    def check_file(self) -> None:
        """Raise StoreError if the file at the path is not the one that the harvest writes to."""
        self.store.check_file()

    def reload(self, settings: Settings) -> None:
        """Apply those of the settings that can change while the harvest runs."""
        self.throttle.limit = _rate_limit(settings)
        self.scheduler.set_concurrency(settings.harvest.concurrency)

    async def keep_discovering(self, settings: Callable[[], Settings]) -> None:
        """Queue new tasks of the account by the current `settings()`; a refused key stops the harvest."""
        refusal = await keep_discovering(
            api=self.parts.list_api,
            throttle=self.throttle,
            store=self.store,
            clock=self.clock,
            progress=self.progress,
            schedule=lambda: _schedule(settings()),
            key=self.parts.final_states.key,
        )
        self.parts.control.refuse(refusal)

    def raise_if_refused(self) -> None:
        """Raise KeyRefusedError if the API has refused the key."""
        if self.refusal is not None:
            raise key_refused(self.refusal)


def key_refused(refusal: Refused) -> KeyRefusedError:
    """Return the error for an answer that refuses the key."""
    return KeyRefusedError(
        f"The API refuses the key: {refusal.message.rstrip('.')} ({refusal.code}).",
        remedy="Check TWELVELABS_API_KEY or api.key_file. No task was changed by this.",
    )


@asynccontextmanager
async def open_harvest(  # noqa: PLR0913  # all but the first two are named
    settings: Settings,
    key: Callable[[], str],
    *,
    until: StopWhen = StopWhen.ALL_DONE,
    only: Sequence[str] | None = None,
    grace_s: float | None = None,
    observer: Observer | None = None,
) -> AsyncIterator[Harvest]:
    """Open store and session for a harvest of all open tasks, or of those with the ids `only`. Raises StoreError."""
    observer, progress = observer or NullObserver(), Progress(started=SystemClock().monotonic())
    clock = ApiClock(SystemClock(), lambda text: progress.note(CLOCK_CONDITION, text))
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.store.path))
        throttle = Throttle(
            _rate_limit(settings),
            clock.monotonic,
            limit_store=store,
            wall_ms=clock.wall_ms,
            has_status_call=_has_status_call(settings),
        )
        if only is not None:
            await store.select(only, clock.wall_ms())
        client = await stack.enter_async_context(
            Client(_client_settings(settings), key, throttle, on_api_time=clock.learn)
        )
        breaker, control = Breaker(), RunControl(progress)
        budget = MemoryBudget(settings.harvest.memory_budget_bytes)
        transitions = Transitions(ProgressListener(progress, clock), EndStatistics(observer, clock), TransitionLog())
        parts = HarvestParts(
            source=store,
            results=store,
            pages=store,
            task_api=client,
            list_api=ObservedListApi(client, observer, clock),
            decoder=_decoder(settings, key),
            throttle=throttle,
            budget=budget,
            disk_space=DiskSpaceGuard(store, budget, progress, clock),
            breaker=breaker,
            planner=_planner(settings, until),
            final_states=FinalStates(
                clock, progress, key=lambda: key_fingerprint(key()), asks_once=until is StopWhen.ALL_ASKED
            ),
            api_health=ApiHealth(breaker, progress, clock, control),
            transitions=transitions,
            progress=progress,
            observer=observer,
            clock=clock,
            retry=StoreRetry(progress, clock),
            control=control,
            new_rng=random.Random,
        )
        scheduler = Scheduler(_run_options(settings, until, grace_s), parts)
        # The objects that exist by now live as long as the process: a garbage collection that walks through them would
        # stop the event loop for tens of milliseconds each time.
        gc.collect()
        gc.freeze()
        yield Harvest(store, scheduler, parts)


async def discover_once(
    settings: Settings, key: Callable[[], str], *, since_s: float, dry_run: bool = False
) -> DiscoveryReport:
    """Queue the account's tasks of the last `since_s` seconds. A dry run only compares. Raises StoreError."""
    clock = ApiClock(SystemClock())
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_discovery_store(settings.store.path, dry_run=dry_run))
        throttle = Throttle(_rate_limit(settings), clock.monotonic, limit_store=store, wall_ms=clock.wall_ms)
        client = Client(_client_settings(settings), key, throttle, on_api_time=clock.learn)
        return await discover_lately(
            api=await stack.enter_async_context(client),
            throttle=throttle,
            store=store,
            clock=clock,
            key=lambda: key_fingerprint(key()),
            lately_ms=round(since_s * 1000),
            is_dry=dry_run,
        )


async def ask_once(settings: Settings, key: Callable[[], str]) -> tuple[ListPage | Outcome, float | None]:
    """Request a list of one task outside every budget; return the answer and the skew of this machine's clock (s)."""
    clock = SystemClock()
    throttle = Throttle(RateLimit(0), clock.monotonic)
    async with Client(_client_settings(settings), key, throttle) as client:
        query = ListQuery(started_at_ms=clock.wall_ms() - DAY_MS, page_limit=1)
        answer = await client.list_tasks(query, throttle.take(Endpoint.LIST))
        return answer, client.clock_skew_s


def _decoder(settings: Settings, key: Callable[[], str]) -> GuardedDecoder:
    decoder = Decoder(settings.api.max_body_bytes, share_of(read_limits()).workers)
    return GuardedDecoder(decoder, SecretGuard(key), settings.api.max_body_bytes)


def _planner(settings: Settings, until: StopWhen) -> Planner:
    return Planner(
        PlannerSettings(
            strategy=Strategy(settings.harvest.strategy),
            versions=ApiVersions(settings.api.version),
            ask_every_task=until is StopWhen.ALL_ASKED,
        )
    )


def _run_options(settings: Settings, until: StopWhen, grace_s: float | None) -> RunOptions:
    return RunOptions(
        concurrency=settings.harvest.concurrency,
        lease_s=settings.harvest.lease_s,
        grace_s=settings.harvest.grace_s if grace_s is None else grace_s,
        until=until,
    )


def _has_status_call(settings: Settings) -> bool:
    return settings.api.version == "v1"


def _schedule(settings: Settings) -> Schedule | None:
    wanted = settings.discovery
    return Schedule(wanted.every_s, round(wanted.since_days * DAY_MS)) if wanted.enabled else None


def _rate_limit(settings: Settings) -> RateLimit:
    return RateLimit(settings.rate.requests_per_minute, settings.rate.burst)


def _client_settings(settings: Settings) -> ClientSettings:
    api = settings.api
    # A URL without TLS is on this machine, and needs no certificate authorities.
    tls = trusted(os.environ).context if api.base_url.startswith("https:") else None
    return ClientSettings(
        base_url=api.base_url,
        version=api.version,
        connect_timeout_s=api.connect_timeout_s,
        read_timeout_s=api.read_timeout_s,
        max_body_bytes=api.max_body_bytes,
        proxy=proxy_for(api.base_url, os.environ),
        tls=tls,
    )
