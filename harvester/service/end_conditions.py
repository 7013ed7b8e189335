"""When a harvest is over by itself, and how long it waits for tasks that are not due yet."""

import math

from harvester.domain.limits.endpoint import POLL_ENDPOINTS, TASK_ENDPOINTS
from harvester.domain.planning.planner import CLOSED_S
from harvester.domain.tasks.records import LONGEST_SLEEP_MS
from harvester.service.harvest_parts import HarvestParts
from harvester.service.result_writer import COMMIT_EVERY_S, ResultWriter
from harvester.service.run_options import NOT_WAITED_FOR_S, RunOptions, StopWhen


class EndConditions:
    """Decides whether the harvest that `options` describe is over, and how long it waits."""

    def __init__(self, options: RunOptions, parts: HarvestParts, writer: ResultWriter) -> None:
        self._until = options.until
        self._recheck_s = options.recheck_s
        self._source = parts.source
        self._retry = parts.retry
        self._throttle = parts.throttle
        self._final_states = parts.final_states
        self._progress = parts.progress
        self._clock = parts.clock
        self._contact = parts.api_health.contact
        self._writer = writer

    def is_over(self) -> bool:
        """Whether the harvest is over although tasks are left: the API would make it wait for long, or is not there."""
        if self._until is not StopWhen.SIGNALLED and self._contact.is_lost(self._clock.monotonic()):
            return True
        if self._progress.in_flight:
            return False
        match self._until:
            case StopWhen.ALL_ASKED:
                return min(self._throttle.endpoint_wait_s(endpoint) for endpoint in TASK_ENDPOINTS) > NOT_WAITED_FOR_S
            case StopWhen.ALL_DONE:
                return self._final_states.is_open_for_long
            case StopWhen.SIGNALLED:
                return False

    def is_over_for_due(self) -> bool:
        """Whether the harvest is over although tasks are due, because none is worth a request that may go out.

        A harvest that asks about each task once is over if each task left needs a call that is blocked for long.
        """
        if self._until is not StopWhen.ALL_ASKED or self._progress.in_flight:
            return False
        waits_s = [self._throttle.endpoint_wait_s(endpoint) for endpoint in POLL_ENDPOINTS]
        closed_s = [wait_s for wait_s in waits_s if wait_s > CLOSED_S]
        return bool(closed_s) and min(closed_s) > NOT_WAITED_FOR_S

    async def idle_s(self) -> float | None:
        """Return for how many seconds no task is due; None when the harvest is over."""
        next_due_ms = await self._retry.run(self._source.next_due_ms)
        self._progress.next_due_ms = next_due_ms
        if next_due_ms == 0:
            return 0.0
        wait_ms = math.inf if next_due_ms is None else next_due_ms - self._clock.wall_ms()
        if wait_ms > COMMIT_EVERY_S * 1000:
            self._writer.expect_no_more()
        if self._until is StopWhen.ALL_ASKED or next_due_ms is None:
            is_over = self._until is not StopWhen.SIGNALLED and not self._progress.in_flight
            return None if is_over else self._recheck_s
        if wait_ms > NOT_WAITED_FOR_S * 1000 and self._until is StopWhen.ALL_DONE and await self._are_all_held():
            return None
        # No task waits that long: the clock was set back since, and the next read of due tasks makes them due.
        return 0.0 if wait_ms > LONGEST_SLEEP_MS else max(0.0, wait_ms / 1000)

    async def _are_all_held(self) -> bool:
        """Whether each open task waits for a confirmation for longer than NOT_WAITED_FOR_S."""
        after_ms = self._clock.wall_ms() + round(NOT_WAITED_FOR_S * 1000)
        held = await self._retry.run(lambda: self._source.held_by_reason(after_ms))
        return not self._progress.in_flight and sum(held.values()) >= self._progress.open
