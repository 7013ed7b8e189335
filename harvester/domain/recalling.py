"""The limits in force as the database remembers them: for whoever only looks, sends nothing and asks no process."""

from dataclasses import replace

from harvester.domain.adapting import LearnedRate
from harvester.domain.feasibility import Budget, configured_budget
from harvester.domain.lessons import KnownLimits
from harvester.domain.pacer import Pacer
from harvester.domain.pacing import Endpoint, RateLimit, reserve


def recall(
    limit: RateLimit, known: KnownLimits, now_ms: int, *, arrival_ms: float = 0.0, has_status_call: bool = True
) -> Pacer:
    """Return a pacer on Unix time, in seconds, that goes by all that is known.

    `arrival_ms` is the theoretical arrival time of the next request in the budget that processes share.
    """
    now = now_ms / 1000
    pacer = Pacer(limit, has_status_call=has_status_call)
    pacer.bucket.arrival = reserve(arrival_ms, now_ms, limit, 0)[0] / 1000
    for endpoint, until_ms in known.blocks.items():
        pacer.block(endpoint, (until_ms - now_ms) / 1000, now)
    for endpoint, lesson in known.lessons.items():
        pace = pacer.paces.get(endpoint)
        if pace is None:
            continue
        pace.quota = lesson.quota
        if lesson.rate is not None:
            pace.adapting.adopt(LearnedRate(lesson.rate.per_minute, lesson.rate.at_ms / 1000), now)
            pace.arrival = reserve(lesson.arrival_ms, now_ms, RateLimit(lesson.rate.per_minute), 0)[0] / 1000
    return pacer


def recalled_budget(pacer: Pacer, now_ms: int) -> Budget:
    """Return what may be spent from now on on results: nothing is saved without a retrieval."""
    now = now_ms / 1000
    resumes_ms = now_ms + round(pacer.wait_s(Endpoint.RETRIEVE, now) * 1000)
    return replace(configured_budget(pacer.limit, resumes_ms), rate_per_s=pacer.rate_per_s(now))
