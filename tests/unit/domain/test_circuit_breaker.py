import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.circuit_breaker import MAX_PAUSE_S, MIN_PAUSE_S, MIN_SAMPLE, WINDOW, Breaker

NOW = 1_000.0


def opened(now: float = NOW) -> Breaker:
    breaker = Breaker()
    for _ in range(MIN_SAMPLE):
        breaker.failed(now)
    return breaker


def test_a_closed_breaker_lets_any_number_of_requests_pass() -> None:
    assert Breaker().allows(in_flight=10_000, now=NOW)


def test_a_few_failures_at_the_start_do_not_open_it() -> None:
    breaker = Breaker()
    for _ in range(MIN_SAMPLE - 1):
        breaker.failed(NOW)
    assert breaker.is_closed


def test_it_opens_when_most_requests_fail() -> None:
    assert not opened().is_closed


def test_it_stays_closed_while_half_of_the_requests_succeed() -> None:
    breaker = Breaker()
    for _ in range(100):
        breaker.succeeded()
        breaker.failed(NOW)
    assert breaker.is_closed


def test_only_the_last_requests_count() -> None:
    breaker = Breaker()
    for _ in range(1_000):
        breaker.succeeded()
    for _ in range(WINDOW // 2 + 1):
        breaker.failed(NOW)
    assert not breaker.is_closed


def test_an_open_breaker_lets_nothing_pass() -> None:
    assert not opened().allows(in_flight=0, now=NOW + MIN_PAUSE_S - 0.001)


def test_it_says_how_long_to_wait() -> None:
    assert opened().wait_s(NOW + 0.25) == MIN_PAUSE_S - 0.25


@pytest.mark.parametrize(("in_flight", "allowed"), [(0, True), (1, False), (7, False)])
def test_after_the_pause_one_probe_passes_at_a_time(in_flight: int, *, allowed: bool) -> None:
    assert opened().allows(in_flight, NOW + MIN_PAUSE_S) == allowed


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.succeeded()
    assert (breaker.is_closed, breaker.wait_s(NOW), breaker.allows(99, NOW)) == (True, 0.0, True)


def test_what_failed_before_it_closed_does_not_open_it_again() -> None:
    breaker = opened()
    breaker.succeeded()
    breaker.failed(NOW)
    assert breaker.is_closed


def test_a_probe_that_fails_doubles_the_pause_up_to_a_minute() -> None:
    breaker, now, pauses = opened(), NOW, []
    for _ in range(9):
        pauses.append(breaker.wait_s(now))
        now += breaker.wait_s(now)
        breaker.failed(now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_stragglers_that_fail_during_the_pause_do_not_prolong_it() -> None:
    breaker = opened()
    for _ in range(50):
        breaker.failed(NOW + 0.5)
    assert breaker.wait_s(NOW + 0.5) == MIN_PAUSE_S - 0.5


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100))))
def test_whatever_happens_it_lets_a_probe_through_within_a_minute(steps: list[tuple[bool, float]]) -> None:
    breaker, now = Breaker(), NOW
    for success, pause in steps:
        now += pause
        if success:
            breaker.succeeded()
        else:
            breaker.failed(now)
        assert breaker.wait_s(now) <= MAX_PAUSE_S
        # Subtracting two times and adding them again is exact only up to rounding.
        assert breaker.allows(0, now + breaker.wait_s(now) + 1e-9)
