"""The parts of one harvest."""

from collections.abc import Callable
from dataclasses import dataclass

from harvester.domain.limits.circuit_breaker import Breaker
from harvester.domain.planning.backoff import Rng
from harvester.domain.planning.planner import Planner
from harvester.ports.api import BodyDecoder
from harvester.ports.store import ListStore, ResultStore, TaskStore
from harvester.service.api_health import ApiHealth
from harvester.service.clock import Clock
from harvester.service.disk_space import DiskSpaceGuard
from harvester.service.final_states import FinalStates
from harvester.service.list_api import ListApi
from harvester.service.observer import Observer
from harvester.service.pause_watch import PauseWatch
from harvester.service.progress import Progress
from harvester.service.run_control import RunControl
from harvester.service.store_retry import StoreRetry
from harvester.service.task_api import TaskApi
from harvester.service.transitions import Transitions
from harvester.throttle.memory_budget import MemoryBudget
from harvester.throttle.throttle import Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestParts:
    """The parts that scheduler, pipeline and list poller share; `harvester.app.wiring` chooses them.

    A test replaces the parts that it needs, see `tests/support/harvest_parts.py`.
    """

    source: TaskStore
    results: ResultStore
    pages: ListStore
    task_api: TaskApi
    list_api: ListApi
    decoder: BodyDecoder
    throttle: Throttle
    budget: MemoryBudget
    disk_space: DiskSpaceGuard
    pause: PauseWatch
    breaker: Breaker
    planner: Planner
    final_states: FinalStates
    api_health: ApiHealth
    transitions: Transitions
    progress: Progress
    observer: Observer
    clock: Clock
    retry: StoreRetry
    control: RunControl
    new_rng: Callable[[], Rng]
    """Returns random numbers for one part; they spread waits, and protect no secret."""
    retrieve_options: tuple[str, ...] = ()
    """The embedding options to ask version 1 for, of tasks without a choice of their own; empty for everything."""
