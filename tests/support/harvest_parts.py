"""The parts of a harvest; a test passes those that it tests."""

import random
import sys
from typing import Any

from harvester.domain.limits.circuit_breaker import Breaker
from harvester.domain.limits.endpoint import RateLimit
from harvester.domain.limits.pause import Pause
from harvester.domain.planning.planner import Planner, PlannerSettings
from harvester.service.api_health import ApiHealth
from harvester.service.clock import Clock, SystemClock
from harvester.service.disk_space import DiskSpaceGuard
from harvester.service.final_states import FinalStates
from harvester.service.harvest_parts import HarvestParts
from harvester.service.observer import EndStatistics, NullObserver
from harvester.service.pause_watch import PauseWatch
from harvester.service.progress import Progress
from harvester.service.run_control import RunControl
from harvester.service.store_retry import StoreRetry
from harvester.service.transitions import ProgressListener, TransitionLog, Transitions
from harvester.throttle.memory_budget import MemoryBudget
from harvester.throttle.throttle import Throttle


class _NeverPaused:
    async def pause(self, _now_ms: int) -> Pause | None:
        return None


def never_paused(clock: Clock) -> PauseWatch:
    """Return the watch of a store without a pause."""
    return PauseWatch(_NeverPaused(), clock, lambda _text: None)


def harvest_parts(
    *, store: Any = None, api: Any = None, clock: Clock | None = None, asks_once: bool = False, **chosen: Any
) -> HarvestParts:
    """Return parts with `store` and `api` for all of their roles; `chosen` are further fields of HarvestParts."""
    clock = clock or SystemClock()
    progress = chosen.get("progress") or Progress(started=clock.monotonic())
    observer = chosen.get("observer") or NullObserver()
    budget = chosen.get("budget") or MemoryBudget(sys.maxsize)
    breaker, control = Breaker(), RunControl(progress)
    transitions = Transitions(ProgressListener(progress, clock), EndStatistics(observer, clock), TransitionLog())
    parts: dict[str, Any] = {
        "source": store,
        "results": store,
        "pages": store,
        "task_api": api,
        "list_api": api,
        "decoder": None,
        "throttle": Throttle(RateLimit(0), clock.monotonic),
        "budget": budget,
        "disk_space": DiskSpaceGuard(store, budget, progress, clock),
        "pause": never_paused(clock),
        "breaker": breaker,
        "planner": Planner(PlannerSettings(ask_every_task=asks_once)),
        "final_states": FinalStates(clock, progress, asks_once=asks_once),
        "api_health": ApiHealth(breaker, progress, clock, control),
        "transitions": transitions,
        "progress": progress,
        "observer": observer,
        "clock": clock,
        "retry": StoreRetry(progress, clock),
        "control": control,
        "new_rng": lambda: random.Random(0),
    }
    return HarvestParts(**(parts | chosen))
