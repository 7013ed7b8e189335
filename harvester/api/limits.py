"""What an answer's headers say about rate limits, in both schemes that the API has been seen to use."""

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache

from harvester.domain.pacing import LimitReport
from harvester.domain.quotas import WINDOWS_S, Quota

_EPOCH_LIKE = 1_000_000_000
"""A reset beyond this is a point in time (epoch seconds), below it a number of seconds."""

_SCHEMES = ("x-ratelimit-request", "x-ratelimit")

_MAX_LIMIT = 10**9

_MAX_AGE_S = 7 * 24 * 3600.0
"""No cache keeps an answer of the API for longer."""

_QUOTA = re.compile(
    r"\b(\d{1,9})\s*req(?:uest)?s?\s*(?:/|per)\s*(\d{1,6})?\s*(second|minute|hour|day)s?\b", re.ASCII | re.IGNORECASE
)
_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 24 * 3600}


def read_limits(headers: Mapping[str, str], now_s: float) -> LimitReport:
    """Return what `headers` (names in any case) say; `now_s` is the wall clock, used where `date` is missing.

    Times are taken relative to the server's own `date`, so a wrong clock on this side does no harm.
    """
    named = {name.lower(): value for name, value in headers.items()}
    server_now = _http_date(named.get("date")) or now_s
    retry_after = _seconds(named.get("retry-after"), server_now)
    for scheme in _SCHEMES:
        if f"{scheme}-remaining" in named:
            remaining = _number(named[f"{scheme}-remaining"])
            reset = _seconds(named.get(f"{scheme}-reset"), server_now)
            limit = _number(named.get(f"{scheme}-limit", ""))
            return LimitReport(
                None if remaining is None else int(remaining),
                reset,
                retry_after,
                int(limit) if limit is not None and 1 <= limit <= _MAX_LIMIT else None,
            )
    return LimitReport(retry_after_s=retry_after)


def quota_told(message: str) -> Quota | None:
    """Return the quota that the message of a 429 names, as in "(100req/1day)"; None if there is none."""
    found = _QUOTA.search(message)
    if found is None:
        return None
    limit, window_s = int(found[1]), int(found[2] or 1) * _UNITS_S[found[3].lower()]
    # Longer ones are not known, and a window decides how long a request may have to wait.
    return Quota(limit, window_s) if limit and 0 < window_s <= WINDOWS_S[-1] else None


def api_time_s(headers: Mapping[str, str]) -> float | None:
    """Return the time of the server (whole Unix seconds) by `date` and, from a cache, `age`; None without a date."""
    named = {name.lower(): value for name, value in headers.items()}
    date_s, age_s = _http_date(named.get("date")), _number(named.get("age", "")) or 0.0
    return None if date_s is None else date_s + min(_MAX_AGE_S, max(0.0, age_s))


def clock_skew_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return by how much `now_s` is ahead of the server's time (whole seconds); None where that is not told."""
    server_now = api_time_s(headers)
    return None if server_now is None else now_s - server_now


def _seconds(value: str | None, server_now: float) -> float | None:
    """Read seconds, epoch seconds or an HTTP date as seconds from now; None if absent or nonsense."""
    if value is None:
        return None
    number = _number(value)
    if number is None:
        moment = _http_date(value)
        return None if moment is None else max(0.0, moment - server_now)
    if number >= _EPOCH_LIKE:
        number -= server_now
    return max(0.0, number)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@lru_cache(maxsize=8)  # answers of the same second tell the same date, and each is read twice
def _http_date(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
