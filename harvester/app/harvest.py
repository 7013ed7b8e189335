"""A harvest that is ready to run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harvester.app import configured
from harvester.app.key_check import key_refused
from harvester.app.status import read_status
from harvester.app.stores import open_reader
from harvester.domain.planning.feasibility import Feasibility
from harvester.domain.tasks.outcomes import Refused
from harvester.domain.tasks.task_reports import StatusReport
from harvester.ports.insights import Insights, StoreReader
from harvester.ports.store import HarvestStore
from harvester.service.clock import Clock
from harvester.service.continuous_discovery import keep_discovering
from harvester.service.discovery import DiscoveryParts
from harvester.service.harvest_parts import HarvestParts
from harvester.service.progress import Progress
from harvester.service.scheduler import Scheduler
from harvester.settings.model import Settings
from harvester.throttle.throttle import Throttle


@dataclass(slots=True)
class Harvest:
    """A harvest that is ready to run, and the values that displays read meanwhile."""

    store: HarvestStore
    scheduler: Scheduler
    parts: HarvestParts
    settings: Settings
    """The settings in force: those of the start, and what `reload` has changed."""

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

    @property
    def unanswered(self) -> str | None:
        """What answered at the API's address, if the harvest has ended because nothing did so like the API."""
        contact = self.parts.api_health.contact
        return contact.description() if contact.is_lost(self.clock.monotonic()) else None

    @property
    def is_elsewhere(self) -> bool:
        """Whether requests were answered or failed, and none was answered like the API."""
        return self.parts.api_health.contact.description() is not None

    def stop(self) -> None:
        """Start no new request; those under way have the grace time to finish. Safe to call twice."""
        self.parts.control.stop()

    @property
    def reader(self) -> StoreReader:
        """A reader of the store, for use during the harvest."""
        return open_reader(self.store.path)

    def read_status(self, insights: Insights, now_ms: int) -> tuple[StatusReport, Feasibility]:
        """Read the state of the queue with the forecast, as `harvester status` does. Raises StoreError."""
        return read_status(insights, self.settings, now_ms)

    def check_file(self) -> None:
        """Raise StoreError if the file at the path is not the one that the harvest writes to."""
        self.store.check_file()

    def reload(self, settings: Settings) -> None:
        """Apply those of the settings that can change while the harvest runs."""
        changed = {"concurrency": settings.harvest.concurrency}
        harvest = self.settings.harvest.model_copy(update=changed)
        self.settings = self.settings.model_copy(update={"rate": settings.rate, "harvest": harvest})
        self.throttle.limit = configured.rate_limit(settings)
        self.scheduler.set_concurrency(settings.harvest.concurrency)

    async def keep_discovering(self, settings: Callable[[], Settings]) -> None:
        """Queue new tasks of the account by the current `settings()`; a refused key stops the harvest."""
        parts = DiscoveryParts(
            api=self.parts.list_api,
            throttle=self.throttle,
            store=self.store,
            clock=self.clock,
            pause=self.parts.pause,
            key=self.parts.final_states.key,
            lists=configured.account_lists(settings()),
        )
        refusal = await keep_discovering(parts, self.progress, lambda: configured.schedule(settings()))
        self.parts.control.refuse(refusal)

    def raise_if_refused(self) -> None:
        """Raise KeyRefusedError if the API has refused the key."""
        if self.refusal is not None:
            raise key_refused(self.refusal)
