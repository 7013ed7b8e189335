"""Lets single tasks through as probes while most answers bring no result."""

from harvester.domain.planning.planned_requests import PlannedRequest, TaskRequest
from harvester.domain.planning.planner import CLOSED_S
from harvester.service.harvest_parts import HarvestParts

RELEASED_AT_ONCE = 10_000
"""Held tasks that are released in one transaction."""


class ProbeGate:
    """Holds requests about tasks back while final states are doubtful, except for one probe at a time.

    With `asks_once`, requests about all tasks may go out nevertheless.
    """

    def __init__(self, parts: HarvestParts, *, asks_once: bool) -> None:
        self._final_states = parts.final_states
        self._source = parts.source
        self._retry = parts.retry
        self._throttle = parts.throttle
        self._progress = parts.progress
        self._asks_once = asks_once
        self._has_probe = False
        """Whether a probe is due that has not been sent yet."""

    @property
    def is_probing(self) -> bool:
        """Whether only probes may ask about tasks."""
        is_doubtful = not self._asks_once and self._final_states.is_open
        return is_doubtful and self._final_states.is_probing(self._throttle.rate_per_s)

    def wait_s(self) -> float:
        """Return how many seconds requests about tasks must wait: more than CLOSED_S if they are held back."""
        if self._has_probe or not self.is_probing:
            return 0.0
        return max(self._final_states.probe_wait_s(), 2 * CLOSED_S)

    def record_sent(self, request: PlannedRequest) -> None:
        """Record that a request goes out; if it is about one task, it is the probe."""
        self._has_probe = self._has_probe and not isinstance(request, TaskRequest)

    async def release_held(self) -> None:
        """Release the tasks whose ends were held back if the API answers sensibly again, else one as a probe if due."""
        if self._final_states.has_closed:
            while await self._retry.run(lambda: self._source.release_held(RELEASED_AT_ONCE)) == RELEASED_AT_ONCE:
                pass
            self._final_states.has_closed = False
        elif self._final_states.is_open and self._final_states.probe_wait_s() == 0 and not self._progress.in_flight:
            self._final_states.probe_sent(self._throttle.rate_per_s)
            self._has_probe = True
            await self._retry.run(lambda: self._source.release_held(1))
