"""How long requests must wait, whatever the reason."""

import math
from collections.abc import Iterable, Sequence

from harvester.domain.limits.endpoint import POLL_ENDPOINTS, TASK_ENDPOINTS, Endpoint
from harvester.domain.planning.planned_requests import PlannedRequest
from harvester.domain.planning.planner import CLOSED_S
from harvester.service.harvest_parts import HarvestParts
from harvester.service.probe_gate import ProbeGate


class RequestGate:
    """Combines rate limits, circuit breaker and probe gate; waits are seconds, 0 for a request that may go out.

    `recheck_s`: the wait while only an answer under way can end it.
    """

    def __init__(self, parts: HarvestParts, probes: ProbeGate, recheck_s: float) -> None:
        self._throttle = parts.throttle
        self._breaker = parts.breaker
        self._progress = parts.progress
        self._clock = parts.clock
        self._probes = probes
        self._recheck_s = recheck_s

    def endpoint_wait_s(self, endpoint: Endpoint) -> float:
        """Return how long requests to that endpoint must wait by the API's limits, whatever the total rate."""
        return max(self._throttle.endpoint_wait_s(endpoint), self._probe_wait_s(endpoint))

    def request_wait_s(self, endpoint: Endpoint) -> float:
        """Return how long the next request to that endpoint must wait."""
        return max(self._throttle.wait_s(endpoint), self._probe_wait_s(endpoint))

    def least_wait_s(self, requests: Sequence[PlannedRequest]) -> float:
        """Return the shortest wait of the requests; 0 without any."""
        return self._soonest_s({request.endpoint for request in requests}) if requests else 0.0

    def closed(self, requests: Sequence[PlannedRequest]) -> list[PlannedRequest]:
        """Return the requests whose endpoint must wait longer than CLOSED_S."""
        endpoints = {one.endpoint for one in requests}
        closed = {endpoint for endpoint in endpoints if self.endpoint_wait_s(endpoint) > CLOSED_S}
        return [request for request in requests if request.endpoint in closed]

    def any_wait_s(self) -> float:
        """Return how long no request at all may go out."""
        now = self._clock.monotonic()
        if not self._breaker.allows(self._progress.in_flight, now):
            # While a probe is under way its answer wakes the scheduler.
            return self._breaker.wait_s(now) or self._recheck_s
        return self._soonest_s(POLL_ENDPOINTS)

    def _probe_wait_s(self, endpoint: Endpoint) -> float:
        """Return how long requests to that endpoint must wait because only probes are sent."""
        return self._probes.wait_s() if endpoint in TASK_ENDPOINTS else 0.0

    def _soonest_s(self, endpoints: Iterable[Endpoint]) -> float:
        """Return how long no request to any of these endpoints may go out; infinite for none."""
        soonest_s = math.inf
        for endpoint in endpoints:
            soonest_s = min(soonest_s, self.request_wait_s(endpoint))
            if soonest_s == 0:
                break
        return soonest_s
