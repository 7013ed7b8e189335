"""Quotas: the number of requests that the API accepts in a window of time, and how to spread the last of them."""

import math
from collections import deque
from dataclasses import dataclass, field

WINDOWS_S = (60, 3600, 24 * 3600)
"""Seconds: the windows in which APIs count limits: a minute, an hour, a day."""

WINDOW_SLACK_S = 2.0
"""Seconds by which a reset may exceed its window: both the reset and the `Date` header are whole seconds."""

LATELY_S = 60.0
"""Seconds for which the times of single requests are kept."""

RESERVE_SHARE = 0.1
"""Share of a quota that is kept as a reserve and spread evenly over the rest of the window."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The API accepts `limit` requests in each window of `window_s` seconds."""

    limit: int
    window_s: int

    @property
    def per_minute(self) -> float:
        """The sustained rate: requests per minute."""
        return self.limit * 60.0 / self.window_s


def infer_quota(known: Quota | None, limit: int, reset_s: float) -> Quota | None:
    """Return the quota that an answer shows: its window is the smallest one that is as long as the longest reset."""
    window_s = next((window for window in WINDOWS_S if reset_s <= window + WINDOW_SLACK_S), None)
    if window_s is None:
        return known
    if known is not None and known.limit == limit:
        window_s = max(window_s, known.window_s)
    return Quota(limit, window_s)


@dataclass(frozen=True, slots=True)
class Sending:
    """When a request was sent, and its number among the requests to its endpoint."""

    at: float
    number: int


@dataclass(slots=True)
class SendLog:
    """The number of requests to one endpoint, and the times of those in the last minute."""

    count: int = 0
    first_at: float = math.inf
    last_at: float = -math.inf
    _lately: deque[float] = field(default_factory=deque)

    def add(self, now: float) -> Sending:
        """Record a request that goes out now."""
        self.count += 1
        self.first_at = min(self.first_at, now)
        self.last_at = now
        self._lately.append(now)
        return Sending(now, self.count)

    def lately(self, now: float) -> int:
        """Return the number of requests in the last minute."""
        while self._lately and self._lately[0] <= now - LATELY_S:
            self._lately.popleft()
        return len(self._lately)

    def per_minute(self, now: float) -> float:
        """Return the rate per minute in the last minute, or since the first request but over a second at least."""
        return self.lately(now) * LATELY_S / min(LATELY_S, max(1.0, now - self.first_at))

    def since(self, at: float) -> int:
        """Return the number of requests after that time, in the last minute."""
        return sum(sent_at > at for sent_at in self._lately)

    def after(self, number: int, now: float) -> int:
        """Return the number of requests after that one, in the last minute: older ones are taken as never answered."""
        return min(self.count - number, self.lately(now))

    def first_after(self, number: int, now: float) -> float:
        """Return when the first of these requests was sent; `now` if there is none."""
        count = self.after(number, now)
        return self._lately[-count] if count > 0 else now


@dataclass(slots=True)
class QuotaWindow:
    """The open window of a quota, as the latest answer states it; `sending` is that answer's request."""

    limit: int | None = None
    remaining: int | None = None
    ends_at: float = -math.inf
    sending: Sending = Sending(-math.inf, 0)

    def note(self, limit: int | None, remaining: int, ends_at: float, sending: Sending) -> None:
        """Learn from an answer, unless the answer to a later request is known already."""
        if sending.number >= self.sending.number:
            self.limit, self.remaining, self.ends_at, self.sending = limit, remaining, ends_at, sending

    def close(self, sending: Sending) -> None:
        """Forget the window after a refusal: its block applies instead."""
        if sending.number >= self.sending.number:
            self.remaining, self.ends_at, self.sending = None, -math.inf, sending

    def left(self, sends: SendLog, now: float) -> int | None:
        """Return the number of requests that the window has left, None if no window is known or open.

        Requests without an answer yet count as accepted.
        """
        is_open = self.remaining is not None and now < self.ends_at
        return (
            self.remaining - sends.after(self.sending.number, now) if self.remaining is not None and is_open else None
        )

    def due_at(self, sends: SendLog, quota: Quota | None, now: float, *, is_pressing: bool = False) -> float:
        """Return when the next request may go out: any time above the reserve, else spread evenly up to the reset.

        With `is_pressing` the reserve is used at once. After the end of a window, the next request begins a new one of
        the same length.
        """
        left, limit, ends_at = self.left(sends, now), self.limit, self.ends_at
        if left is None:
            waiting = 0 if quota is None else sends.after(self.sending.number, now)
            if quota is None or not waiting:
                return -math.inf
            left, limit, ends_at = quota.limit - waiting, quota.limit, sends.last_at + quota.window_s
        if left > (0 if is_pressing else max(1, int((limit or 0) * RESERVE_SHARE))):
            return -math.inf
        since = max(sends.last_at, self.sending.at)
        return since + (ends_at - since) / (max(0, left) + 1)
