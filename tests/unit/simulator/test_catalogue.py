from itertools import chain
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.errors import UsageError
from harvester.domain.tasks.task_id import created_at_hint_ms, validate_task_id
from harvester.simulator import SimulatorClock, SimulatorSettings
from harvester.simulator.catalogue import Catalogue
from harvester.simulator.listing import ListQuery
from harvester.simulator.models import MODELS
from harvester.simulator.requests import VideoRequest
from tests.support.thorough import examples

NOON = 1_700_000_000
DAY_S = 24 * 3600
UPLOAD = VideoRequest(
    model=MODELS["marengo3.0"], options=("visual",), clip_length_s=6.0, url="https://example.com/a.mp4"
)


def stopped_clock() -> SimulatorClock:
    return SimulatorClock(NOON, speed=0)


def ids_on(tasks: Catalogue, query: ListQuery) -> list[str]:
    return [task.task_id for task in tasks.page(query).tasks]


@examples(50)
@given(count=st.integers(0, 130), page_limit=st.integers(1, 50), spread_s=st.sampled_from([0.0, 30.0, 3 * DAY_S]))
def test_the_pages_hold_every_task_exactly_once(count: int, page_limit: int, spread_s: float) -> None:
    tasks = Catalogue(SimulatorSettings(tasks=count, spread_s=spread_s), stopped_clock())
    total_page = tasks.page(ListQuery(page_limit=page_limit)).total_page
    seen = [
        task_id
        for page in range(1, total_page + 1)
        for task_id in ids_on(tasks, ListQuery(page=page, page_limit=page_limit))
    ]
    assert seen == tasks.ids()[::-1]
    assert ids_on(tasks, ListQuery(page=total_page + 1, page_limit=page_limit)) == []


@examples(50)
@given(bounds=st.tuples(st.integers(-10, 4000), st.integers(-10, 4000)))
def test_the_dates_select_the_tasks_created_between_them(bounds: tuple[int, int]) -> None:
    tasks = Catalogue(SimulatorSettings(tasks=40, spread_s=3600), stopped_clock())
    started_at_ms, ended_at_ms = ((NOON - 3600 + bound) * 1000 for bound in bounds)
    query = ListQuery(started_at_ms=started_at_ms, ended_at_ms=ended_at_ms, page_limit=50)
    expected = {one for one in tasks.ids() if started_at_ms <= tasks.task(one).created_at_ms <= ended_at_ms}
    assert set(ids_on(tasks, query)) == expected


def test_each_status_lists_its_own_tasks_and_together_they_are_all() -> None:
    clock = stopped_clock()
    tasks = Catalogue(SimulatorSettings(tasks=40, failed_ratio=0.3), clock)
    clock.advance(20)
    listed = {
        status: ids_on(tasks, ListQuery(status=status, page_limit=50)) for status in ("processing", "ready", "failed")
    }
    assert all(listed.values())
    assert all(tasks.status(task_id) == status for status, ids in listed.items() for task_id in ids)
    assert sorted(chain.from_iterable(listed.values())) == sorted(tasks.ids())


@given(seed=st.integers(0, 2**40), age_s=st.floats(0, 1e9))
@examples(50)
def test_an_id_is_acceptable_and_carries_a_time_shortly_before_its_creation(seed: int, age_s: float) -> None:
    tasks = Catalogue(SimulatorSettings(tasks=3, seed=seed, age_s=age_s), stopped_clock())
    for task_id in tasks.ids():
        hint_ms = created_at_hint_ms(validate_task_id(task_id))
        assert hint_ms is not None
        assert 0 < tasks.task(task_id).created_at_ms - hint_ms <= 10_000


def test_a_task_is_processing_until_its_time_and_then_ready_for_seven_days() -> None:
    clock = stopped_clock()
    tasks = Catalogue(SimulatorSettings(tasks=1, processing_median_s=300, processing_sigma=0), clock)
    task_id = tasks.ids()[0]
    clock.advance(299.999)
    assert tasks.status(task_id) == "processing"
    clock.advance(0.001)
    assert tasks.status(task_id) == "ready"
    clock.set(NOON + 7 * DAY_S - 0.001)
    assert tasks.find(task_id) is not None
    clock.set(NOON + 7 * DAY_S)
    assert tasks.find(task_id) is None
    assert ids_on(tasks, ListQuery(started_at_ms=0)) == []


def test_processing_times_are_log_normal_around_their_median() -> None:
    tasks = Catalogue(SimulatorSettings(tasks=2000, processing_median_s=300, processing_sigma=0.8), stopped_clock())
    times_s = sorted(tasks.task(one).finished_at_ms / 1000 - NOON for one in tasks.ids())
    assert median(times_s) == pytest.approx(300, rel=0.1)
    assert times_s[int(0.841 * len(times_s))] == pytest.approx(300 * 2.2255, rel=0.15)


def test_the_ratio_of_failed_tasks_is_kept() -> None:
    tasks = Catalogue(SimulatorSettings(tasks=2000, failed_ratio=0.25), stopped_clock())
    assert sum(tasks.task(one).fails for one in tasks.ids()) == pytest.approx(500, rel=0.15)


def test_one_setting_does_not_change_what_another_decides() -> None:
    plain = Catalogue(SimulatorSettings(tasks=20), stopped_clock())
    failing = Catalogue(SimulatorSettings(tasks=20, failed_ratio=1, processing_median_s=1), stopped_clock())
    durations = [plain.task(one).duration_s for one in plain.ids()]
    assert [failing.task(one).duration_s for one in failing.ids()] == durations


def test_the_tasks_are_spread_over_the_past_and_aged() -> None:
    tasks = Catalogue(SimulatorSettings(tasks=3, spread_s=100, age_s=1000), stopped_clock())
    created = [tasks.task(one).created_at_ms // 1000 - NOON for one in tasks.ids()]
    assert created == [-1100, -1050, -1000]


def test_tasks_older_than_the_epoch_are_refused() -> None:
    with pytest.raises(UsageError, match="before 1970"):
        Catalogue(SimulatorSettings(tasks=1, age_s=2.0 * NOON), stopped_clock())


def test_a_new_task_is_the_first_of_the_list() -> None:
    clock = stopped_clock()
    tasks = Catalogue(SimulatorSettings(tasks=5), clock)
    clock.advance(1)
    created = tasks.create(UPLOAD)
    assert ids_on(tasks, ListQuery(page_limit=1)) == [created.task_id]


def test_an_id_is_found_in_capitals_too() -> None:
    tasks = Catalogue(SimulatorSettings(tasks=1), stopped_clock())
    task_id = tasks.ids()[0]
    assert tasks.find(task_id.upper()) is tasks.task(task_id)


def test_a_held_task_has_the_given_fate() -> None:
    tasks = Catalogue(SimulatorSettings(failed_ratio=0.5), stopped_clock())
    fine = [tasks.hold(UPLOAD, age_s=600, processing_s=60, failure="", duration_s=30) for _ in range(10)]
    failed = tasks.hold(UPLOAD, processing_s=60, failure="No.", is_truncated=True)
    assert {tasks.status(task.task_id) for task in fine} == {"ready"}
    assert {(task.duration_s, task.created_at_ms) for task in fine} == {(30, (NOON - 600) * 1000)}
    assert (failed.failure, failed.is_truncated, tasks.status(failed.task_id)) == ("No.", True, "processing")
    assert tasks.find(failed.task_id) is failed
