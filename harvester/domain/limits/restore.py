"""The limits in force as the database remembers them: for whoever only looks, sends nothing and asks no process."""

from harvester.domain.limits.aimd import LearnedRate
from harvester.domain.limits.endpoint import RateLimit, charge, reserve
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.quotas import Sending
from harvester.domain.limits.shared_limits import KnownLimits


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
        if pace.quota is not None and lesson.window is not None:
            told = Sending(lesson.window.at_ms / 1000, 0)
            pace.window.note(pace.quota.limit, lesson.window.remaining, lesson.window.ends_ms / 1000, told)
        if lesson.rate is not None:
            pace.adapting.adopt(LearnedRate(lesson.rate.per_minute, lesson.rate.at_ms / 1000), now)
            pace.arrival = charge(lesson.arrival_ms, now_ms, RateLimit(lesson.rate.per_minute), 0)[0] / 1000
    return pacer
