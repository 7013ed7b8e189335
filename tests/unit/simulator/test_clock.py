import pytest

from harvester.simulator import SimulatorClock


class Monotonic:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_clock_runs_as_fast_as_its_speed_says() -> None:
    source = Monotonic()
    clock = SimulatorClock(1_700_000_000, speed=60, monotonic=source)
    source.seconds += 2
    assert clock.now() == 1_700_000_120


def test_a_change_of_speed_counts_from_that_moment_on() -> None:
    source = Monotonic()
    clock = SimulatorClock(1_700_000_000, monotonic=source)
    source.seconds += 10
    clock.speed = 100
    source.seconds += 1
    assert clock.now() == 1_700_000_110


def test_a_stopped_clock_moves_only_when_it_is_advanced() -> None:
    source = Monotonic()
    clock = SimulatorClock(1_700_000_000, speed=0, monotonic=source)
    source.seconds += 5
    clock.advance(0.25)
    assert clock.now_ms() == 1_700_000_000_250


def test_a_clock_that_is_set_goes_on_from_there() -> None:
    source = Monotonic()
    clock = SimulatorClock(1_700_000_000, monotonic=source)
    source.seconds += 5
    clock.set(1_600_000_000)
    source.seconds += 1
    assert clock.now() == 1_600_000_001


@pytest.mark.parametrize("epoch", [-1.0, 2.0**32, float("nan"), float("inf")])
def test_a_time_that_no_object_id_can_carry_is_refused(epoch: float) -> None:
    with pytest.raises(ValueError, match="between 1970 and 2106"):
        SimulatorClock(epoch)


@pytest.mark.parametrize("speed", [-1.0, float("nan"), float("inf")])
def test_a_speed_that_no_clock_can_run_at_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed of 0 or more"):
        SimulatorClock(0, speed=speed)
