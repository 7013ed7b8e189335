"""What an answer's headers say about rate limits, in both schemes that the API has been seen to use."""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from harvester.domain.pacing import LimitReport

_EPOCH_LIKE = 1_000_000_000
"""A reset beyond this is a point in time (epoch seconds), below it a number of seconds."""

_SCHEMES = (
    ("x-ratelimit-request-remaining", "x-ratelimit-request-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
)


def read_limits(headers: Mapping[str, str], now_s: float) -> LimitReport:
    """Return what `headers` (names in any case) say; `now_s` is the wall clock, used where `date` is missing.

    Times are taken relative to the server's own `date`, so a wrong clock on this side does no harm.
    """
    named = {name.lower(): value for name, value in headers.items()}
    server_now = _http_date(named.get("date")) or now_s
    retry_after = _seconds(named.get("retry-after"), server_now)
    for remaining_name, reset_name in _SCHEMES:
        if remaining_name in named:
            remaining = _number(named[remaining_name])
            reset = _seconds(named.get(reset_name), server_now)
            return LimitReport(None if remaining is None else int(remaining), reset, retry_after)
    return LimitReport(retry_after_s=retry_after)


def clock_skew_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return by how much `now_s` is ahead of the server's `date` (whole seconds); None without one."""
    server_now = _http_date(next((value for name, value in headers.items() if name.lower() == "date"), None))
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


def _http_date(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
