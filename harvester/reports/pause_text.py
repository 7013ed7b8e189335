"""Words about a pause."""

from harvester.domain.limits.pause import Pause
from harvester.reports.formats import shown_time

RESUME = "`harvester resume` ends the pause"


def pause_times(pause: Pause) -> str:
    """Return `since 2026-05-04 13:02:11Z until 2026-05-04 15:02:11Z`, or when it began alone."""
    end = "" if pause.until_ms is None else f" until {shown_time(pause.until_ms)}"
    return f"since {shown_time(pause.since_ms)}{end}"


def pause_json(pause: Pause | None) -> dict[str, int | None] | None:
    """Return the times of the pause as a JSON object; None without one."""
    return None if pause is None else {"since_ms": pause.since_ms, "until_ms": pause.until_ms}
