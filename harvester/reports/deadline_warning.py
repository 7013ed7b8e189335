"""The warning when the request budget does not save every task: figures, and a remedy."""

import math

from harvester.domain.planning.feasibility import Feasibility

_UNITS = (("a minute", 60, 1.0), ("an hour", 3600, 10.0), ("a day", 86_400, 0.0))
"""Name, seconds, and the smallest number of requests for which the unit is used."""

_EXACT_BELOW = 100


def deadline_warning(feasibility: Feasibility) -> str | None:
    """Return one or two sentences on the expected loss and the rate that would avoid it; None without a loss."""
    if not feasibility.at_risk:
        return None
    lost = _of(feasibility.at_risk, feasibility.open_tasks)
    rate_per_s = feasibility.budget.rate_per_s
    if feasibility.at_risk <= feasibility.beyond_saving or rate_per_s is None:
        return f"{lost[0].upper()}{lost[1:]} will expire: {_why_no_rate_helps(feasibility)}."
    needed = shown_rate(feasibility.needed_per_s, round_up=True)
    are = "is" if needed.startswith("1 ") else "are"
    spared = f" to save all but {_about(feasibility.beyond_saving)}" if feasibility.beyond_saving else ""
    return f"At {shown_rate(rate_per_s)} {lost} will expire; {needed} {are} needed{spared}. {_remedy(feasibility)}"


def shown_rate(per_s: float, *, round_up: bool = False) -> str:
    """Return `50 requests a day`, in the unit that gives a short number; rounded up, it is never too small."""
    unit, seconds, _ = next(unit for unit in _UNITS if per_s * unit[1] >= unit[2])
    number = _shown_number(per_s * seconds, round_up=round_up)
    return f"{number} request{'' if number == '1' else 's'} {unit}"


def _why_no_rate_helps(feasibility: Feasibility) -> str:
    quota, first_loss_ms = feasibility.budget.balance, feasibility.first_loss_ms
    if quota is None or first_loss_ms is None or first_loss_ms > quota.renews_ms:
        return "the deadline is too near for a higher rate to help"
    left = "1 request is" if quota.left == 1 else f"{quota.left or 'no'} requests are"
    return f"{left} left until the quota is renewed"


def _remedy(feasibility: Feasibility) -> str:
    if not feasibility.budget.is_held_by_setting:
        return "The API allows no more: ask TwelveLabs for a larger plan."
    per_minute = feasibility.needed_per_s * 60
    digits = max(0, 1 - math.floor(math.log10(per_minute)))
    enough = math.ceil(per_minute * 10**digits) / 10**digits
    return (
        f"Raise rate.requests_per_minute to {enough:.10g} if your plan allows it; else ask TwelveLabs for a larger one."
    )


def _shown_number(value: float, *, round_up: bool) -> str:
    # One decimal for small numbers only.
    scale = 1 if value >= 10 else 10
    tenths = math.ceil(value * scale - 1e-6) if round_up else round(value * scale)
    return f"{max(tenths, 1) / scale:,.1f}".removesuffix(".0")


def _of(count: int, total: int) -> str:
    if count == total:
        return "the task" if total == 1 else f"all of these {total:,} tasks"
    rounded = _rounded(count)
    return f"about {rounded if rounded < total else count:,} of these {total:,} tasks"


def _about(count: int) -> str:
    return f"{count:,}" if count < _EXACT_BELOW else f"about {_rounded(count):,}"


def _rounded(count: int) -> int:
    """Round to a twentieth of the leading digit's unit, as a forecast is not exact: 1,666 to 1,650."""
    if count < _EXACT_BELOW:
        return count
    step = round(10.0 ** (len(str(count)) - 1) / 20)
    return round(count / step) * step
