"""The share of the rate limit that may go into questions."""

from dataclasses import dataclass, field

from harvester.domain.limits.endpoint import Bucket, RateLimit
from harvester.domain.planning.strategy import Strategy

QUESTION_SHARE = 0.2
"""Share of the budget that may go into questions; the rest is for results."""

MAX_QUESTIONS = 16
"""Requests: the most questions in one plan."""


@dataclass(slots=True)
class QuestionBudget:
    """Counts the questions that were sent, in a bucket with QUESTION_SHARE of the rate limit.

    Times are monotonic seconds.
    """

    _bucket: Bucket = field(default_factory=lambda: Bucket(RateLimit(0)))

    def charge(self, now: float, cost: float) -> None:
        """Charge a request that is expected to bring no result with the probability `cost`."""
        self._bucket.take(now, cost)

    def allowed(self, now: float, rate_per_s: float | None, strategy: Strategy = Strategy.AUTO) -> int:
        """Return the number of questions that may go out now; `rate_per_s` is None without a rate limit."""
        if rate_per_s is None or strategy is not Strategy.AUTO:
            # The strategies `status` and `list` ask about each task first, so half of all requests are questions;
            # results still go first.
            return MAX_QUESTIONS
        per_s = rate_per_s * QUESTION_SHARE
        bucket = self._bucket
        bucket.limit = RateLimit(per_s * 60, burst=max(1, int(per_s)))
        interval_s = bucket.limit.interval_s
        if not interval_s or bucket.arrival - now > bucket.limit.tolerance_s + interval_s:
            # The rate has risen since the last question: do not make the next one wait by the old rate.
            bucket.arrival = min(bucket.arrival, now + interval_s)
        ahead_s = now - bucket.ready_at()
        return 0 if ahead_s < 0 else min(MAX_QUESTIONS, bucket.limit.burst, 1 + int(ahead_s / interval_s))
