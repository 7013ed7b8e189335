"""Times as the API writes and reads them: RFC 3339."""

import re
from datetime import UTC, datetime

# datetime.fromisoformat alone would let in week dates, missing zones and bare dates.
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def format_ms(unix_ms: int) -> str:
    """Write Unix milliseconds as `2024-09-26T10:29:19.968Z`."""
    seconds, milliseconds = divmod(unix_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def format_trimmed_ms(unix_ms: int) -> str:
    """Write Unix milliseconds without zeros at the end: `2026-11-08T09:14:40.02Z`, `2026-11-08T09:10:56Z`."""
    return (
        format_ms(unix_ms).removesuffix("Z").rstrip("0").rstrip(".") + "Z"
        if unix_ms % 1000
        else format_s(unix_ms // 1000)
    )


def format_s(epoch: int) -> str:
    """Write epoch seconds as `2024-09-26T10:29:19Z`."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"


def parse_ms(text: str) -> int:
    """Read an RFC 3339 date-time into Unix milliseconds; ValueError for anything else."""
    if not _DATE_TIME.fullmatch(text):
        raise ValueError(f"{text!a} is not an RFC 3339 date-time such as 2024-09-26T10:29:19Z.")
    return round(datetime.fromisoformat(text).timestamp() * 1000)
