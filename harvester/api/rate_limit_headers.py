"""Read rate limits from the headers of an answer, in the schemes of the API and of other servers."""

import math
import re
from collections.abc import Mapping

from harvester.api.waits import http_date, retry_after_s, seconds
from harvester.domain.limits.endpoint import LimitReport
from harvester.domain.limits.quotas import WINDOWS_S, Quota

_SCHEMES = ("x-ratelimit-request", "x-ratelimit", "ratelimit", "x-rate-limit")
"""The two of the API, the IETF draft with a header for each number, and one of other servers."""

_DRAFT_FIELD = re.compile(r"(?:^|[;,\s])(limit|q|remaining|r|reset|t)=(\d{1,12})", re.ASCII)
_DRAFT_NAMES = {"q": "limit", "r": "remaining", "t": "reset"}

_MAX_LIMIT = 10**9

_MAX_AGE_S = 7 * 24 * 3600.0
"""Seconds: the longest `age` of a cached answer that is believed."""

_QUOTA = re.compile(
    r"\b(\d{1,9})\s*req(?:uest)?s?\s*(?:/|per)\s*(\d{1,6})?\s*(second|minute|hour|day)s?\b", re.ASCII | re.IGNORECASE
)
_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 24 * 3600}


def read_limits(headers: Mapping[str, str], now_s: float) -> LimitReport:
    """Return the limits in `headers` (names in any case); `now_s` is the wall clock, used if `date` is missing.

    Times are relative to the server's `date`, so a wrong clock of this machine does not matter.
    """
    named = {name.lower(): value for name, value in headers.items()}
    server_now = http_date(named.get("date")) or now_s
    retry_after = retry_after_s(named, server_now)
    named |= _draft_fields(named.get("ratelimit", ""))
    for scheme in _SCHEMES:
        if f"{scheme}-remaining" in named or f"{scheme}-reset" in named:
            remaining = _number(named.get(f"{scheme}-remaining", ""))
            reset = seconds(named.get(f"{scheme}-reset"), server_now)
            # In the draft the policies follow the limit: `100, 100;w=60`.
            limit = _number(named.get(f"{scheme}-limit", "").partition(",")[0])
            return LimitReport(
                None if remaining is None else int(remaining),
                reset,
                retry_after,
                int(limit) if limit is not None and 1 <= limit <= _MAX_LIMIT else None,
            )
    return LimitReport(retry_after_s=retry_after)


def _draft_fields(value: str) -> dict[str, str]:
    """Return the numbers of one `ratelimit` header (`limit=100, remaining=0, reset=50`, `"day";r=0;t=50`) by name."""
    found = _DRAFT_FIELD.findall(value[:1000])
    return {f"ratelimit-{_DRAFT_NAMES.get(name, name)}": number for name, number in reversed(found)}


def reported_quota(message: str) -> Quota | None:
    """Return the quota in the message of a 429, as in "(100req/1day)"; None if there is none."""
    found = _QUOTA.search(message)
    if found is None:
        return None
    limit, window_s = int(found[1]), int(found[2] or 1) * _UNITS_S[found[3].lower()]
    # No API has a window longer than a day, and the window decides for how long requests may have to wait.
    return Quota(limit, window_s) if limit and 0 < window_s <= WINDOWS_S[-1] else None


def api_time_s(headers: Mapping[str, str]) -> float | None:
    """Return the server's time (whole Unix seconds) from `date` and, if cached, `age`; None without a date."""
    named = {name.lower(): value for name, value in headers.items()}
    date_s, age_s = http_date(named.get("date")), (_number(named["age"]) or 0.0) if "age" in named else 0.0
    return None if date_s is None else date_s + min(_MAX_AGE_S, max(0.0, age_s))


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
