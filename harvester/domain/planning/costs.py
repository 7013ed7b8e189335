"""What a question costs, and what it is worth.

A request that only asks whether tasks have finished is a question: a status call or a page of the list. All costs are
in requests. Each second for which a finished task waits costs the price of waiting, so a question pays as soon as the
expected waiting of all tasks in the answer costs as much as the request. The planner does not ask about a task that has
almost certainly finished: a retrieval costs as much as a question, and brings the result.
"""

TARGET_S = 15.0
"""Seconds that a finished task may wait on average, where the budget allows it; see `harvest.target_latency_s`."""

PRICE_AT_TARGET = 0.68
"""Requests that a second of waiting of one finished task is worth with TARGET_S and a spare budget."""

SPARE_S = 42.0
"""Seconds: with a backlog that the budget takes this long to retrieve, requests are half scarce."""

SCARCE_SHARE = 0.15
"""Share of the price that stays however scarce requests are: a task that nobody asks about is found too late."""

PATIENCE_S = 1200.0
"""Seconds: for a task of this age, waiting costs half as much, because it is a smaller share of the whole time."""

LEAST_WAIT_S = 0.03
"""Seconds of expected waiting below which a task is on no page, however cheap."""

IN_VIEW = 1000
"""Open tasks that the planner sees at a time. With more of them it looks at each more rarely, so that it sees all."""

SURE = 0.98
"""Probability of having finished above which asking first costs more, even at a fiftieth of a request."""

LIKELY = 0.5
"""Probability of having finished above which a single task's result is requested, below it its status."""


def scarcity(open_tasks: int, rate_per_s: float | None) -> float:
    """Return how scarce requests are, from 0 with nothing to retrieve or without a rate limit up to 1."""
    backlog_s = 0.0 if rate_per_s is None else open_tasks / rate_per_s
    return backlog_s / (SPARE_S + backlog_s)


def waiting_price(target_s: float, open_tasks: int, rate_per_s: float | None) -> float:
    """Return the requests that a second of waiting of one finished task is worth.

    If tasks finish evenly, and each question answers for those since the one before, the mean wait falls with the root
    of the price: so the price is inverse to the square of the target. `rate_per_s` is None without a rate limit.
    """
    share = SCARCE_SHARE + (1 - SCARCE_SHARE) * (1 - scarcity(open_tasks, rate_per_s))
    return PRICE_AT_TARGET * (TARGET_S / target_s) ** 2 * share


def least_wait_s(open_tasks: int) -> float:
    """Return the expected waiting (seconds) below which the planner postpones a task."""
    return LEAST_WAIT_S * max(1.0, open_tasks / IN_VIEW)


def patience(age_s: float) -> float:
    """Return the share of the price of waiting that counts for a task of that age."""
    return PATIENCE_S / (PATIENCE_S + age_s)
