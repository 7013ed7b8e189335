"""Restore a pacer from the limits in the database, for programs that only read and send no requests."""

from harvester.domain.limits.aimd import LearnedRate
from harvester.domain.limits.endpoint import RateLimit, charge, reserve
from harvester.domain.limits.endpoint_state import EndpointState
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.shared_limits import EndpointLimits, LimitSnapshot


def recall(limit: RateLimit, known: LimitSnapshot, now_ms: int, *, arrival_ms: float = 0.0) -> Pacer:
    """Return a pacer with all known limits; its clock is Unix time in seconds.

    `arrival_ms` is the theoretical arrival time of the next request in the shared budget.
    """
    now = now_ms / 1000
    pacer = Pacer(limit)
    pacer.start_at(reserve(arrival_ms, now_ms, limit, 0)[0] / 1000)
    for endpoint, until_ms in known.blocks.items():
        pacer.block(endpoint, (until_ms - now_ms) / 1000, now)
    for endpoint, endpoint_limits in known.limits_by_endpoint.items():
        pacer.restore(endpoint, _state(endpoint_limits, now_ms), now)
    return pacer


def _state(endpoint_limits: EndpointLimits, now_ms: int) -> EndpointState:
    shared, rate = endpoint_limits.window, endpoint_limits.rate
    window = None if shared is None else shared.on_clock(now_ms / 1000, now_ms)
    if rate is None:
        return EndpointState(endpoint_limits.quota, window)
    arrival_ms, _ = charge(endpoint_limits.arrival_ms, now_ms, RateLimit(rate.per_minute), 0)
    return EndpointState(
        endpoint_limits.quota, window, LearnedRate(rate.per_minute, rate.at_ms / 1000), arrival_ms / 1000
    )
