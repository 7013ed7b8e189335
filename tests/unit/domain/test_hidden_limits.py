"""Under limits that no header states a pacer gets few refusals, and sends most of what the server would accept."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.limits.pacer import Pacer
from tests.support.thorough import examples
from tests.unit.domain.hidden_limits import BucketServer, Server, WindowServer, run

RETRIEVE = Endpoint.RETRIEVE

SERVERS: dict[str, Callable[[int], Server]] = {
    "window": WindowServer,
    "window that says when": lambda limit: WindowServer(limit, tells="retry-after"),
    "bucket": BucketServer,
}


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("hidden", [8, 30])
@pytest.mark.parametrize("configured", [0, 60, 600])
def test_a_storm_of_429s_converges(kind: str, hidden: int, configured: int) -> None:
    sends = run(Pacer(RateLimit(configured)), SERVERS[kind](hidden), 3600)
    # The first minutes are for learning; then a few refusals an hour are what it costs to notice a higher limit.
    assert sends.refused_in(0, 900) <= 60
    assert sends.refused_in(900, 3600) <= 40
    assert sends.passed_in(900, 3600) >= 0.8 * hidden * 45


@pytest.mark.parametrize("hidden", [1, 2, 8, 30, 600])
@pytest.mark.parametrize("configured", [0, 60, 3000])
def test_a_server_that_tells_what_is_left_has_to_refuse_at_most_in_its_first_window(
    hidden: int, configured: int
) -> None:
    sends = run(Pacer(RateLimit(configured)), WindowServer(hidden, tells="all"), 1800)
    assert sends.refused_in(0, 60) <= 7
    assert sends.refused_in(60, 1800) == 0
    assert sends.passed_in(60, 1800) >= 0.9 * 29 * min(hidden, configured or hidden)


def test_a_quota_of_a_day_is_used_early_and_its_last_tenth_slowly() -> None:
    sends = run(Pacer(RateLimit(60)), WindowServer(100, window_s=86_400, tells="all"), 86_400)
    assert (len(sends.passed), sends.refused) == (100, [])
    assert sends.passed[85] < 120
    assert sends.passed[99] > 70_000


def test_a_limit_that_ends_is_forgotten() -> None:
    subject = Pacer(RateLimit(60))
    run(subject, BucketServer(10), 600)
    sends = run(subject, BucketServer(1e6), 3600, now=600)
    assert sends.passed_in(3600, 4200) >= 590
    assert subject.budget(RETRIEVE, 4200.0).learned_per_minute is None


@examples(20)
@given(
    configured=st.floats(5, 300),
    hidden=st.integers(1, 100),
    tells=st.sampled_from(["nothing", "retry-after", "all"]),
    concurrency=st.integers(1, 16),
    latency_s=st.floats(0.05, 5),
)
def test_the_total_rate_is_never_exceeded(
    configured: float, hidden: int, tells: str, concurrency: int, latency_s: float
) -> None:
    server = WindowServer(hidden, tells=tells)
    sends = run(Pacer(RateLimit(configured)), server, 600, concurrency=concurrency, latency_s=latency_s)
    arrived = sorted(sends.passed + sends.refused)
    assert max(sum(start <= at < start + 60 for at in arrived) for start in arrived) <= configured + 1
