"""A harvest as the pages see it, with a clock that stands still until the test moves it."""

from dataclasses import dataclass, field
from pathlib import Path

import anyio

from harvester.app.status import read_status
from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.planning.feasibility import Budget, Deadlines, Feasibility
from harvester.domain.tasks.outcomes import Refused
from harvester.domain.tasks.task_reports import StatusReport
from harvester.ports.insights import Insights
from harvester.service.progress import Progress
from harvester.settings.model import RateSettings, Settings
from harvester.store.sqlite.reader import SqliteReader

NOW = 1_760_000_000_000


@dataclass
class StandingClock:
    now_ms: int = NOW
    now: float = 1000.0

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic(self) -> float:
        return self.now

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        raise NotImplementedError


@dataclass
class FixedThrottle:
    limit: RateLimit = field(default_factory=lambda: RateLimit(60, 1))
    blocked: dict[Endpoint, float] = field(default_factory=dict)

    pressed: list[Deadlines] = field(default_factory=list)

    def results_budget(self, now_ms: int) -> Budget:
        per_s = self.limit.requests_per_minute / 60 or None
        return Budget(per_s, per_s, resumes_ms=now_ms + round(self.blocked_s(Endpoint.RETRIEVE) * 1000))

    def press(self, deadlines: Deadlines, now_ms: int) -> None:
        self.pressed.append([(at_ms - now_ms, count) for at_ms, count in deadlines])

    def blocked_s(self, endpoint: Endpoint) -> float:
        return self.blocked.get(endpoint, 0.0)


@dataclass
class SeenHarvest:
    database: Path = Path("harvester.db")
    clock: StandingClock = field(default_factory=StandingClock)
    throttle: FixedThrottle = field(default_factory=FixedThrottle)
    progress: Progress = field(default_factory=lambda: Progress(started=990.0))
    refusal: Refused | None = None

    @property
    def reader(self) -> SqliteReader:
        return SqliteReader(self.database)

    def read_status(self, insights: Insights, now_ms: int) -> tuple[StatusReport, Feasibility]:
        rate = RateSettings(requests_per_minute=self.throttle.limit.requests_per_minute)
        return read_status(insights, Settings(rate=rate), now_ms)

    def check_file(self) -> None:
        """Find nothing wrong."""
