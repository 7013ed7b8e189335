"""The learned processing times, in words and as JSON."""

from collections import Counter
from typing import Any

from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.reports.formats import shown_duration

MAX_CLASSES = 3
"""Classes of models and lengths to show: those with most observations."""


def summary(times: ProcessingTimes) -> str:
    """Return in one line the learned processing times, or the assumed ones."""
    counts = Counter({key: sum(seen.finished) for key, seen in times.all_seen.items()})
    if counts[("", 0)] < 1:
        return f"{_median(times, None, 0)}: an assumption, nothing is learned yet"
    # Without any class, show the total.
    keys = [key for key, _ in counts.most_common() if key != ("", 0)][:MAX_CLASSES] or [("", 0)]
    shown = "; ".join(f"{_class(*key)}{_median(times, *key)}" for key in keys)
    return f"{shown}; learned from about {counts[('', 0)]:.0f} tasks"


def _class(model_name: str, minutes: int) -> str:
    length = f" up to {minutes} min" if minutes else ""
    return f"{model_name or 'any model'}{length} " if model_name or minutes else ""


def _median(times: ProcessingTimes, model_name: str | None, minutes: int) -> str:
    time = times.of(model_name, minutes * 60 or None)
    half, most = (shown_duration(time.age_of_chance_s(chance)) for chance in (0.5, 0.95))
    return f"half within {half}, 95 % within {most}"


def as_json(times: ProcessingTimes) -> list[dict[str, Any]]:
    """Return for each class of models and lengths its median and 95th percentile, in seconds."""
    shown = []
    for model_name, minutes in {("", 0): None, **times.all_seen}:
        time, seen = times.of(model_name, minutes * 60 or None), times.all_seen.get((model_name, minutes))
        shown.append(
            {
                "model_name": model_name or None,
                "up_to_minutes": minutes or None,
                "median_s": time.age_of_chance_s(0.5),
                "p95_s": time.age_of_chance_s(0.95),
                "learned_of_tasks": sum(seen.finished) if seen else 0.0,
            }
        )
    return shown
