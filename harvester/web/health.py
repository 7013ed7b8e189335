"""Whether the daemon lives and whether it can do its work, with reasons. Pure functions of what is known."""

from dataclasses import dataclass
from typing import Any

from harvester.domain.tasks.outcomes import Refused
from harvester.service.heartbeats import Heartbeats
from harvester.service.observer import LISTED
from harvester.service.room import SPACE

STUCK_AFTER_S = 300.0
"""A stage may wait behind others for a locked database, 30 s each, and then pause for 30 s; this is beyond that."""

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
    """Judge the stages. That the event loop turns is shown by answering at all.

    A full disk, a locked database or a refusing API is not a reason: a restart mends none of them.
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
    """Judge what the work needs: a database that can be written, and a key that was not refused."""
    # Without room nothing more is asked for, though what is under way can still be written.
    database = unwritable or conditions.get("database") or conditions.get(SPACE)
    key = "refused" if refusal is not None else "accepted" if is_proven else "not tried yet"
    reasons = [f"Database: {database}"] if database else []
    if refusal is not None:
        # Its code, not its message: that may repeat the key.
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
    """Return for each stage its state, how long it has been silent over its work, and when it last reported in."""
    return {name: _stage(beats, name, now) for name in sorted(beats.last)}


def _stage(beats: Heartbeats, name: str, now: float) -> dict[str, Any]:
    silent_s = beats.silent_s(name, now)
    state = "stuck" if silent_s > STUCK_AFTER_S else "idle" if beats.is_idle(name) else "working"
    return {"state": state, "silent_s": round(silent_s, 3), "last_seen_s_ago": round(now - beats.last[name], 3)}
