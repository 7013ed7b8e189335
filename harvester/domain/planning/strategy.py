"""The strategy by which the planner finds out which tasks are ready."""

from enum import StrEnum

from harvester.domain.tasks.task import RETENTION_MS


class Strategy(StrEnum):
    """How the planner finds out which tasks are ready."""

    AUTO = "auto"
    STATUS = "status"
    LIST = "list"


def affordable_strategy(strategy: Strategy, open_tasks: int, rate_per_s: float | None) -> Strategy:
    """Return the strategy, or `auto` if the budget is too small for it.

    The strategies `status` and `list` take two requests a task. If these take more than half of the time for which the
    platform keeps results, the last results would come too late.
    """
    asked_first_s = 0.0 if rate_per_s is None else 2 * open_tasks / rate_per_s
    return strategy if asked_first_s <= RETENTION_MS / 1000 / 2 else Strategy.AUTO
