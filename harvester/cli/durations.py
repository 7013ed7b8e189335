"""Times as people type them: `90s`, `30m`, `2h`, `1d`."""

import re

from harvester.domain.errors import UsageError

_UNITS_S = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII)


def parse_duration_s(text: str, option: str) -> float:
    """Return seconds; a bare number is seconds. Raises UsageError naming `option`."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS_S or float(match[1]) == 0:
        raise UsageError(f"{option} {text!a} is not a time.", remedy="Write it as 90s, 30m, 2h or 1d.")
    return float(match[1]) * _UNITS_S[match[2]]
