"""Servers with a limit that a pacer does not know, and a client that sends whenever the pacer lets it."""

import heapq
from dataclasses import dataclass, field
from itertools import count
from math import ceil
from typing import Protocol

from harvester.domain.limits.endpoint import Bucket, Endpoint, LimitReport, RateLimit
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.quotas import Sending

LATENCY_S = 0.3
MIN_STEP_S = 0.01


class Server(Protocol):
    """Answers at a time with whether the request passes, and what the headers say."""

    def answer(self, now: float) -> tuple[bool, LimitReport]: ...


@dataclass
class WindowServer:
    """Lets `limit` requests through in each window, which opens with the first; says as much about it as `tells`."""

    limit: int
    window_s: float = 60.0
    tells: str = "nothing"
    opened_at: float = -1e9
    used: int = 0

    def answer(self, now: float) -> tuple[bool, LimitReport]:
        if now >= self.opened_at + self.window_s:
            self.opened_at, self.used = now, 0
        passes = self.used < self.limit
        self.used += passes
        left_s = ceil(self.opened_at + self.window_s - now)
        stated_s = None if passes or self.tells == "nothing" else float(left_s)
        if self.tells == "all":
            return passes, LimitReport(self.limit - self.used, left_s, stated_s, self.limit)
        return passes, LimitReport(retry_after_s=stated_s)


@dataclass
class BucketServer:
    """Lets requests through at a sustained rate after a burst, and says nothing."""

    per_minute: float
    burst: int = 5
    bucket: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = Bucket(RateLimit(self.per_minute, self.burst))

    def answer(self, now: float) -> tuple[bool, LimitReport]:
        passes = self.bucket.ready_at() <= now
        if passes:
            self.bucket.take(now)
        return passes, LimitReport()


@dataclass
class SendRecord:
    """When requests passed, and when they were refused."""

    passed: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def passed_in(self, start: float, end: float) -> int:
        return sum(start <= at < end for at in self.passed)

    def refused_in(self, start: float, end: float) -> int:
        return sum(start <= at < end for at in self.refused)


def run(
    pacer: Pacer,
    server: Server,
    seconds: float,
    *,
    now: float = 0.0,
    concurrency: int = 8,
    latency_s: float = LATENCY_S,
) -> SendRecord:
    """Send as much as the pacer lets through; the server sees a request half the latency after it was sent."""
    sends, numbers, end = SendRecord(), count(), now + seconds
    events: list[tuple[float, int, str, Sending, tuple[bool, LimitReport] | None]] = []
    under_way = 0
    while now < end:
        wait_s = pacer.wait_s(Endpoint.RETRIEVE, now)
        assert wait_s >= 0
        if under_way < concurrency and wait_s <= 1e-9:
            sending = pacer.take(Endpoint.RETRIEVE, now)
            heapq.heappush(events, (now + latency_s / 2, next(numbers), "arrives", sending, None))
            under_way += 1
            continue
        next_at = now + max(MIN_STEP_S, min(wait_s, 1.0)) if under_way < concurrency else end
        if not events or next_at < events[0][0]:
            now = next_at
            continue
        now, _, what, sending, answer = heapq.heappop(events)
        if what == "arrives":
            answer = server.answer(now)
            (sends.passed if answer[0] else sends.refused).append(now)
            heapq.heappush(events, (now + latency_s / 2, next(numbers), "returns", sending, answer))
        elif answer is not None:
            under_way -= 1
            (pacer.accepted if answer[0] else pacer.throttled)(Endpoint.RETRIEVE, answer[1], now, sending)
    return sends
