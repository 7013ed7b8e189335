"""The share of the rate limit that may go into questions, and how many questions a task may cost."""

from dataclasses import dataclass, field

from harvester.domain.limits.endpoint import Bucket, RateLimit
from harvester.domain.planning.costs import scarcity
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.outcomes import Failed, Outcome, Retrieved, Throttled

LEAST_SHARE = 0.2
"""Share of the budget that may go into questions where requests are scarce; the rest is for results."""

MOST_SHARE = 0.5
"""The same where the budget is spare."""

MAX_QUESTIONS = 16
"""Requests: the most questions in one plan."""

QUESTIONS_A_TASK = 3.0
"""Questions for each task on average, until the API has refused nothing for PROVEN_S: its quotas are not published."""

PROVEN_S = 86_400.0

FREE_QUESTIONS = 20.0
"""Questions beside QUESTIONS_A_TASK: a harvest of one task may need more."""

FREE_EVERY_S = 600.0
"""Seconds after which another question is free: tasks that take long are asked about in any case."""


@dataclass(slots=True)
class QuestionBudget:
    """Counts the questions that were sent, in a bucket with a share of the rate limit, and for each task.

    Times are monotonic seconds.
    """

    _bucket: Bucket = field(default_factory=lambda: Bucket(RateLimit(0)))
    _asked: float = 0.0
    _finished: int = 0
    _since: float | None = None
    """When the first question was sent, or the first after the last refusal."""

    def charge(self, now: float, cost: float) -> None:
        """Charge a request that is expected to bring no result with the probability `cost`."""
        self._bucket.take(now, cost)
        self._asked += cost
        self._since = now if self._since is None else self._since

    def record_outcome(self, outcome: Outcome) -> None:
        """Count a task that has ended, and begin anew to wait for PROVEN_S after a refusal."""
        if isinstance(outcome, Retrieved | Failed):
            self._finished += 1
        elif isinstance(outcome, Throttled):
            self._since = None

    def allowed(
        self, now: float, rate_per_s: float | None, strategy: Strategy = Strategy.AUTO, *, open_tasks: int = 0
    ) -> int:
        """Return the number of questions that may go out now; `rate_per_s` is None without a rate limit."""
        if strategy is not Strategy.AUTO:
            # The strategies `status` and `list` ask about each task first, so half of all requests are questions;
            # results still go first.
            return MAX_QUESTIONS
        left = max(0, int(self._left(now, open_tasks)))
        if rate_per_s is None:
            return min(MAX_QUESTIONS, left)
        share = MOST_SHARE - (MOST_SHARE - LEAST_SHARE) * scarcity(open_tasks, rate_per_s)
        per_s = rate_per_s * share
        bucket = self._bucket
        bucket.limit = RateLimit(per_s * 60, burst=max(1, int(per_s)))
        interval_s = bucket.limit.interval_s
        if not interval_s or bucket.arrival - now > bucket.limit.tolerance_s + interval_s:
            # The rate has risen since the last question: do not make the next one wait by the old rate.
            bucket.arrival = min(bucket.arrival, now + interval_s)
        ahead_s = now - bucket.ready_at()
        return 0 if ahead_s < 0 else min(MAX_QUESTIONS, left, bucket.limit.burst, 1 + int(ahead_s / interval_s))

    def _left(self, now: float, open_tasks: int) -> float:
        """Return how many questions are left of those for the tasks so far."""
        passed_s = 0.0 if self._since is None else now - self._since
        if passed_s >= PROVEN_S:
            return MAX_QUESTIONS
        allowed = QUESTIONS_A_TASK * (self._finished + open_tasks) + FREE_QUESTIONS + passed_s / FREE_EVERY_S
        return allowed - self._asked
