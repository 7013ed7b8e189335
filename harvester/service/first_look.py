"""The look with which a harvest begins: key, address and the state of tasks are known at once."""

import math

from harvester.domain.planning.questions import LOOKED_MS
from harvester.service.harvest_parts import HarvestParts
from harvester.service.run_options import RunOptions, StopWhen

AGAIN_S = 5.0
"""Seconds after which the harvest looks again if nothing has answered like the API."""


class FirstLook:
    """Decides whether the harvest asks although no request is worth its cost yet.

    It does so until the API has answered. It does not under a known quota of a day, nor if any process has had an
    answer within LOOKED_MS, nor if it asks about each task anyway.
    """

    def __init__(self, options: RunOptions, parts: HarvestParts) -> None:
        self._asks_once = options.until is StopWhen.ALL_ASKED
        self._source = parts.source
        self._throttle = parts.throttle
        self._retry = parts.retry
        self._contact = parts.api_health.contact
        self._progress = parts.progress
        self._clock = parts.clock
        self._is_wanted = False
        self._not_before = -math.inf

    async def prepare(self, now_ms: int) -> None:
        """Learn from the store at `now_ms` (Unix ms) whether a look is needed, and which limits are known."""
        await self._retry.run(self._throttle.load_limits)
        self._is_wanted = not (self._asks_once or await self._is_known(now_ms))

    async def is_due(self, now_ms: int) -> bool:
        """Return whether to look at `now_ms` (Unix ms)."""
        if not self._is_wanted or self._contact.has_answered or self._progress.in_flight:
            return False
        if self._clock.monotonic() < self._not_before:
            return False
        # Another process may have begun at the same time.
        self._is_wanted = not await self._is_known(now_ms)
        return self._is_wanted

    async def _is_known(self, now_ms: int) -> bool:
        """Return whether a look would be waste: under a known quota of a day, or after a recent answer."""
        if self._throttle.has_quota_of_day:
            return True
        return await self._retry.run(lambda: self._source.is_heard_since(now_ms - LOOKED_MS, now_ms))

    def record_planned(self) -> None:
        """Record that requests were planned: the next look waits for their answers."""
        self._not_before = self._clock.monotonic() + AGAIN_S
