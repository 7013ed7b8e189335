"""Polls the list: requests one page, which answers for many tasks."""

from dataclasses import dataclass

import anyio

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.list_reader import ListPage
from harvester.domain.planning.planned_requests import ListRequest
from harvester.domain.tasks.listing import ListedChange
from harvester.domain.tasks.outcomes import NotFound, Outcome, Refused, Throttled, Transient
from harvester.domain.tasks.records import Attempt
from harvester.domain.tasks.task import Task, TaskState
from harvester.ports.log import get_logger
from harvester.service.harvest_parts import HarvestParts
from harvester.service.list_settlement import settle_page
from harvester.throttle.throttle import Permit

log = get_logger()


@dataclass(frozen=True, slots=True)
class Polled:
    """An answer of the list, and how many stored results it named the models of."""

    answer: ListPage | Outcome
    named: int = 0


class ListPoller:
    """Requests a page, settles its entries, and passes the changes on to planner and displays."""

    def __init__(self, parts: HarvestParts) -> None:
        self._api = parts.list_api
        self._store = parts.pages
        self._planner = parts.planner
        self._final_states = parts.final_states
        self._retry = parts.retry
        self._breaker = parts.breaker
        self._clock = parts.clock
        self._control = parts.control
        self._api_health = parts.api_health
        self._transitions = parts.transitions
        self._rng = parts.new_rng()

    async def poll(self, request: ListRequest, permit: Permit) -> Polled:
        """Request the page of `request`; whatever the answer is, its tasks are no longer claimed afterwards.

        The page also names the models of stored results without one.
        """
        started, asked_at_ms = self._clock.monotonic(), self._clock.wall_ms()
        key = self._final_states.key()
        answer = await self._api.list_tasks(request.query, permit)
        if isinstance(answer, ListPage):
            answer = self._planner.identified(request, answer)
        duration_ms = round((self._clock.monotonic() - started) * 1000)
        attempt = Attempt(asked_at_ms, Endpoint.LIST.value, "", http_status=200, duration_ms=duration_ms)
        page = answer if isinstance(answer, ListPage) else ListPage((), 0)
        finished = self._planner.infer_ready(request, page, asked_at_ms) if isinstance(answer, ListPage) else []
        changes = await self._retry.run(
            lambda: settle_page(
                self._store,
                page.tasks,
                request.tasks,
                finished=finished,
                attempt=attempt,
                rng=self._rng,
                times=self._planner.times,
                key=key,
            )
        )
        if isinstance(answer, ListPage):
            self._breaker.succeeded()
            self._api_health.record_page()
            self._final_states.record_page(one.task for one in changes)
            self._learn(request, answer, changes, finished, asked_at_ms)
        else:
            self._judge(request, answer)
            return Polled(answer)
        with anyio.CancelScope(shield=True):
            named = await self._retry.run(lambda: self._store.name_models(page.tasks, asked_at_ms))
        return Polled(answer, named)

    def _learn(
        self, request: ListRequest, page: ListPage, changes: list[ListedChange], finished: list[Task], asked_at_ms: int
    ) -> None:
        for one in changes:
            self._planner.record_version(one.task, one.listed.version)
            self._planner.record_outcome(one.task, one.listed.outcome, asked_at_ms)
            if one.decision is not None:
                self._transitions.record_transition(one.task, one.decision.state, asked_at_ms)
        for task in finished:
            self._planner.record_inferred_ready(task, asked_at_ms)
            self._transitions.record_transition(task, TaskState.READY, asked_at_ms)
        self._planner.record_page(request, page, [*(one.task for one in changes), *finished], asked_at_ms)
        log.debug(
            "looked at the list",
            asked_about=len(request.tasks),
            listed=page.count,
            heard=len(changes),
            finished=len(finished),
        )

    def _judge(self, request: ListRequest, outcome: Outcome) -> None:
        now = self._clock.monotonic()
        self._api_health.record_list_failure(outcome)
        if isinstance(outcome, Transient):
            self._breaker.failed(now)
        if isinstance(outcome, Refused) and outcome.is_key_invalid:
            self._control.refuse(outcome)
        elif isinstance(outcome, Refused):
            log.warning("the list of tasks is refused, asking one by one", reason=outcome.message)
            self._planner.list_refused(request, now)
        elif isinstance(outcome, NotFound):
            self._planner.list_not_served(request, now)
        elif not isinstance(outcome, Throttled):
            self._planner.list_failed(now)
