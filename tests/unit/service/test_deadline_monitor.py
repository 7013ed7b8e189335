from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from harvester.domain.errors import StoreBusyError
from harvester.domain.limits.endpoint import RateLimit
from harvester.domain.tasks.task import DAY_MS
from harvester.service.deadline_monitor import CHECK_EVERY_S, CONDITION, DeadlineMonitor
from harvester.service.progress import Progress
from tests.support.web_builders import NOW, FixedThrottle, StandingClock


@dataclass
class Deadlines:
    stored: list[tuple[int, int]]
    asked: int = 0
    problem: Exception | None = None

    async def deadlines(self, now_ms: int) -> list[tuple[int, int]]:
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        return [(at_ms, count) for at_ms, count in self.stored if at_ms > now_ms]


@dataclass
class Bench:
    source: Deadlines = field(default_factory=lambda: Deadlines([(NOW + DAY_MS, 100)]))
    throttle: FixedThrottle = field(default_factory=FixedThrottle)
    clock: StandingClock = field(default_factory=StandingClock)
    progress: Progress = field(default_factory=lambda: Progress(started=0.0))

    def __post_init__(self) -> None:
        self.monitor = DeadlineMonitor(self.source, self.throttle, self.progress, self.clock)

    async def check_a_minute_later(self) -> list[str]:
        """Return what was logged."""
        self.clock.now += CHECK_EVERY_S
        with capture_logs() as logs:
            await self.monitor.check()
        return [f"{entry['log_level']}: {entry['event']}" for entry in logs]


async def test_a_budget_that_suffices_is_no_condition() -> None:
    bench = Bench()

    logs = await bench.check_a_minute_later()

    assert (logs, bench.progress.conditions) == ([], {})
    assert bench.progress.feasibility is not None
    assert bench.progress.feasibility.at_risk == 0


async def test_it_is_logged_once_when_it_begins_and_once_when_it_is_over() -> None:
    bench = Bench()
    bench.throttle.limit = RateLimit(50 / 1440)

    begins = await bench.check_a_minute_later()
    goes_on = await bench.check_a_minute_later()
    condition = bench.progress.conditions[CONDITION]
    bench.throttle.limit = RateLimit(60)
    ends = await bench.check_a_minute_later()

    assert (begins, goes_on, ends) == (["warning: tasks will expire"], [], ["info: no task is at risk any more"])
    assert condition.startswith("At 50 requests a day about ")
    assert bench.progress.conditions == {}


async def test_the_condition_keeps_up_with_the_figures() -> None:
    bench = Bench()
    bench.throttle.limit = RateLimit(50 / 1440)
    await bench.check_a_minute_later()
    bench.source.stored = [(NOW + DAY_MS, 900)]
    await bench.check_a_minute_later()

    assert "of these 900 tasks" in bench.progress.conditions[CONDITION]


async def test_the_database_is_asked_once_a_minute() -> None:
    bench = Bench()
    for _ in range(13):
        await bench.monitor.check()
        bench.clock.now += 5.0

    assert bench.source.asked == 2


async def test_a_check_that_failed_is_repeated_at_once() -> None:
    bench = Bench()
    bench.source.problem = StoreBusyError("The database is locked.", reason="database is locked")
    with pytest.raises(StoreBusyError):
        await bench.monitor.check()
    bench.source.problem = None
    await bench.monitor.check()

    assert bench.source.asked == 2


async def test_the_throttle_hears_of_the_deadlines() -> None:
    bench = Bench()

    await bench.check_a_minute_later()

    assert bench.throttle.pressed == [[(DAY_MS, 100)]]
