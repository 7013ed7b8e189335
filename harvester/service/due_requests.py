"""Plans requests for the tasks that are due."""

from harvester.domain.limits.endpoint import POLL_ENDPOINTS
from harvester.domain.planning.plan import Plan
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.service.first_look import FirstLook
from harvester.service.harvest_parts import HarvestParts
from harvester.service.probe_gate import ProbeGate
from harvester.service.request_gate import RequestGate
from harvester.service.run_options import RunOptions, StopWhen

CLAIMED_AHEAD_S = 1.0
"""Seconds of the request budget for which tasks are claimed: few, so that a task found ready comes before them."""

MAX_CLAIMED_AHEAD = 64

CLAIMED_FOR_EACH = 8
"""Tasks that are claimed at most for each request that may be under way: each claim reads NARROW_VIEW due tasks."""

NARROW_VIEW = 64
"""Due tasks, at least, among which the planner looks for the results to retrieve first."""

WIDE_VIEW = 500
"""Due tasks, from each end, among which the planner looks for the questions that are worth most."""


class DueRequests:
    """Reads due tasks from the store and plans requests for them.

    `concurrency` is how many requests may be under way at a time. `is_more_due`: the last plan left due tasks out, so
    the caller need not ask the store, which may be writing, whether any are due. `awaits_tries`: the last plan has no
    requests because it waits for the answers to the first ones. `first_look` begins the harvest.
    """

    def __init__(self, options: RunOptions, parts: HarvestParts, gate: RequestGate, probes: ProbeGate) -> None:
        self._source = parts.source
        self._planner = parts.planner
        self._retry = parts.retry
        self._throttle = parts.throttle
        self._final_states = parts.final_states
        self._progress = parts.progress
        self._clock = parts.clock
        self._gate = gate
        self._probes = probes
        self._makes_due = options.until is not StopWhen.ALL_ASKED
        self.concurrency = options.concurrency
        self.first_look = FirstLook(options, parts)
        self.is_more_due = False
        self.awaits_tries = False

    async def plan(self, now_ms: int) -> Plan:
        """Return what to request now. Tasks that are not worth a request yet are postponed."""
        limit = self.claim_limit()
        looks = await self.first_look.is_due(now_ms)
        due = await self._due(now_ms, max(limit, NARROW_VIEW), newest=False)
        plan = self._plan_for(due, now_ms, limit, looks_first=looks)
        if not due.is_whole and not _is_full(plan, due, limit):
            # Only a wider view shows which tasks have surely finished, and which questions are worth most.
            plan = self._plan_for(await self._due(now_ms, WIDE_VIEW, newest=True), now_ms, limit, looks_first=looks)
        has_requests = bool(plan.requests)
        if has_requests:
            self.first_look.record_planned()
        plan = self._planner.without_excess_tries(plan, self._clock.monotonic())
        self.awaits_tries = has_requests and not plan.requests
        if plan.later:
            await self._retry.run(lambda: self._source.postpone(plan.later, now_ms))
        self.is_more_due = bool(plan.requests) and not due.is_whole
        return plan

    async def _due(self, now_ms: int, limit: int, *, newest: bool) -> DueTasks:
        # The wall clock does not decide which leases are over: see `Claims.free_dead`.
        return await self._retry.run(
            lambda: self._source.due(now_ms, limit=limit, newest=newest, make_due=self._makes_due, lapsed=False)
        )

    def _plan_for(self, due: DueTasks, now_ms: int, limit: int, *, looks_first: bool) -> Plan:
        return self._planner.plan(
            due,
            now_ms=now_ms,
            now=self._clock.monotonic(),
            limit=limit,
            open_tasks=self._progress.open,
            rate_per_s=self._throttle.rate_per_s,
            waits_s={endpoint: self._gate.endpoint_wait_s(endpoint) for endpoint in POLL_ENDPOINTS},
            evidence_ago_s=self._final_states.evidence_ago_s,
            looks_first=looks_first,
        )

    def claim_limit(self) -> int:
        """Return for how many tasks requests may be planned at a time."""
        if self._probes.is_probing:
            return 1
        rate_per_s = self._throttle.rate_per_s
        ahead = MAX_CLAIMED_AHEAD if rate_per_s is None else CLAIMED_AHEAD_S * rate_per_s
        return max(1, min(MAX_CLAIMED_AHEAD, CLAIMED_FOR_EACH * self.concurrency, int(ahead)))


def _is_full(plan: Plan, due: DueTasks, limit: int) -> bool:
    """Whether results fill the plan, and tasks that hang cannot hide a result with a nearer deadline."""
    results = {request.tasks[0].row_id for request in plan.requests if not request.is_question}
    return len(results) >= limit and (not due.pending or any(task.row_id in results for task in due.pending))
