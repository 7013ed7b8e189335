"""Decides whether the daemon is alive and whether it can work, with reasons. Pure functions."""

from dataclasses import dataclass
from typing import Any

from harvester.domain.tasks.outcomes import Refused
from harvester.service.disk_space import SPACE
from harvester.service.heartbeats import Heartbeats
from harvester.service.observer import LISTED

STUCK_AFTER_S = 300.0
"""Seconds without a report after which a stage is stuck: longer than its waits for a locked database and its pauses."""

KEY_PROVING = frozenset(
    {"ready", "retrieved", "processing", "failed", "gone", "empty", "unacceptable", "invalid", LISTED}
)
"""Outcomes that the API gives only to a key that it accepts. A 429 or a proxy's 502 proves nothing."""


@dataclass(frozen=True, slots=True)
class Health:
    """A verdict and the page that explains it."""

    is_well: bool
    page: dict[str, Any]


def liveness(beats: Heartbeats, now: float) -> Health:
    """Judge the stages; the answer itself shows that the event loop runs.

    A full disk, a locked database or a refused key is no reason here: a restart fixes none of them.
    """
    stages = stages_as_json(beats, now)
    reasons = [
        f"The stage {name} has not reported in for {stage['silent_s']:.0f} s."
        for name, stage in stages.items()
        if stage["state"] == "stuck"
    ]
    return Health(not reasons, {"status": "stuck" if reasons else "ok", "reasons": reasons, "stages": stages})


def readiness(
    unwritable: str | None, conditions: dict[str, str], refusal: Refused | None, *, is_proven: bool
) -> Health:
    """Judge whether the daemon can work: it needs a writable database, and a key that was not refused."""
    # Without space the harvest sends no more requests, though results under way can still be written.
    database = unwritable or conditions.get("database") or conditions.get(SPACE)
    key = "refused" if refusal is not None else "accepted" if is_proven else "not tried yet"
    reasons = [f"Database: {database}"] if database else []
    if refusal is not None:
        # The code, because the message may repeat the key.
        reasons.append(f"The API refuses the key ({refusal.code}).")
    page = {
        "status": "not ready" if reasons else "ready",
        "reasons": reasons,
        "database": "not writable" if database else "writable",
        "key": key,
        "conditions": dict(conditions),
    }
    return Health(not reasons, page)


def stages_as_json(beats: Heartbeats, now: float) -> dict[str, dict[str, Any]]:
    """Return for each stage its state, for how long it has worked without a report, and when it last reported."""
    return {name: _stage(beats, name, now) for name in sorted(beats.last)}


def _stage(beats: Heartbeats, name: str, now: float) -> dict[str, Any]:
    silent_s = beats.silent_s(name, now)
    state = "stuck" if silent_s > STUCK_AFTER_S else "idle" if beats.is_idle(name) else "working"
    return {"state": state, "silent_s": round(silent_s, 3), "last_seen_s_ago": round(now - beats.last[name], 3)}
