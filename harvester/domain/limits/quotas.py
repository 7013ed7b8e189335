"""Quotas: how many requests the API lets through in a window of time, and how the last of them are spread over it."""

import math
from collections import deque
from dataclasses import dataclass, field

WINDOWS_S = (60, 3600, 24 * 3600)
"""The windows that limits have been seen to count in: a minute, an hour, a day."""

WINDOW_SLACK_S = 2.0
"""A reset is told in whole seconds, and so is the date that it is reckoned from."""

LATELY_S = 60.0

RESERVE_SHARE = 0.1
"""The last part of a quota, which is spread over what is left of the window."""


@dataclass(frozen=True, slots=True)
class Quota:
    """A fact of the API: `limit` requests in each `window_s` seconds."""

    limit: int
    window_s: int

    @property
    def per_minute(self) -> float:
        """The sustained rate that this comes to."""
        return self.limit * 60.0 / self.window_s


def infer_quota(known: Quota | None, limit: int, reset_s: float) -> Quota | None:
    """Return the quota behind an answer: its window is the smallest that the longest seen reset fits into."""
    window_s = next((window for window in WINDOWS_S if reset_s <= window + WINDOW_SLACK_S), None)
    if window_s is None:
        return known
    if known is not None and known.limit == limit:
        window_s = max(window_s, known.window_s)
    return Quota(limit, window_s)


@dataclass(frozen=True, slots=True)
class Sending:
    """When a request was sent, and the how-manieth of its class it was."""

    at: float
    number: int


@dataclass(slots=True)
class SendLog:
    """The requests of one class: how many have been sent, and when those of the last minute were."""

    count: int = 0
    first_at: float = math.inf
    last_at: float = -math.inf
    _lately: deque[float] = field(default_factory=deque)

    def add(self, now: float) -> Sending:
        """Take note of a request that goes out now."""
        self.count += 1
        self.first_at = min(self.first_at, now)
        self.last_at = now
        self._lately.append(now)
        return Sending(now, self.count)

    def lately(self, now: float) -> int:
        """Return how many were sent in the last minute."""
        while self._lately and self._lately[0] <= now - LATELY_S:
            self._lately.popleft()
        return len(self._lately)

    def per_minute(self, now: float) -> float:
        """Return the rate at which they were sent in the last minute, or since the first: a second at least."""
        return self.lately(now) * LATELY_S / min(LATELY_S, max(1.0, now - self.first_at))

    def since(self, at: float) -> int:
        """Return how many of the last minute were sent after that time."""
        return sum(sent_at > at for sent_at in self._lately)

    def after(self, number: int, now: float) -> int:
        """Return how many were sent after that one and in the last minute: what waits for longer is lost."""
        return min(self.count - number, self.lately(now))

    def first_after(self, number: int, now: float) -> float:
        """Return when the first of `after` was sent; `now` if there is none."""
        count = self.after(number, now)
        return self._lately[-count] if count > 0 else now


@dataclass(slots=True)
class Window:
    """The window that is open as the latest answer told of it; `told` is the sending of the request it answers."""

    limit: int | None = None
    remaining: int | None = None
    ends_at: float = -math.inf
    told: Sending = Sending(-math.inf, 0)

    def note(self, limit: int | None, remaining: int, ends_at: float, sending: Sending) -> None:
        """Learn from an answer, unless that to a later request is known already."""
        if sending.number >= self.told.number:
            self.limit, self.remaining, self.ends_at, self.told = limit, remaining, ends_at, sending

    def close(self, sending: Sending) -> None:
        """Take note of a refusal: from now on its block counts."""
        if sending.number >= self.told.number:
            self.remaining, self.ends_at, self.told = None, -math.inf, sending

    def left(self, sends: SendLog, now: float) -> int | None:
        """Return how many requests the window has left, None if none is open or nothing was told of it.

        Requests that have had no answer yet are taken for counted.
        """
        is_open = self.remaining is not None and now < self.ends_at
        return self.remaining - sends.after(self.told.number, now) if self.remaining is not None and is_open else None

    def due_at(self, sends: SendLog, quota: Quota | None, now: float, *, is_pressing: bool = False) -> float:
        """Return when the next request may go out: any time above the reserve, else spread evenly up to the reset.

        What cannot wait for that is not held back by the reserve. A window that has ended is followed by one of the
        same length, from the first request on.
        """
        left, limit, ends_at = self.left(sends, now), self.limit, self.ends_at
        if left is None:
            waiting = 0 if quota is None else sends.after(self.told.number, now)
            if quota is None or not waiting:
                return -math.inf
            left, limit, ends_at = quota.limit - waiting, quota.limit, sends.last_at + quota.window_s
        if left > (0 if is_pressing else max(1, int((limit or 0) * RESERVE_SHARE))):
            return -math.inf
        since = max(sends.last_at, self.told.at)
        return since + (ends_at - since) / (max(0, left) + 1)
