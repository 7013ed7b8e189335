"""Times as people type them: `90s`, `30m`, `2h`, `1d`, and moments: those ago, or `2026-05-04T13:02:11Z`."""

import re
from datetime import UTC, datetime

from harvester.domain.errors import UsageError

_UNITS_S = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII)


def parse_duration_s(text: str, option: str) -> float:
    """Return seconds; a bare number is seconds. Raises UsageError naming `option`."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS_S or float(match[1]) == 0:
        raise UsageError(f"{option} {text!a} is not a time.", remedy="Write it as 90s, 30m, 2h or 1d.")
    return float(match[1]) * _UNITS_S[match[2]]


def parse_moment_ms(text: str, option: str, now_ms: int) -> int:
    """Return Unix milliseconds; `7d` is seven days ago, and a date without a zone is UTC. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return max(0, now_ms - round(parse_duration_s(text, option) * 1000))
        except UsageError:
            raise UsageError(
                f"{option} {text!a} is neither a time nor a date.",
                remedy="Write it as 12h, 7d or 2026-05-04T13:02:11Z.",
            ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
