from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.aimd import (
    CUT,
    MIN_PER_MINUTE,
    REPEATED_WITHIN_S,
    SETTLE_S,
    UNLIMITED,
    AimdController,
    LearnedRate,
)

NOW = 5_000.0


@pytest.mark.parametrize(
    ("minutes", "rate"), [(-5, 70), (0, 70), (1, 75), (6, 100), (7, 130), (16, 400), (22, 580), (24, None)]
)
def test_a_rate_climbs_to_the_refused_one_and_from_there_faster_to_the_ceiling(
    minutes: float, rate: float | None
) -> None:
    learned = LearnedRate(70, NOW).at(NOW + 60 * minutes, 600)
    assert learned == (None if rate is None else pytest.approx(rate))


def test_without_a_ceiling_a_rate_ends_far_above_the_refused_one() -> None:
    learned = LearnedRate(70, NOW)
    rates = [learned.at(NOW + 60 * minutes, 0) for minutes in range(60)]
    assert None in rates
    assert max(rate for rate in rates if rate) < UNLIMITED * 100


@given(st.floats(1, 1e4), st.floats(0.1, 1e4), st.lists(st.floats(0, 1e5), min_size=2))
def test_a_rate_never_falls_by_itself_and_never_exceeds_the_ceiling(
    cut_to: float, ceiling: float, times: list[float]
) -> None:
    rates = [LearnedRate(cut_to, 0.0).at(now, ceiling) or ceiling for now in sorted(times)]
    assert all(earlier <= later * (1 + 1e-9) for earlier, later in pairwise(rates))
    assert max(rates) <= ceiling


def refuse(subject: AimdController, now: float, *, has_stated_wait: bool, present: float = 100) -> bool:
    return subject.throttled(has_stated_wait=has_stated_wait, present=present, until=now + 10, now=now)


def test_the_first_refusal_that_tells_how_long_to_wait_cuts_nothing() -> None:
    subject = AimdController()
    assert (refuse(subject, NOW, has_stated_wait=True), subject.learned) == (False, None)


def test_one_that_tells_nothing_cuts_to_seven_tenths_from_the_end_of_its_block_on() -> None:
    subject = AimdController()
    refuse(subject, NOW, has_stated_wait=False)
    assert subject.learned == LearnedRate(CUT * 100, NOW + 10)


@pytest.mark.parametrize(("after_s", "cuts"), [(11, True), (REPEATED_WITHIN_S, True), (REPEATED_WITHIN_S + 10, False)])
def test_a_repeated_refusal_cuts(after_s: float, *, cuts: bool) -> None:
    subject = AimdController()
    refuse(subject, NOW, has_stated_wait=True)
    assert refuse(subject, NOW + after_s, has_stated_wait=True) is cuts


def test_a_cut_is_given_the_chance_to_help() -> None:
    subject = AimdController()
    cuts = [refuse(subject, NOW, has_stated_wait=False), refuse(subject, NOW + 11, has_stated_wait=False)]
    subject.succeeded()
    cuts += [
        refuse(subject, NOW + 30, has_stated_wait=False),
        refuse(subject, NOW + 31 + SETTLE_S, has_stated_wait=False),
    ]
    assert cuts == [True, False, True, True]


def test_a_rate_is_not_cut_to_nothing() -> None:
    subject, present = AimdController(), 3.0
    for step in range(20):
        refuse(subject, NOW + step * SETTLE_S, has_stated_wait=False, present=present)
        assert subject.learned is not None
        present = subject.learned.per_minute
    assert present == MIN_PER_MINUTE
    assert CUT < 1
