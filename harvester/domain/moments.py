"""Times as people type them: `90s`, `30m`, `2h`, `1d`, and moments: those ago, or `2026-05-04T13:02:11Z`."""

import math
import re
from datetime import UTC, datetime

_UNITS_S = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII)


def duration_s(text: str) -> float | None:
    """Return seconds, more than 0; a bare number is seconds. None for a text that is no time."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS_S:
        return None
    seconds = float(match[1]) * _UNITS_S[match[2]]
    return seconds if 0 < seconds < math.inf else None


def moment_ms(text: str, now_ms: int) -> int | None:
    """Return Unix milliseconds; `7d` is seven days ago. None for a text that is neither a time nor a date."""
    try:
        return datetime_ms(datetime.fromisoformat(text.strip()))
    except ValueError:
        seconds = duration_s(text)
        return None if seconds is None else max(0, now_ms - round(seconds * 1000))


def datetime_ms(moment: datetime) -> int:
    """Return Unix milliseconds; a moment without a zone is UTC."""
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
