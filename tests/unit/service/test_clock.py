"""The API's time: believed when several answers agree, kept through every jump of the wall clock."""

import time

import anyio
import pytest

from harvester.service.clock import ApiClock, SystemClock, skew_warning

NOW_S = 1_800_000_000
DAY_S = 86_400


class HandClock(SystemClock):
    """Both its clocks are set by hand; the API's time goes with the steady one."""

    def __init__(self) -> None:
        self.steady_s = 1000.0
        self.ahead_s = 0.0

    def wall_ms(self) -> int:
        return round((NOW_S + self.steady_s - 1000 + self.ahead_s) * 1000)

    def monotonic(self) -> float:
        return self.steady_s

    @property
    def api_s(self) -> int:
        """The API's `Date`: whole seconds."""
        return int(NOW_S + self.steady_s - 1000)


class Bench:
    def __init__(self, ahead_s: float = 0.0) -> None:
        self.hand = HandClock()
        self.hand.ahead_s = ahead_s
        self.said: list[str | None] = []
        self.clock = ApiClock(self.hand, self.said.append)

    def hear(self, *off_s: float) -> None:
        """Learn the API's time from an answer each second, each wrong by the given seconds."""
        for off in off_s:
            self.hand.steady_s += 1.0
            self.clock.learn(self.hand.api_s + off)

    def error_s(self) -> float:
        """Return by how much the clock is ahead of the API's."""
        return self.clock.wall_ms() / 1000 - self.hand.api_s


@pytest.mark.parametrize("ahead_s", [9 * DAY_S, -9 * DAY_S, -NOW_S, 61, -61, 40 * 365 * DAY_S])
def test_a_clock_that_is_wrong_is_corrected_once_three_answers_agree(ahead_s: float) -> None:
    bench = Bench(ahead_s)
    bench.hear(0, 0)
    assert bench.error_s() == ahead_s
    bench.hear(0)
    assert bench.error_s() == pytest.approx(0, abs=1)
    assert bench.said == [skew_warning(ahead_s)]


@pytest.mark.parametrize("ahead_s", [0.0, 59.0, -59.0])
def test_a_clock_that_is_nearly_right_is_left_alone(ahead_s: float) -> None:
    bench = Bench(ahead_s)
    bench.hear(*[0] * 5)
    assert bench.error_s() == ahead_s
    assert bench.said == []


@pytest.mark.parametrize("odd_s", [-DAY_S, 3600, 30 * 365 * DAY_S, -NOW_S])
def test_an_odd_date_among_good_ones_changes_nothing(odd_s: float) -> None:
    bench = Bench()
    bench.hear(odd_s, 0, 0, odd_s, 0, 0, 0, odd_s, 0)
    assert bench.error_s() == 0
    assert bench.said == []


@pytest.mark.parametrize("odd_s", [-DAY_S, 365 * DAY_S])
def test_one_answer_that_agrees_with_the_machine_outweighs_all_others(odd_s: float) -> None:
    bench = Bench()
    bench.hear(odd_s, odd_s, 0, odd_s, odd_s, 0, odd_s, odd_s, odd_s)
    assert bench.said == []
    bench.hear(odd_s, odd_s)
    assert bench.error_s() == pytest.approx(odd_s, abs=1)
    bench.hear(0)
    assert bench.error_s() == 0


def test_dates_that_contradict_each_other_are_not_believed() -> None:
    bench = Bench(DAY_S)
    bench.hear(0, 1000, 2000, 3000, 4000, 5000, 6000)
    assert bench.error_s() == DAY_S


def test_a_date_from_before_the_api_is_that_of_a_clock_which_was_never_set() -> None:
    bench = Bench()
    bench.hear(*[-NOW_S + 60] * 9)
    assert bench.error_s() == 0


@pytest.mark.parametrize("jump_s", [-10 * DAY_S, -3 * 3600, 10 * DAY_S, -NOW_S])
def test_once_the_api_time_is_known_a_wall_clock_that_jumps_changes_nothing(jump_s: float) -> None:
    bench = Bench()
    bench.hear(0, 0, 0)
    bench.hand.ahead_s += jump_s
    bench.hand.steady_s += 7200
    assert bench.error_s() == pytest.approx(0, abs=1)
    bench.hand.ahead_s = 0
    assert bench.error_s() == 0
    assert bench.said == [skew_warning(jump_s), None]


def test_a_corrected_clock_does_not_step_to_and_fro_where_it_is_a_minute_off() -> None:
    bench = Bench(61)
    bench.hear(0, 0, 0)
    readings = []
    for ahead_s in (59, 61, 58, 62, 40):
        bench.hand.ahead_s = ahead_s
        bench.hear(0)
        readings.append(bench.error_s())
    assert readings == pytest.approx([0] * 5, abs=1)
    assert len(bench.said) == 1


def test_the_apis_time_does_not_move_with_what_its_whole_seconds_leave_open() -> None:
    bench = Bench(DAY_S)
    bench.hear(0, 0, 0)
    before = [bench.clock.wall_ms() - round(bench.hand.steady_s * 1000)]
    bench.hear(-2, 1, -1, 2, 0)
    assert before == [bench.clock.wall_ms() - round(bench.hand.steady_s * 1000)]


@pytest.mark.parametrize(
    ("ahead_s", "text"),
    [
        (9 * DAY_S + 100, "9 days ahead of"),
        (-DAY_S, "1 day behind"),
        (-7300, "2 hours behind"),
        (86_399.6, "1 day ahead of"),
        (89, "1 minute ahead of"),
        (NOW_S, "20,833 days ahead of"),
    ],
)
def test_what_is_wrong_with_the_clock_is_said_in_the_unit_that_fits(ahead_s: float, text: str) -> None:
    assert text in skew_warning(ahead_s)


async def test_the_machines_clock_is_waited_by_and_never_jumps() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await ApiClock(clock).wait(anyio.Event(), 0.001)
    assert before < clock.monotonic() < before + 60
    assert abs(clock.wall_ms() - time.time_ns() // 1_000_000) < 60_000
