"""The view of a running harvest that the pages need, and their reader of its database."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
from anyio import to_thread

from harvester.domain.errors import StoreError
from harvester.domain.limits.endpoint import POLL_ENDPOINTS, Endpoint, RateLimit
from harvester.domain.planning.feasibility import Budget
from harvester.domain.tasks.outcomes import Refused
from harvester.service.clock import Clock
from harvester.service.progress import Progress
from harvester.store.sqlite.connection import Connection, open_for_reading, translating_errors
from harvester.store.sqlite.maintenance.probe import why_not_writable

T = TypeVar("T")


class ThrottleView(Protocol):
    """The rate limit in force; see `harvester.throttle.throttle.Throttle`."""

    @property
    def limit(self) -> RateLimit:
        """The configured ceiling."""
        ...

    def results_budget(self, now_ms: int) -> Budget:
        """Return the budget for results from now on."""
        ...

    def blocked_s(self, endpoint: Endpoint) -> float:
        """Return for how many seconds the API accepts no requests of that class; 0 if it accepts them."""
        ...


class HarvestView(Protocol):
    """A running harvest; see `harvester.app.Harvest`."""

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

    def check_file(self) -> None:
        """Raise StoreError if the file at the path is not the one that the harvest has opened."""
        ...


class DatabaseReader:
    """Reads the database in a thread, on connections of its own: no page ever keeps the writer waiting.

    One page at a time, however often it is asked for.
    `check` raises StoreError where the path leads to another file by now:
    no page answers from that one.
    """

    def __init__(self, path: Path, check: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self._check = check
        self._turns = anyio.CapacityLimiter(1)
        self._probes = anyio.CapacityLimiter(1)

    async def read(self, body: Callable[[Connection], T]) -> T:
        """Return what `body` reads. Raises StoreError."""

        def in_thread() -> T:
            self._check()
            with translating_errors(self.path), closing(open_for_reading(self.path)) as connection:
                return body(connection)

        return await to_thread.run_sync(in_thread, limiter=self._turns)

    async def why_not_writable(self) -> str | None:
        """Return why the database cannot be written now, None if it can."""

        def in_thread() -> str | None:
            try:
                self._check()
            except StoreError as error:
                return error.sentence
            return why_not_writable(self.path)

        return await to_thread.run_sync(in_thread, limiter=self._probes)


def blocked_until_ms(view: HarvestView) -> dict[Endpoint, int | None]:
    """Return until when the API accepts no requests of each class, in Unix milliseconds; None if it accepts them."""
    now_ms = view.clock.wall_ms()
    blocked = {endpoint: view.throttle.blocked_s(endpoint) for endpoint in POLL_ENDPOINTS}
    return {endpoint: now_ms + round(seconds * 1000) if seconds > 0 else None for endpoint, seconds in blocked.items()}
