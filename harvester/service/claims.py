"""The tasks that this process has claimed, and the leases that keep them from other processes."""

import math
import os
import secrets
import socket
from collections.abc import Sequence

from harvester.domain.planning.planned_requests import PlannedRequest
from harvester.domain.tasks.records import Lease
from harvester.ports.log import get_logger
from harvester.service.harvest_parts import HarvestParts
from harvester.service.lease_watch import LeaseWatch

log = get_logger()


class Claims:
    """Claims tasks for planned requests, renews the leases, and gives tasks back; frees those of dead processes.

    `requests` are claimed and have not been sent yet. `lease_s` is how long a lease lasts, in seconds.
    """

    def __init__(self, parts: HarvestParts, lease_s: float) -> None:
        self._source = parts.source
        self._planner = parts.planner
        self._retry = parts.retry
        self._clock = parts.clock
        self._lease_s = lease_s
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.requests: list[PlannedRequest] = []
        self._others = LeaseWatch(self.owner, lease_s)
        self._leased_until = -math.inf
        """When the last lease ends, in steady seconds."""

    async def claim(self, planned: Sequence[PlannedRequest], now_ms: int) -> None:
        """Queue the requests with those of their tasks that no other process has claimed meanwhile."""
        leased_until = self._lease_ends()
        lease, tasks = self._lease(now_ms), [task for request in planned for task in request.tasks]
        claimed = {task.row_id: task for task in await self._retry.run(lambda: self._source.claim(lease, tasks))}
        if claimed:
            self._leased_until = max(self._leased_until, leased_until)
        taken = [request for request in (one.claimed(claimed) for one in planned) if request is not None]
        self._planner.record_sent(taken, self._clock.monotonic())
        self.requests += taken

    async def give_back(self, requests: Sequence[PlannedRequest]) -> None:
        """Give back the tasks of queued requests.

        They are due at once, not at a later time: a harvest that asks about each task once reads no tasks that wait.
        """
        if requests:
            self.requests = [request for request in self.requests if request not in requests]
            tasks = [(task, 0) for request in requests for task in request.tasks]
            await self._retry.run(lambda: self._source.defer(tasks))

    async def give_back_lapsed(self) -> None:
        """Give back the queued requests' tasks if this process was suspended for longer than its leases last.

        Others may have claimed them since. The steady clock decides, so that no jump of the wall clock ends claims.
        """
        if self._clock.monotonic() >= self._leased_until:
            await self.give_back(self.requests)

    async def renew(self) -> None:
        """Renew all leases of this process."""
        leased_until = self._lease_ends()
        lease = self._lease(self._clock.wall_ms())
        if await self._retry.run(lambda: self._source.renew(lease)):
            self._leased_until = leased_until

    async def free_dead(self, now_ms: int) -> None:
        """Free the tasks that dead processes have claimed."""
        leases = await self._retry.run(self._source.held_leases)
        dead = self._others.dead(leases, self._clock.monotonic(), now_ms)
        if dead and (freed := await self._retry.run(lambda: self._source.free(dead))):
            log.info("freed the tasks of processes that are gone", tasks=freed)

    async def release(self) -> None:
        """Give back all claims of this process, also those of requests under way. Raises StoreBusyError."""
        await self._source.release(self.owner)

    def _lease(self, now_ms: int) -> Lease:
        return Lease(self.owner, now_ms + int(self._lease_s * 1000), now_ms)

    def _lease_ends(self) -> float:
        """Return when a lease that is taken now ends, in steady seconds."""
        return self._clock.monotonic() + self._lease_s
