"""One harvest from the first submission to the last end, on virtual time."""

import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import anyio

from bench.virtual.api import LATENCY_S, ModelApi, Quirks, Submission, Trouble
from bench.virtual.loop import START_MS, VirtualClock, run_virtually
from bench.virtual.store import InlineStore
from harvester.domain.limits.circuit_breaker import Breaker
from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.planner import Planner, PlannerSettings
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import OPEN_STATES, ApiVersion, TaskState
from harvester.service.api_health import ApiHealth
from harvester.service.decode_pool import Decoder
from harvester.service.disk_space import DiskSpaceGuard
from harvester.service.final_states import FinalStates
from harvester.service.harvest_parts import HarvestParts
from harvester.service.observer import NullObserver
from harvester.service.pause_watch import PauseWatch
from harvester.service.progress import Progress
from harvester.service.run_control import RunControl
from harvester.service.run_options import RunOptions, StopWhen
from harvester.service.scheduler import Scheduler
from harvester.service.store_retry import StoreRetry
from harvester.service.transitions import ProgressListener, Transitions
from harvester.simulator.limits import RateLimiter
from harvester.simulator.settings import SimulatorSettings
from harvester.store.sqlite.pausing import begin_pause
from harvester.throttle.memory_budget import MemoryBudget
from harvester.throttle.throttle import Throttle

CHECK_FOR_THE_END_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How to harvest, how the API behaves, and after how many virtual seconds to stop in any case.

    With `recheck_s` the scheduler checks for changes only that often, for runs of many days in which nothing is
    queued. The harvesting machine's clock is wrong by `clock_ahead_s`. Each of the `processes` on
    one database begins anew every `restart_every_s`; with `asks_once` they end once each task has been asked about.
    All requests are paused from the first to the second of `paused_s`.
    Tasks of `only_in` are known to that API version alone; new tasks are asked in `first_version`.
    """

    requests_per_minute: float = 60.0
    burst: int = 1
    concurrency: int = 8
    strategy: str = "auto"
    recheck_s: float | None = None
    latency_s: float = LATENCY_S
    list_lag_s: float = 0.0
    error_ratio: float = 0.0
    server_limits: SimulatorSettings = field(default_factory=SimulatorSettings)
    quirks: Quirks = field(default_factory=Quirks)
    trouble: Trouble | None = None
    only_in: Mapping[str, ApiVersion] = field(default_factory=dict)
    first_version: ApiVersion = "v1"
    clock_ahead_s: float = 0.0
    processes: int = 1
    restart_every_s: float | None = None
    asks_once: bool = False
    lease_s: float = 60.0
    stop_after_s: float = 8 * 86_400.0
    paused_s: tuple[float, float] | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The result for our tasks. `stored_at_ms` and the times are Unix milliseconds."""

    counts: dict[TaskState, int]
    requests: Counter[Endpoint]
    refused: Counter[Endpoint]
    retrieved: Counter[str]
    ready_at_ms: dict[str, int]
    stored_at_ms: dict[str, int]
    without_model: int
    """How many stored results have no model."""
    is_over: bool
    """Whether every process, or every task, ended by itself before the time was over."""

    @property
    def harvested(self) -> int:
        return len(self.stored_at_ms)

    @property
    def makespan_s(self) -> float:
        """Seconds from the start to the last stored task."""
        return (max(self.stored_at_ms.values(), default=START_MS) - START_MS) / 1000

    @property
    def ready_to_stored_s(self) -> list[float]:
        """The seconds for which the result of each stored task was ready and the task queued before, ascending."""
        return sorted((at_ms - self.ready_at_ms[task_id]) / 1000 for task_id, at_ms in self.stored_at_ms.items())


def run_harvest(submissions: Sequence[Submission], setup: Setup) -> Report:
    """Harvest our submissions, and return the result."""
    return run_virtually(_Run(submissions, setup).run())


class _Settlements:
    """Passes results on to the store, and records when each task was stored, by the API's clock."""

    def __init__(self, store: InlineStore, clock: VirtualClock) -> None:
        self.stored_at_ms: dict[str, int] = {}
        self._store = store
        self._clock = clock

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        accepted = await self._store.settle(settlements)
        for one, is_accepted in zip(settlements, accepted, strict=True):
            if is_accepted and one.decision.state is TaskState.HARVESTED:
                self.stored_at_ms[one.task.task_id] = self._clock.wall_ms()
        return accepted

    async def is_queued(self, task_id: str) -> bool:
        return await self._store.is_queued(task_id)


class _Run:
    def __init__(self, submissions: Sequence[Submission], setup: Setup) -> None:
        self.setup = setup
        self.clock, self.api_clock = VirtualClock(ahead_s=setup.clock_ahead_s), VirtualClock()
        self.tasks = [submission.task for submission in submissions if submission.exists]
        self.ours = sorted(
            (submission.queued_at_ms, submission.task.task_id)
            for submission in submissions
            if submission.queued_at_ms is not None
        )
        self.limiter = RateLimiter(setup.server_limits)
        self.apis: list[ModelApi] = []
        self.running: dict[int, Scheduler] = {}
        self.is_over = False

    async def run(self) -> Report:
        async with InlineStore() as store:
            settlements = _Settlements(store, self.api_clock)
            async with anyio.create_task_group() as group:
                group.start_soon(self._stop_at_the_end, store, name="watch")
                if self.setup.paused_s is not None:
                    group.start_soon(self._pause, store, *self.setup.paused_s, name="pause")
                if self.setup.asks_once:
                    await self._submit(store)
                else:
                    group.start_soon(self._submit, store, name="submit")
                async with anyio.create_task_group() as processes:
                    for number in range(self.setup.processes):
                        processes.start_soon(self._live, number, store, settlements, name=f"process {number}")
                is_over = self.is_over or self.clock.monotonic() < self.setup.stop_after_s
                group.cancel_scope.cancel()
            queued = {task_id: at_ms for at_ms, task_id in self.ours}
            ready = {task.task_id: max(task.finished_at_ms, queued.get(task.task_id, 0)) for task in self.tasks}
            counts, gaps = await store.counts(), await store.model_gaps()
        requests, refused, retrieved = Counter[Endpoint](), Counter[Endpoint](), Counter[str]()
        for api in self.apis:
            requests += api.requests
            refused += api.refused
            retrieved += api.retrieved
        return Report(counts, requests, refused, retrieved, ready, settlements.stored_at_ms, gaps.results, is_over)

    async def _live(self, number: int, store: InlineStore, settlements: _Settlements) -> None:
        """Run one process, again and again if it is to be restarted."""
        every_s = self.setup.restart_every_s
        while not self.is_over and self.clock.monotonic() < self.setup.stop_after_s:
            scheduler = self.running[number] = self._scheduler(store, settlements, seed=self.setup.seed + number)
            async with anyio.create_task_group() as group:
                if every_s is not None:
                    group.start_soon(_stop_later, scheduler, every_s)
                await scheduler.run()
                group.cancel_scope.cancel()
            if every_s is None:
                return

    def _scheduler(self, store: InlineStore, settlements: _Settlements, *, seed: int) -> Scheduler:
        setup, clock = self.setup, self.clock
        limit = RateLimit(setup.requests_per_minute, setup.burst)
        throttle = Throttle(limit, clock.monotonic, limit_store=store, wall_ms=clock.wall_ms)
        api = ModelApi(
            self.tasks,
            self.api_clock,
            throttle,
            latency_s=setup.latency_s,
            list_lag_s=setup.list_lag_s,
            limiter=self.limiter,
            error_ratio=setup.error_ratio,
            quirks=setup.quirks,
            trouble=setup.trouble,
            only_in=setup.only_in,
            seed=seed,
        )
        self.apis.append(api)
        planner_settings = PlannerSettings(
            strategy=Strategy(setup.strategy),
            versions=ApiVersions(setup.first_version),
            ask_every_task=setup.asks_once,
        )
        breaker, progress = Breaker(), Progress(started=clock.monotonic())
        control, budget = RunControl(progress), MemoryBudget(sys.maxsize)
        parts = HarvestParts(
            source=store,
            results=settlements,
            pages=store,
            task_api=api,
            list_api=api,
            decoder=Decoder(max_body_bytes=1024 * 1024, workers=1),
            throttle=throttle,
            budget=budget,
            disk_space=DiskSpaceGuard(store, budget, progress, clock),
            pause=PauseWatch(store, clock, lambda _text: None),
            breaker=breaker,
            planner=Planner(planner_settings),
            final_states=FinalStates(clock, progress, asks_once=setup.asks_once),
            api_health=ApiHealth(breaker, progress, clock, control),
            transitions=Transitions(ProgressListener(progress, clock)),
            progress=progress,
            observer=NullObserver(),
            clock=clock,
            retry=StoreRetry(progress, clock),
            control=control,
            new_rng=lambda: random.Random(seed),  # noqa: S311
        )
        until = StopWhen.ALL_ASKED if setup.asks_once else StopWhen.SIGNALLED
        options = RunOptions(concurrency=setup.concurrency, until=until, lease_s=setup.lease_s)
        if setup.recheck_s is not None:
            options = replace(options, recheck_s=setup.recheck_s, housekeeping_s=setup.recheck_s)
        return Scheduler(options, parts)

    async def _submit(self, store: InlineStore) -> None:
        for at_ms, queued in groupby(self.ours, key=lambda pair: pair[0]):
            await anyio.sleep(max(0, at_ms - self.api_clock.wall_ms()) / 1000)
            # The column's own default is the real time.
            rows = [(task_id, at_ms + self.clock.ahead_ms) for _, task_id in queued]
            await store.transact(lambda connection: _insert(connection, rows))  # noqa: B023  # awaited here

    async def _pause(self, store: InlineStore, from_s: float, until_s: float) -> None:
        await anyio.sleep(from_s)
        now_ms = self.clock.wall_ms()
        until_ms = now_ms + round((until_s - from_s) * 1000)
        await store.transact(lambda connection: begin_pause(connection, now_ms, until_ms))

    async def _stop_at_the_end(self, store: InlineStore) -> None:
        while self.clock.monotonic() < self.setup.stop_after_s:
            await anyio.sleep(CHECK_FOR_THE_END_S)
            counts, gaps = await store.counts(), await store.model_gaps()
            is_done = sum(counts.values()) == len(self.ours) and not any(counts[state] for state in OPEN_STATES)
            # The list is not asked again soon for models that it did not name.
            if is_done and gaps.results == gaps.asked:
                self.is_over = True
                break
        for scheduler in self.running.values():
            scheduler.control.stop()


async def _stop_later(scheduler: Scheduler, after_s: float) -> None:
    await anyio.sleep(after_s)
    scheduler.control.stop()


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[str, int]]) -> None:
    connection.executemany("INSERT INTO tasks(task_id, added_at) VALUES (?, ?)", rows)
