"""Why results have no model, in words."""

from harvester.domain.tasks.model_gaps import ModelGaps
from harvester.reports.formats import counted


def shown_gaps(gaps: ModelGaps) -> str:
    """Return how many results have no model, and why."""
    new = gaps.results - gaps.asked
    reasons = [f"{new} not looked up yet"] if new else []
    reasons += [f"{gaps.asked} not named by the account's list"] if gaps.asked else []
    return f"{counted(gaps.results, 'result')} without a known model: {', '.join(reasons)}"
