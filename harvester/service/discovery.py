"""Discovery: reads the account's list of tasks page by page, and stores each page before it requests the next."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import anyio

from harvester.domain.planning.backoff import Rng, backoff_ms
from harvester.domain.planning.list_reader import ListPage, ListQuery, ListReader
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import NotFound, Outcome, Refused, Throttled
from harvester.domain.tasks.task import ApiVersion
from harvester.ports.log import get_logger
from harvester.ports.store import ListStore
from harvester.service.account_lists import AccountLists, ListedBefore
from harvester.service.clock import OFF_S, SAMPLES, ApiClock, Clock
from harvester.service.discovery_report import DiscoveryReport
from harvester.service.list_api import ListApi
from harvester.service.list_permit import list_permit
from harvester.service.list_settlement import Queued, queue_page
from harvester.service.pause_watch import PauseWatch
from harvester.throttle.throttle import Throttle

TRIES = 6
"""Requests for one page that may fail in a row before the pass over the list ends; the next pass tries again."""

log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryParts:
    """The parts of a discovery. `key` returns the fingerprint of the API key in use; `rng` spreads waits.

    `lists` remembers from one pass to the next which lists must be read.
    """

    api: ListApi
    throttle: Throttle
    store: ListStore
    clock: Clock
    pause: PauseWatch
    rng: Rng = field(default_factory=random.Random)
    key: Callable[[], str | None] = lambda: None
    lists: AccountLists = field(default_factory=lambda: AccountLists(("v1",)))


async def discover(parts: DiscoveryParts, since_ms: int) -> DiscoveryReport:
    """Queue all tasks that were created since `since_ms` (Unix milliseconds) and are not known yet.

    Reads the lists of both API versions, unless the first page of the second shows the same tasks as the first list.
    Waits for permits of the rate limit. Raises StoreError.
    """
    reading = _Pass(parts, since_ms)
    to_read = parts.lists.to_read
    for number, version in enumerate(to_read, start=1):
        if not await reading.read(version, is_last=number == len(to_read)):
            break
    return reading.report


class _Pass:
    """One pass over the lists; each task is queued once."""

    def __init__(self, parts: DiscoveryParts, since_ms: int) -> None:
        self._parts = parts
        self._since_ms = since_ms
        self._began_ms = parts.clock.wall_ms()
        self._listed: dict[str, int | None] = {}
        self._is_any_read = False
        self.report = DiscoveryReport()

    async def read(self, version: ApiVersion, *, is_last: bool) -> bool:
        """Read the list of that version; return whether the pass goes on with the next one."""
        reader, failures = ListReader(self._since_ms, version), 0
        before = self._listed_before() if self._is_any_read else None
        while reader.query is not None:
            is_first_page = reader.query.page == 1 and reader.query.ended_at_ms is None
            answer, key = await self._ask(reader.query)
            if isinstance(answer, ListPage):
                failures = 0
                is_same = before is not None and is_first_page and before.agrees_with(answer)
                self._parts.lists.are_same |= is_same
                await self._queue(reader.take(answer), answer, None if is_same else before, version, key)
                if is_same:
                    return False
            elif isinstance(answer, Refused) and (answer.is_key_invalid or (is_last and not self._is_any_read)):
                self.report.refusal = answer
                return False
            elif isinstance(answer, Refused) or (isinstance(answer, NotFound) and not (is_last and before is None)):
                log.info("a list of tasks is not available", version=version, reason=answer.message)
                return True
            elif not isinstance(answer, Throttled):
                failures += 1
                if not await self._may_try_again(answer, failures):
                    return False
        self._is_any_read = True
        self.report.problem = self.report.problem or reader.problem
        return True

    async def _ask(self, query: ListQuery) -> tuple[ListPage | Outcome, str | None]:
        """Return the answer, and the fingerprint of the key that the request was sent with."""
        parts = self._parts
        permit = await list_permit(parts.throttle, parts.clock, parts.pause)
        key = parts.key()
        self.report.requests += 1
        return await parts.api.list_tasks(query, permit), key

    async def _queue(
        self,
        entries: Sequence[ListedTask],
        page: ListPage,
        before: ListedBefore | None,
        version: ApiVersion,
        key: str | None,
    ) -> None:
        """Queue the entries that no other list has shown."""
        new = [entry for entry in entries if entry.task_id not in self._listed]
        if before is not None:
            # The other list, read to its end, does not show them.
            new = [_made_in(version, entry) if before.is_settled(entry.created_at_ms) else entry for entry in new]
        parts, report = self._parts, self.report
        report.invalid += page.count - len(page.tasks)
        report.queued.add(await queue_page(parts.store, new, parts.clock.wall_ms(), parts.rng, key=key))
        self._listed |= {entry.task_id: entry.created_at_ms for entry in new}
        dates = [task.created_at_ms for task in page.tasks if task.created_at_ms is not None]
        report.newest_ms = max([*dates, *([] if report.newest_ms is None else [report.newest_ms])], default=None)

    def _listed_before(self) -> ListedBefore:
        return ListedBefore(dict(self._listed), self._since_ms, self._began_ms)

    async def _may_try_again(self, answer: Outcome, failures: int) -> bool:
        """Wait before the next try; return False after the last one."""
        message = answer.kind if answer.message is None else answer.message
        if failures == TRIES:
            self.report.problem = f"The list of tasks could not be read: {message.rstrip('.')}."
            return False
        log.info("the list could not be read, will be tried again", reason=message)
        await self._parts.clock.wait(anyio.Event(), backoff_ms(failures, self._parts.rng) / 1000)
        return True


def _made_in(version: ApiVersion, entry: ListedTask) -> ListedTask:
    return replace(entry, version=entry.version or version)


async def discover_lately(
    parts: DiscoveryParts, clock: ApiClock, *, lately_ms: int, is_dry: bool = False
) -> DiscoveryReport:
    """Queue the tasks that were created in the last `lately_ms` (milliseconds); see `discover`.

    A clock that is ahead would hide the oldest of them: once the API's time shows that, after a few requests, another
    pass goes farther back. `is_dry`: the store only compares, so each pass finds the same new tasks again.
    """
    report = DiscoveryReport()
    for _ in range(SAMPLES):
        since_ms = clock.wall_ms() - lately_ms
        wider = await discover(parts, since_ms)
        if is_dry:
            report.queued = Queued()
        report.add_wider(wider)
        is_farther = clock.wall_ms() - lately_ms < since_ms - OFF_S * 1000
        if not wider.is_complete or not (is_farther or clock.suspected_ahead_s() > OFF_S):
            break
    return report
