"""What a question costs, and what it is worth.

A request that only asks whether tasks have finished is a question: a status call or a page of the list. All costs are
in requests. Each second for which a finished task waits costs WAIT_PRICE requests, so a question pays as soon as the
expected waiting of all tasks in the answer costs as much as the request. The planner does not ask about a task that has
almost certainly finished: a retrieval costs as much as a question, and brings the result.
"""

WAIT_PRICE = 0.12
"""Requests that a second of waiting of one finished task is worth."""

SURE = 0.98
"""Probability of having finished above which asking first costs more, even at a fiftieth of a request."""

LIKELY = 0.5
"""Probability of having finished above which a single task's result is requested, below it its status."""

LEAST_WAIT_S = 1 / (50 * WAIT_PRICE)
"""Seconds of expected waiting below which not even a full page of such tasks is worth its request."""
