"""Conditions: lasting problems of a harvest, shown as long as they last."""

from harvester.ports.log import get_logger
from harvester.service.progress import Progress

log = get_logger()


def set_condition(progress: Progress, name: str, text: str | None) -> None:
    """Set a condition of `progress`, or end it with None; log when it begins and when it ends."""
    conditions = progress.conditions
    if text is None:
        if conditions.pop(name, None) is not None:
            log.info("recovered", what=name)
        return
    if name not in conditions:
        log.warning("degraded", what=name, why=text)
    conditions[name] = text
