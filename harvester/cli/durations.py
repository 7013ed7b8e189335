"""Times and moments in options: see `harvester.domain.moments`."""

from harvester.domain.errors import UsageError
from harvester.domain.moments import duration_s, moment_ms


def parse_duration_s(text: str, option: str) -> float:
    """Return seconds; a bare number is seconds. Raises UsageError naming `option`."""
    seconds = duration_s(text)
    if seconds is None:
        raise UsageError(f"{option} {text!a} is not a time.", remedy="Write it as 90s, 30m, 2h or 1d.")
    return seconds


def parse_moment_ms(text: str, option: str, now_ms: int) -> int:
    """Return Unix milliseconds; `7d` is seven days ago, and a date without a zone is UTC. Raises UsageError."""
    moment = moment_ms(text, now_ms)
    if moment is None:
        raise UsageError(
            f"{option} {text!a} is neither a time nor a date.", remedy="Write it as 12h, 7d or 2026-05-04T13:02:11Z."
        )
    return moment
