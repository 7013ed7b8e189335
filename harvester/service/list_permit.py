"""Wait for a permit to request a page of the list."""

import anyio

from harvester.domain.limits.endpoint import Endpoint
from harvester.ports.log import get_logger
from harvester.service.clock import Clock
from harvester.service.pause_watch import PauseWatch
from harvester.throttle.throttle import Permit, Throttle

CHECK_EVERY_S = 1.0

log = get_logger()


async def list_permit(throttle: Throttle, clock: Clock, pause: PauseWatch) -> Permit:
    """Wait for a permit. During a block or a pause, take no requests out of the shared budget. Raises StoreError."""
    is_logged = False
    while True:
        if await pause.is_paused():
            await clock.wait(anyio.Event(), CHECK_EVERY_S)
            continue
        wait_s = throttle.endpoint_wait_s(Endpoint.LIST)
        if wait_s == 0:
            await throttle.refill()
            wait_s = throttle.wait_s(Endpoint.LIST)
        if wait_s == 0:
            return throttle.take(Endpoint.LIST)
        if not is_logged and throttle.blocked_s(Endpoint.LIST) > CHECK_EVERY_S:
            is_logged = True
            log.warning("rate limit reached: the API asks to wait", seconds=round(throttle.blocked_s(Endpoint.LIST)))
        await throttle.publish_limits()
        await clock.wait(anyio.Event(), min(wait_s, CHECK_EVERY_S))
