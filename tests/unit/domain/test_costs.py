import pytest

from harvester.domain.planning.costs import (
    IN_VIEW,
    PATIENCE_S,
    SCARCE_SHARE,
    SPARE_S,
    TARGET_S,
    least_wait_s,
    patience,
    scarcity,
    waiting_price,
)


def test_a_backlog_lowers_the_price_of_waiting() -> None:
    spare = waiting_price(TARGET_S, 0, 1.0)
    assert waiting_price(TARGET_S, round(SPARE_S), 1.0) == pytest.approx(spare * (1 + SCARCE_SHARE) / 2)
    assert waiting_price(TARGET_S, 2_000, 50 / 86_400) == pytest.approx(spare * SCARCE_SHARE, rel=1e-3)
    assert waiting_price(TARGET_S, 2_000, None) == spare


def test_half_the_target_costs_four_times_as_much() -> None:
    assert waiting_price(TARGET_S / 2, 10, 1.0) == pytest.approx(4 * waiting_price(TARGET_S, 10, 1.0))


def test_scarcity_lies_between_nothing_to_do_and_never_done() -> None:
    assert scarcity(0, 1.0) == 0.0
    assert 0.99 < scarcity(2_000, 50 / 86_400) < 1.0


def test_a_task_that_takes_long_may_wait_longer() -> None:
    assert patience(0.0) == 1.0
    assert patience(PATIENCE_S) == 0.5


def test_with_more_tasks_than_are_seen_each_is_looked_at_more_rarely() -> None:
    assert least_wait_s(IN_VIEW) == least_wait_s(1)
    assert least_wait_s(5 * IN_VIEW) == pytest.approx(5 * least_wait_s(1))
