"""Rate limits: fixed windows over all requests of the organization, and the headers that report them.

A window opens with the first request that finds none open: a daily limit of the API has been seen to end at
01:20:49. Times are the stand-in's: on a clock that runs 60 times as fast, a minute's window lasts a second.
"""

from dataclasses import dataclass
from math import ceil

from harvester.simulator.settings import HeaderScheme, SimulatorSettings

# The newer scheme has a second dimension, the length of media in seconds (600 minutes), and the scheme `tokens` a third
# one. Reading uses neither, and uploads are not metered here: they are sent so that clients must distinguish them from
# the first one.
_MEDIA_S_PER_WINDOW = 36_000
_TOKENS_PER_WINDOW = 3_000_000


@dataclass(frozen=True, slots=True)
class Quota:
    """One window as an answer reports it; `resets_at` is in epoch seconds."""

    label: str
    limit: int
    used: int
    resets_at: int

    @property
    def remaining(self) -> int:
        """Requests that the window still allows."""
        return self.limit - self.used


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may pass, and the quota to report; None when there is no limit."""

    admitted: bool
    quota: Quota | None
    retry_after_s: int = 0


class FixedWindow:
    """Allows `limit` requests in each `length_s` seconds."""

    def __init__(self, limit: int, length_s: int, unit: str) -> None:
        self.limit = limit
        self._length_s = length_s
        self._label = f"{limit}req/1{unit}"
        self._opened_at = float("-inf")
        self._used = 0

    @property
    def exhausted(self) -> bool:
        """Whether the open window allows no more requests."""
        return self._used >= self.limit

    @property
    def ends_at(self) -> float:
        """When the open window ends, in epoch seconds."""
        return self._opened_at + self._length_s

    def open_at(self, now: float) -> None:
        """Open a new window when none is open at `now`; also when the clock was set back."""
        if not self._opened_at <= now < self.ends_at:
            self._opened_at = now
            self._used = 0

    def count(self) -> None:
        """Count one request that passes."""
        self._used += 1

    def quota(self) -> Quota:
        """Return the open window as an answer reports it."""
        return Quota(self._label, self.limit, self._used, ceil(self.ends_at))


class RateLimiter:
    """The limits per minute and per day; a refused request is not counted against either."""

    def __init__(self, settings: SimulatorSettings) -> None:
        windows = (
            FixedWindow(settings.requests_per_minute, 60, "minute"),
            FixedWindow(settings.requests_per_day, 24 * 3600, "day"),
        )
        self._windows = [window for window in windows if window.limit]

    def admit(self, now: float) -> Admission:
        """Decide about one request at `now` (epoch seconds), and count it if it is admitted."""
        if not self._windows:
            return Admission(admitted=True, quota=None)
        for window in self._windows:
            window.open_at(now)
        exhausted = [window for window in self._windows if window.exhausted]
        if exhausted:
            # The window that ends last: before its end a new request is refused again.
            barrier = max(exhausted, key=lambda window: window.ends_at)
            wait_s = max(1, ceil(barrier.ends_at - now))
            return Admission(admitted=False, quota=barrier.quota(), retry_after_s=wait_s)
        for window in self._windows:
            window.count()
        tightest = min((window.quota() for window in self._windows), key=lambda quota: quota.remaining)
        return Admission(admitted=True, quota=tightest)


def quota_headers(quota: Quota | None, scheme: HeaderScheme) -> dict[str, str]:
    """Return the rate limit headers of one scheme; none without a quota."""
    if quota is None:
        return {}
    if scheme == "older":
        return _four("x-ratelimit", quota)
    dimensions = {
        "Duration": Quota(quota.label, _MEDIA_S_PER_WINDOW, 0, quota.resets_at),
        "Request": quota,
    }
    if scheme == "tokens":
        dimensions["Token"] = Quota(quota.label, _TOKENS_PER_WINDOW, 0, quota.resets_at)
    headers = {"x-ratelimit-dimensions": ",".join(dimensions)}
    for name, one in dimensions.items():
        headers |= _four(f"x-ratelimit-{name.lower()}", one)
    return headers


def _four(prefix: str, quota: Quota) -> dict[str, str]:
    return {
        f"{prefix}-limit": str(quota.limit),
        f"{prefix}-remaining": str(quota.remaining),
        f"{prefix}-used": str(quota.used),
        f"{prefix}-reset": str(quota.resets_at),
    }
