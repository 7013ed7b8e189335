"""Formats numbers, sizes and times for people."""

from datetime import UTC, datetime

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")
_THOUSAND = 1000


def counted(number: int, noun: str) -> str:
    """Return `1 task` or `3 tasks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown_bytes(count: float) -> str:
    """Return `7.7 MB`: decimal units, as disks and networks count."""
    for unit in _BYTE_UNITS:
        if count < _THOUSAND or unit == _BYTE_UNITS[-1]:
            break
        count /= _THOUSAND
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def shown_duration(seconds: float) -> str:
    """Return `42 s`, `3 min 20 s`, `5 h 10 min` or `6 d 23 h`; the past as `2 h 5 min ago`."""
    if seconds < 0:
        return f"{shown_duration(-seconds)} ago"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    if whole < 86_400:
        return _two(whole, 3600, "h", 60, "min")
    return _two(whole, 86_400, "d", 3600, "h")


def shown_interval(seconds: float) -> str:
    """Return a duration that may be short: `0.1 s`, `7.5 s`, else as `shown_duration` does."""
    return f"{seconds:.2g} s" if seconds < 9.95 else shown_duration(seconds)


def shown_time(unix_ms: int | None) -> str:
    """Return a Unix time in milliseconds as `2026-05-04 13:02:11Z`; `-` for None."""
    if unix_ms is None:
        return "-"
    try:
        moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{unix_ms} ms"
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def _two(whole: int, large: int, large_unit: str, small: int, small_unit: str) -> str:
    rest = whole % large // small
    return f"{whole // large} {large_unit}" + (f" {rest} {small_unit}" if rest else "")
