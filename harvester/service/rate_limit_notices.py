"""Reports rate limits as soon as the API enforces them: to other processes, in the log and for displays."""

from harvester.domain.limits.endpoint import TASK_ENDPOINTS, Endpoint
from harvester.ports.log import get_logger
from harvester.service.harvest_parts import HarvestParts
from harvester.service.run_options import NOT_WAITED_FOR_S

log = get_logger()


class RateLimitNotices:
    """Updates `blocked_until_ms` of the progress, and reports each endpoint that is blocked, once.

    A block of at most `least_s` seconds is not worth a notice.
    """

    def __init__(self, parts: HarvestParts, least_s: float) -> None:
        self._throttle = parts.throttle
        self._retry = parts.retry
        self._progress = parts.progress
        self._clock = parts.clock
        self._least_s = least_s
        self._blocked: set[Endpoint] = set()

    async def update(self) -> None:
        """Report when the API blocks an endpoint, and when the block is over.

        The limits are published to other processes before the log line, because this one may be killed at any moment.
        """
        until_ms = None
        for endpoint in TASK_ENDPOINTS:
            blocked_s = self._throttle.blocked_s(endpoint)
            if blocked_s > self._least_s:
                until_ms = max(until_ms or 0, self._clock.wall_ms() + round(blocked_s * 1000))
                if endpoint not in self._blocked:
                    self._blocked.add(endpoint)
                    await self._retry.run(self._throttle.publish_limits)
                    log.warning("rate limited", endpoint=endpoint.value, wait_s=round(blocked_s))
            elif blocked_s == 0 and endpoint in self._blocked:
                self._blocked.remove(endpoint)
                log.info("rate limit over", endpoint=endpoint.value)
        held_s = self._throttle.endpoint_wait_s(Endpoint.RETRIEVE)
        if held_s > NOT_WAITED_FOR_S:
            # The pacer spreads the last requests of a quota over hours, although no answer has blocked them.
            until_ms = max(until_ms or 0, self._clock.wall_ms() + round(held_s * 1000))
        self._progress.blocked_until_ms = until_ms
