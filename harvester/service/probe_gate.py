"""Lets single tasks through as probes while most answers bring no result."""

from harvester.domain.planning.plan import PlannedRequest, TaskRequest
from harvester.domain.planning.planner import CLOSED_S
from harvester.service.harvest_parts import HarvestParts

RELEASED_AT_ONCE = 10_000
"""How many held tasks fall due in one transaction."""


class ProbeGate:
    """Holds requests about tasks back while final states are doubtful, except for one probe at a time.

    With `asks_once`, each task is asked about, doubtful or not.
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
        """Whether no tasks are asked but probes."""
        return not self._asks_once and self._final_states.is_probing

    def wait_s(self) -> float:
        """Return how long requests about tasks must wait; what is held back is as good as closed."""
        if self._has_probe or not self.is_probing:
            return 0.0
        return max(self._final_states.probe_wait_s(), 2 * CLOSED_S)

    def record_sent(self, request: PlannedRequest) -> None:
        """Record that a request goes out; if it is about one task, it is the probe."""
        self._has_probe = self._has_probe and not isinstance(request, TaskRequest)

    async def release_held(self) -> None:
        """Let the tasks whose ends were held back be asked again, when the API answers sensibly, or one as a probe."""
        self._final_states.rate_per_s = self._throttle.rate_per_s
        if self._final_states.has_closed:
            while await self._retry.run(lambda: self._source.release_held(RELEASED_AT_ONCE)) == RELEASED_AT_ONCE:
                pass
            self._final_states.has_closed = False
        elif self._final_states.is_open and self._final_states.probe_wait_s() == 0 and not self._progress.in_flight:
            self._final_states.probe_sent()
            self._has_probe = True
            await self._retry.run(lambda: self._source.release_held(1))
