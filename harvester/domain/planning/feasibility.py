"""Compute whether the request budget serves every open task before its deadline, and which rate would.

Each task costs the same, so serving the nearest deadline first is optimal (Moore and Hodgson, 1968, for unit times): no
other order loses fewer tasks. Times are Unix milliseconds.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

REQUESTS_PER_TASK = 1.0
"""Requests: the least that a harvested task costs. With a tight budget the planner asks hardly any questions."""

REACTION_MS = 10 * 60 * 1000
"""Milliseconds: nearer deadlines do not raise the needed rate, because the user could not raise the limit in time."""

_ROUNDING = 1e-9

Deadlines = Sequence[tuple[int, int]]
"""Pairs of a deadline and the number of tasks that have it, the nearest deadline first."""


@dataclass(frozen=True, slots=True)
class QuotaBalance:
    """A quota from now on: `left` requests before `renews_ms`, and after that `limit` in each `window_ms`."""

    left: int
    renews_ms: int
    limit: int
    window_ms: int

    def renewed(self, at_ms: int) -> int:
        """Return the number of requests that the renewals before that time allow."""
        return max(0, math.ceil((at_ms - self.renews_ms) / self.window_ms)) * self.limit

    def renewed_ms(self, count: float) -> int:
        """Return when the renewals allow `count` requests, one at least."""
        return self.renews_ms + (max(1, math.ceil(count / self.limit)) - 1) * self.window_ms


@dataclass(frozen=True, slots=True)
class Budget:
    """The requests that may go out from `resumes_ms` on (None: now): `pace_per_s`, and at most the `balance`.

    `setting_per_s` is the configured ceiling; `pace_per_s` is lower if the API refused that rate. None: unlimited.
    """

    pace_per_s: float | None
    setting_per_s: float | None = None
    balance: QuotaBalance | None = None
    resumes_ms: int | None = None

    @property
    def rate_per_s(self) -> float | None:
        """The sustained rate in force, in requests per second; None: unlimited."""
        quota_per_s = None if self.balance is None else self.balance.limit / self.balance.window_ms * 1000
        return min((rate for rate in (self.pace_per_s, quota_per_s) if rate is not None), default=None)

    @property
    def is_held_by_setting(self) -> bool:
        """Whether the configured ceiling limits the rate, and not the API."""
        return self.setting_per_s is not None and (self.rate_per_s is None or self.rate_per_s >= self.setting_per_s)


@dataclass(frozen=True, slots=True)
class Feasibility:
    """The forecast for `open_tasks`; `overdue` of them are past their deadline and in no other number.

    `at_risk` tasks will not be served in time. `needed_per_s` is the smallest sustained rate (requests per second) that
    serves every task whose deadline leaves time to react; even at that rate `beyond_saving` tasks are lost.
    `finish_ms` is when every open task has been served, `first_loss_ms` the deadline of the first lost task.
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
    """Return which of the tasks with these `deadlines` the `budget` serves in time."""
    ahead = [(at_ms, count) for at_ms, count in deadlines if at_ms > now_ms]
    total = sum(count for _, count in deadlines)
    supply = _Supply(budget, now_ms, requests_per_task)
    needed_per_s = _needed_per_s(ahead, supply, reaction_ms)
    losses = list(_losses(ahead, supply.until))
    is_faster = budget.rate_per_s is None or budget.rate_per_s >= needed_per_s
    losses_at_needed = losses if is_faster else _losses(ahead, lambda at_ms: supply.until_at(at_ms, needed_per_s))
    return Feasibility(
        budget=budget,
        open_tasks=total,
        overdue=total - sum(count for _, count in ahead),
        at_risk=sum(count for _, count in losses),
        needed_per_s=needed_per_s,
        beyond_saving=sum(count for _, count in losses_at_needed),
        finish_ms=supply.finish_ms(total),
        first_loss_ms=losses[0][0] if losses else None,
    )


class _Supply:
    """The number of tasks that can be served until a time; the first one as soon as requests may go out."""

    def __init__(self, budget: Budget, now_ms: int, requests_per_task: float) -> None:
        self.start_ms = max(now_ms, budget.resumes_ms or now_ms)
        self._pace_per_s = budget.pace_per_s
        self._requests_per_task = requests_per_task
        self._quota = budget.balance
        self._renews_ms, self._left = self.start_ms, 0.0
        if self._quota is not None and self._quota.renews_ms > self.start_ms:
            self._renews_ms = self._quota.renews_ms
            # Requests that the pace leaves no time for are lost when the quota is renewed.
            self._left = min(self._quota.left, self._paced(self.start_ms, self._renews_ms, self._pace_per_s))

    def until(self, deadline_ms: int) -> float:
        """Return the number of tasks that this budget serves until the deadline."""
        if deadline_ms <= self.start_ms:
            return 0
        if self._quota is None:
            return self._tasks(self._paced(self.start_ms, deadline_ms, self._pace_per_s))
        if deadline_ms <= self._renews_ms:
            return self._tasks(min(self._left, self._paced(self.start_ms, deadline_ms, self._pace_per_s)))
        renewed = self._paced(self._renews_ms, deadline_ms, self._pace_per_s)
        return self._tasks(self._left + min(renewed, self._quota.renewed(deadline_ms)))

    def until_at(self, deadline_ms: int, rate_per_s: float) -> float:
        """Return the number of tasks at another sustained rate, in addition to what is left of the quota."""
        if deadline_ms <= self.start_ms:
            return 0
        return self._tasks(self._left + self._paced(self.start_ms, deadline_ms, rate_per_s))

    def rate_for(self, count: int, deadline_ms: int) -> float:
        """Return the requests per second that serve `count` tasks until a deadline after the start."""
        later = max(0.0, (count - 1) * self._requests_per_task - self._left)
        return later / (deadline_ms - self.start_ms) * 1000

    def finish_ms(self, count: int) -> int:
        """Return when `count` tasks have been served."""
        requests = count * self._requests_per_task - _ROUNDING
        if self._quota is None or requests <= self._left:
            return self._paced_ms(self.start_ms, requests)
        later = requests - self._left
        return max(self._paced_ms(self._renews_ms, later), self._quota.renewed_ms(later))

    def _paced(self, from_ms: int, until_ms: int, rate_per_s: float | None) -> float:
        """Return the number of requests at the rate; those of the first task go out at once."""
        seconds = (until_ms - from_ms) / 1000
        return math.inf if rate_per_s is None else self._requests_per_task + seconds * rate_per_s

    def _paced_ms(self, from_ms: int, requests: float) -> int:
        later = max(0.0, requests - self._requests_per_task)
        return from_ms + (0 if self._pace_per_s is None else round(later / self._pace_per_s * 1000))

    def _tasks(self, requests: float) -> float:
        return requests if requests == math.inf else int(requests / self._requests_per_task + _ROUNDING)


def _losses(deadlines: Deadlines, until: Callable[[int], float]) -> Iterable[tuple[int, int]]:
    """Yield each missed deadline and the number of tasks that miss it; a lost task takes no request."""
    served = 0
    for at_ms, count in deadlines:
        saved = max(0, int(min(count, until(at_ms) - served)))
        served += saved
        if saved < count:
            yield at_ms, count - saved


def _needed_per_s(deadlines: Deadlines, supply: _Supply, reaction_ms: int) -> float:
    served, needed_per_s = 0, 0.0
    for at_ms, count in deadlines:
        if at_ms - supply.start_ms >= max(1, reaction_ms):
            served += count
            needed_per_s = max(needed_per_s, supply.rate_for(served, at_ms))
    return needed_per_s
