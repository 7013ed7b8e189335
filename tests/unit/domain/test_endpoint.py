import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.endpoint import RateLimit, is_to_be_leased, reserve

START_MS = 1_760_000_000_000


@given(
    rate=st.floats(0.1, 6000),
    burst=st.integers(1, 500),
    counts=st.lists(st.integers(1, 16), min_size=1, max_size=50),
    pauses=st.lists(st.floats(0, 5000), min_size=50, max_size=50),
)
def test_leases_never_overlap(rate: float, burst: int, counts: list[int], pauses: list[float]) -> None:
    limit, arrival, now = RateLimit(rate, burst), 0.0, float(START_MS)
    for most, pause in zip(counts, pauses, strict=False):
        now += pause
        count = max(1, min(most, int(rate / 60)))
        if not is_to_be_leased(max(arrival, now), now, limit):
            continue
        taken_until = arrival
        start, arrival = reserve(arrival, now, limit, count)
        assert start >= max(taken_until, now)
        assert arrival == pytest.approx(start + count * limit.interval_s * 1000)
