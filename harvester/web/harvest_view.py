"""The view of a running harvest that the pages need, and their reader of its database."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
from anyio import to_thread

from harvester.domain.errors import StoreError
from harvester.domain.limits.endpoint import POLL_ENDPOINTS, Endpoint, RateLimit
from harvester.domain.planning.feasibility import Feasibility
from harvester.domain.tasks.outcomes import Refused
from harvester.domain.tasks.task_reports import StatusReport
from harvester.ports.insights import Insights, StoreReader
from harvester.service.clock import Clock
from harvester.service.progress import Progress

T = TypeVar("T")


class ThrottleView(Protocol):
    """The rate limit in force; see `harvester.throttle.throttle.Throttle`."""

    @property
    def limit(self) -> RateLimit:
        """The configured ceiling."""
        ...

    def blocked_s(self, endpoint: Endpoint) -> float:
        """Return for how many seconds the API accepts no requests to that endpoint; 0 if it accepts them."""
        ...


class HarvestView(Protocol):
    """A running harvest; see `harvester.app.harvest.Harvest`."""

    @property
    def progress(self) -> Progress:
        """The progress of the harvest, at any moment."""
        ...

    @property
    def throttle(self) -> ThrottleView:
        """The rate limit in force."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock of the harvest."""
        ...

    @property
    def refusal(self) -> Refused | None:
        """The API's refusal of the key; None without one."""
        ...

    @property
    def database(self) -> Path:
        """The file of the database."""
        ...

    @property
    def reader(self) -> StoreReader:
        """A reader of the store, for use during the harvest."""
        ...

    def read_status(self, insights: Insights, now_ms: int) -> tuple[StatusReport, Feasibility]:
        """Read the state of the queue, and the forecast that `plan` shows as well. Raises StoreError."""
        ...

    def check_file(self) -> None:
        """Raise StoreError if the file at the path is not the one that the harvest has opened."""
        ...


class DatabaseReader:
    """Reads the store in a thread: no page ever keeps the writer waiting.

    One page at a time, however often it is asked for.
    `check` raises StoreError where the path leads to another file by now:
    no page answers from that one.
    """

    def __init__(self, reader: StoreReader, check: Callable[[], None] = lambda: None) -> None:
        self._reader = reader
        self._check = check
        self._turns = anyio.CapacityLimiter(1)
        self._probes = anyio.CapacityLimiter(1)

    async def read(self, body: Callable[[Insights], T]) -> T:
        """Return what `body` reads. Raises StoreError."""

        def in_thread() -> T:
            self._check()
            with self._reader.insights() as insights:
                return body(insights)

        return await to_thread.run_sync(in_thread, limiter=self._turns)

    async def why_not_writable(self) -> str | None:
        """Return why the database cannot be written now, None if it can."""

        def in_thread() -> str | None:
            try:
                self._check()
            except StoreError as error:
                return error.sentence
            return self._reader.why_not_writable()

        return await to_thread.run_sync(in_thread, limiter=self._probes)


def blocked_until_ms(view: HarvestView) -> dict[Endpoint, int | None]:
    """Return until when the API accepts no requests to each endpoint, in Unix milliseconds; None if it accepts them."""
    now_ms = view.clock.wall_ms()
    blocked = {endpoint: view.throttle.blocked_s(endpoint) for endpoint in POLL_ENDPOINTS}
    return {endpoint: now_ms + round(seconds * 1000) if seconds > 0 else None for endpoint, seconds in blocked.items()}
