import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.planning.processing_time import (
    CLASSES,
    EDGES_S,
    MAX_AGE_S,
    MAX_EVENTS,
    PRIOR,
    PRIOR_MEDIAN_S,
    PRIOR_SHARE,
    PRIOR_SPREAD,
    LifeTable,
    Observation,
    ProcessingTime,
    ProcessingTimes,
    length_class,
)

WEEK_S = 7 * 86_400.0

ages = st.floats(0, WEEK_S)


def median_of(distribution: ProcessingTime) -> float:
    age_s = 1.0
    while distribution.chance(age_s) < 0.5:
        age_s *= 1.01
    return age_s


def watch(times: ProcessingTimes, *, median_s: float, every_s: float, until_s: float, tasks: int = 400) -> None:
    """Ask about tasks repeatedly, as a harvest does that is stopped before all have finished."""
    rng = random.Random(7)
    for _ in range(tasks):
        takes_s, seen_s = median_s * rng.lognormvariate(0, 0.8), 0.0
        while seen_s < until_s:
            now_s = seen_s + every_s
            times.observe("marengo3.0", 600, seen_s, now_s, is_finished=takes_s <= now_s)
            if takes_s <= now_s:
                break
            seen_s = now_s


def watch_one(times: ProcessingTimes, model_name: str, duration_s: float | None, takes_s: float) -> None:
    times.observe(model_name, duration_s, 0, 0.9 * takes_s, is_finished=False)
    times.observe(model_name, duration_s, 0.9 * takes_s, takes_s, is_finished=True)


def test_the_prior_is_the_distribution_that_its_constants_say() -> None:
    assert PRIOR.chance(PRIOR_MEDIAN_S) == pytest.approx(0.5, abs=0.01)
    one_spread_later = 0.8413
    assert PRIOR.chance(PRIOR_MEDIAN_S * math.exp(PRIOR_SPREAD)) == pytest.approx(one_spread_later, abs=0.01)


def test_the_prior_of_a_known_length_is_a_share_of_it() -> None:
    of_four_minutes, of_an_hour = (ProcessingTimes().of(None, duration_s) for duration_s in (240.0, 3600.0))
    assert of_four_minutes.chance(PRIOR_SHARE * 240) == pytest.approx(0.5, abs=0.02)
    assert of_four_minutes.chance(12.0) > 0.2
    assert of_an_hour.chance(12.0) < 0.03


@given(ages, ages)
def test_a_chance_is_a_probability_that_grows_with_age(one: float, other: float) -> None:
    young, old = sorted((one, other))
    assert 0 <= PRIOR.chance(young) <= PRIOR.chance(old) <= 1
    assert PRIOR.chance(young, old) == 0


@given(st.floats(0, 10_000), st.floats(1, 10_000))
def test_the_expected_wait_is_the_integral_of_the_chance(unfinished_s: float, length_s: float) -> None:
    steps = 400
    width_s = length_s / steps
    middles = (unfinished_s + width_s * (number + 0.5) for number in range(steps))
    area = sum(PRIOR.chance(age_s, unfinished_s) for age_s in middles) * width_s
    assert PRIOR.expected_wait_s(unfinished_s + length_s, unfinished_s) == pytest.approx(area, rel=1e-2, abs=1e-3)


@given(st.floats(0.01, 1000), ages)
def test_at_the_age_of_a_wait_so_much_waiting_is_expected(wait_s: float, unfinished_s: float) -> None:
    age_s = PRIOR.age_of_wait_s(wait_s, unfinished_s)
    step_s = age_s - unfinished_s
    assert PRIOR.expected_wait_s(age_s, unfinished_s) >= wait_s * (1 - 1e-6)
    assert PRIOR.expected_wait_s(age_s - max(1.0, step_s / 50), unfinished_s) <= wait_s * (1 + 1e-6)


@given(ages, st.floats(0.1, WEEK_S), st.booleans())
def test_a_look_counts_one_task_at_most_and_no_longer_than_it_took(after_s: float, length_s: float, end: bool) -> None:  # noqa: FBT001
    observations = PRIOR.observations(after_s, after_s + length_s, is_finished=end)
    exposure_s = sum(observation.exposure_s for observation in observations)
    assert sum(observation.finished for observation in observations) == pytest.approx(1.0 if end else 0.0)
    assert exposure_s <= length_s * (1 + 1e-9) if end else exposure_s == pytest.approx(length_s)
    assert all(observation.finished >= 0 and observation.exposure_s >= 0 for observation in observations)


@pytest.mark.parametrize("median_s", [30.0, 300.0, 3000.0])
def test_the_median_is_learned_from_looks(median_s: float) -> None:
    times = ProcessingTimes()
    watch(times, median_s=median_s, every_s=median_s / 5, until_s=20 * median_s)
    assert median_of(times.of("marengo3.0", 600)) == pytest.approx(median_s, rel=0.15)


def test_tasks_that_have_not_finished_count_too() -> None:
    """In a third of the median only the fast tasks finish: the platform is not as fast as these."""
    times = ProcessingTimes()
    watch(times, median_s=3000, every_s=100, until_s=1000)
    assert times.of("marengo3.0", 600).chance(1000) == pytest.approx(0.085, abs=0.04)


def test_what_is_known_of_one_model_is_a_beginning_for_another_and_its_own_then_overrules_it() -> None:
    times = ProcessingTimes()
    watch(times, median_s=30, every_s=6, until_s=600)
    assert median_of(times.of("marengo3.5", None)) < 60
    for _ in range(100):
        watch_one(times, "marengo3.5", None, 3000)
    assert median_of(times.of("marengo3.5", None)) > 500
    assert median_of(times.of("marengo3.0", 600)) < 60


def test_long_and_short_videos_are_distinguished() -> None:
    times = ProcessingTimes()
    for _ in range(100):
        watch_one(times, "marengo3.0", 60, 30)
        watch_one(times, "marengo3.0", 3600, 1100)
    assert median_of(times.of("marengo3.0", 60)) < 100
    assert median_of(times.of("marengo3.0", 3600)) > 500


@pytest.mark.parametrize(
    ("duration_s", "minutes"),
    [
        (None, 0),
        (0, 0),
        (math.nan, 0),
        (math.inf, 0),
        (-5, 0),
        (5e-324, 1),
        (1, 1),
        (60, 1),
        (61, 2),
        (3600, 64),
        (1e300, 4096),
    ],
)
def test_a_length_is_rounded_up_to_a_power_of_two(duration_s: float | None, minutes: int) -> None:
    assert length_class(duration_s) == minutes


def test_a_look_that_saw_nothing_teaches_nothing() -> None:
    times = ProcessingTimes()
    times.observe("marengo3.0", 60, 100, 100, is_finished=True)
    times.observe("marengo3.0", 60, 100, 50, is_finished=False)
    assert times.take_fresh() == {}


def test_what_is_fresh_is_taken_once_and_survives_a_load_until_then() -> None:
    times = ProcessingTimes()
    times.observe(None, None, 0, 20, is_finished=True)
    times.load({})
    assert sum(times.all_seen["", 0].finished) == pytest.approx(1)
    assert list(times.take_fresh()) == [("", 0)]
    assert times.take_fresh() == {}
    times.load({})
    assert times.of(None, None) == PRIOR


def test_old_tasks_fade() -> None:
    seen = LifeTable()
    seen.add([Observation(3, 2 * MAX_EVENTS, 100.0)])
    seen.fade()
    assert seen.observations() == [Observation(3, MAX_EVENTS, 50.0)]
    seen.fade()
    assert seen.observations() == [Observation(3, MAX_EVENTS, 50.0)]


def test_the_classes_reach_as_far_as_results_are_kept() -> None:
    assert len(EDGES_S) == CLASSES
    assert list(EDGES_S) == sorted(EDGES_S)
    assert EDGES_S[-1] < WEEK_S < EDGES_S[-1] * 2


@given(st.floats(0.01, 0.999), st.floats(0, 86_400))
def test_the_age_of_a_chance_is_the_age_that_has_it(chance: float, unfinished_s: float) -> None:
    age_s = PRIOR.age_of_chance_s(chance, unfinished_s)
    assert PRIOR.chance(age_s, unfinished_s) == pytest.approx(chance, abs=1e-6)


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True), st.booleans())
def test_no_age_however_absurd_makes_nonsense_of_what_is_known(after_s: float, by_s: float, is_finished: bool) -> None:  # noqa: FBT001
    times = ProcessingTimes()
    times.observe("m", by_s, max(0.0, after_s), by_s, is_finished=is_finished)
    learned = times.of("m", by_s)
    assert all(0 <= hazard < math.inf for hazard in learned.hazards)
    assert 0 <= learned.chance(WEEK_S) <= 1
    assert learned.age_of_wait_s(1.0) < math.inf


def test_a_date_of_1970_outweighs_no_other() -> None:
    times, decades_s = ProcessingTimes(), 55 * 365 * 86_400.0
    times.observe(None, None, 0, decades_s, is_finished=False)
    assert sum(times.all_seen["", 0].exposure_s) == MAX_AGE_S


def test_what_never_finishes_is_waited_for_no_longer_than_an_age_can_be() -> None:
    assert ProcessingTime((0.0,) * CLASSES).age_of_wait_s(1.0) <= 2 * MAX_AGE_S


def test_what_another_thread_reckons_meanwhile_does_not_outlive_what_is_learned_meanwhile() -> None:
    times = ProcessingTimes()
    reckon = times._estimate

    class Slow(ProcessingTimes):
        def _estimate(self, keys: list[tuple[str, int]]) -> ProcessingTime:
            found = super()._estimate(keys)
            if not self.all_seen:
                # In between the event loop learns.
                self.all_seen[("", 0)] = LifeTable([1000.0] * CLASSES, [1000.0] * CLASSES)
                self._known = {}
            return found

    slow = Slow()
    slow.of(None, None)
    assert slow.of(None, None).chance(60.0) > 0.9 > reckon([("", 0)]).chance(60.0)
