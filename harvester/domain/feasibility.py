"""Whether the request budget saves every open task before its deadline, and what it would take.

Each task costs the same, so serving the nearest deadline first is optimal (Moore and Hodgson, 1968, for unit times):
what that order loses, every order loses. Times are Unix milliseconds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harvester.domain.pacing import RateLimit

REQUESTS_PER_TASK = 1.0
"""What a harvested task costs at least. When the budget is tight hardly anything is spent on questions."""

REACTION_MS = 10 * 60 * 1000
"""A rate that saves what is dropped sooner would be an absurd one, and nobody could raise it in time."""

_ROUNDING = 1e-9

Deadlines = Sequence[tuple[int, int]]
"""How many tasks have which deadline, the nearest first."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The requests that may go out: `left` of them at once, and `rate_per_s` from `resumes_ms` on, or from now.

    `rate_per_s` is the rate in force and `setting_per_s` the configured ceiling; None is unlimited.
    """

    rate_per_s: float | None
    setting_per_s: float | None = None
    left: int = 0
    resumes_ms: int | None = None

    @property
    def is_held_by_setting(self) -> bool:
        """Whether it is the configured ceiling that limits the rate, and not the API."""
        return self.setting_per_s is not None and (self.rate_per_s is None or self.rate_per_s >= self.setting_per_s)


def configured_budget(limit: RateLimit, resumes_ms: int | None = None) -> Budget:
    """Return what the configured `limit` allows where the API is not known to allow less."""
    rate_per_s = limit.requests_per_minute / 60 or None
    return Budget(rate_per_s=rate_per_s, setting_per_s=rate_per_s, resumes_ms=resumes_ms)


@dataclass(frozen=True, slots=True)
class Feasibility:
    """What becomes of `open_tasks`, of which `overdue` are past their deadline and counted nowhere else.

    `at_risk` tasks will not be served in time. `needed_per_s` is the smallest sustained rate that has room for
    every task whose deadline leaves time to act; at that rate `beyond_saving` tasks are lost all the same.
    `finish_ms` is when every open task has been asked about, `first_loss_ms` the deadline of the first that is lost.
    """

    budget: Budget
    open_tasks: int
    overdue: int
    at_risk: int
    needed_per_s: float
    beyond_saving: int
    finish_ms: int
    first_loss_ms: int | None


def assess(
    deadlines: Deadlines,
    now_ms: int,
    budget: Budget,
    *,
    requests_per_task: float = REQUESTS_PER_TASK,
    reaction_ms: int = REACTION_MS,
) -> Feasibility:
    """Return what `budget` makes of tasks with these `deadlines`."""
    ahead = [(at_ms, count) for at_ms, count in deadlines if at_ms > now_ms]
    total = sum(count for _, count in deadlines)
    supply = _Supply(budget, now_ms, requests_per_task)
    needed_per_s = _needed_per_s(ahead, supply, reaction_ms)
    losses = list(_losses(ahead, supply, budget.rate_per_s))
    is_faster = budget.rate_per_s is None or budget.rate_per_s >= needed_per_s
    losses_at_needed = losses if is_faster else _losses(ahead, supply, needed_per_s)
    return Feasibility(
        budget=budget,
        open_tasks=total,
        overdue=total - sum(count for _, count in ahead),
        at_risk=sum(count for _, count in losses),
        needed_per_s=needed_per_s,
        beyond_saving=sum(count for _, count in losses_at_needed),
        finish_ms=supply.finish_ms(total, budget.rate_per_s),
        first_loss_ms=losses[0][0] if losses else None,
    )


class _Supply:
    """How many tasks can be served until when, at any rate; the first is served as soon as requests may go out."""

    def __init__(self, budget: Budget, now_ms: int, requests_per_task: float) -> None:
        self.at_once = int(budget.left / requests_per_task + _ROUNDING)
        self.start_ms = max(now_ms, budget.resumes_ms or now_ms)
        self._requests_per_task = requests_per_task

    def until(self, deadline_ms: int, rate_per_s: float | None) -> float:
        """Return how many tasks can be served until the deadline."""
        if deadline_ms <= self.start_ms:
            return self.at_once
        if rate_per_s is None:
            return math.inf
        seconds = (deadline_ms - self.start_ms) / 1000
        return self.at_once + 1 + int(seconds * rate_per_s / self._requests_per_task + _ROUNDING)

    def rate_for(self, count: int, deadline_ms: int) -> float:
        """Return the rate that serves `count` tasks until a deadline after the start."""
        later = max(0, count - self.at_once - 1)
        return later * self._requests_per_task / (deadline_ms - self.start_ms) * 1000

    def finish_ms(self, count: int, rate_per_s: float | None) -> int:
        """Return when `count` tasks have been served."""
        later = max(0, count - self.at_once - 1)
        waits_ms = later * self._requests_per_task / rate_per_s * 1000 if rate_per_s is not None else 0
        return self.start_ms + round(waits_ms)


def _losses(deadlines: Deadlines, supply: _Supply, rate_per_s: float | None) -> Iterable[tuple[int, int]]:
    """Yield the deadlines that some tasks miss, and how many; no request goes to a task that is lost."""
    served = 0
    for at_ms, count in deadlines:
        saved = int(min(count, supply.until(at_ms, rate_per_s) - served))
        served += saved
        if saved < count:
            yield at_ms, count - saved


def _needed_per_s(deadlines: Deadlines, supply: _Supply, reaction_ms: int) -> float:
    served, needed_per_s = 0, 0.0
    for at_ms, count in deadlines:
        if at_ms <= supply.start_ms:
            served = min(served + count, supply.at_once)
        elif at_ms - supply.start_ms >= reaction_ms:
            served += count
            needed_per_s = max(needed_per_s, supply.rate_for(served, at_ms))
    return needed_per_s
