"""Requests for pages of the account's list of tasks."""

from typing import Protocol

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.tasks.outcomes import Outcome
from harvester.service.clock import Clock
from harvester.service.observer import LISTED, Observer
from harvester.throttle.throttle import Permit


class ListApi(Protocol):
    """Requests pages of the list; see `harvester.api.client.Client`."""

    async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:
        """Request one page."""
        ...


class ObservedListApi:
    """Reports each list request to an observer; a page has the outcome `listed`."""

    def __init__(self, api: ListApi, observer: Observer, clock: Clock) -> None:
        self._api = api
        self._observer = observer
        self._clock = clock

    async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:
        """Request one page."""
        started = self._clock.monotonic()
        answer = await self._api.list_tasks(query, permit)
        outcome = LISTED if isinstance(answer, ListPage) else answer.kind
        self._observer.answered(Endpoint.LIST, outcome, self._clock.monotonic() - started, 0)
        return answer
