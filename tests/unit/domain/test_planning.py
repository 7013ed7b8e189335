import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.pacing import Endpoint
from harvester.domain.planning import LIKELY_FINISHED_MS, MAX_CHECK_MS, MIN_CHECK_MS, next_check_delay_ms, plan
from harvester.domain.tasks import RETENTION_MS, Task, TaskState

NOW = 1_760_000_000_000


def task(key: int = 1, *, state: TaskState = TaskState.PENDING, age_ms: int = 0) -> Task:
    created = NOW - age_ms
    return Task(key, f"task-{key}", state, added_at_ms=created, expires_at_ms=created + RETENTION_MS)


open_tasks = st.builds(
    task,
    st.integers(1, 10**6),
    state=st.sampled_from([TaskState.PENDING, TaskState.READY]),
    age_ms=st.integers(0, 2 * RETENTION_MS),
)


@given(st.lists(open_tasks, max_size=30, unique_by=lambda one: one.key))
def test_every_task_gets_exactly_one_request(tasks: list[Task]) -> None:
    assert sorted(action.task.key for action in plan(tasks, NOW)) == sorted(one.key for one in tasks)


@given(st.lists(open_tasks, max_size=30))
def test_what_is_known_to_be_ready_is_retrieved_before_anything_is_asked(tasks: list[Task]) -> None:
    states = [action.task.state for action in plan(tasks, NOW)]
    assert states == sorted(states, key=lambda state: state is not TaskState.READY)


@given(st.lists(open_tasks, max_size=30))
def test_among_equals_the_nearest_deadline_comes_first(tasks: list[Task]) -> None:
    for state in (TaskState.READY, TaskState.PENDING):
        deadlines = [action.task.expires_at_ms for action in plan(tasks, NOW) if action.task.state is state]
        assert deadlines == sorted(deadlines)


@given(st.lists(open_tasks, max_size=10, unique_by=lambda one: one.key), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_the_tasks(tasks: list[Task], rng: random.Random) -> None:
    shuffled = rng.sample(tasks, len(tasks))
    assert plan(shuffled, NOW) == plan(tasks, NOW)


@pytest.mark.parametrize(
    ("state", "age_ms", "endpoint"),
    [
        (TaskState.READY, 0, Endpoint.RETRIEVE),
        (TaskState.READY, RETENTION_MS, Endpoint.RETRIEVE),
        (TaskState.PENDING, 0, Endpoint.STATUS),
        (TaskState.PENDING, LIKELY_FINISHED_MS - 1, Endpoint.STATUS),
        (TaskState.PENDING, LIKELY_FINISHED_MS, Endpoint.RETRIEVE),
    ],
)
def test_a_task_that_is_likely_finished_is_asked_for_its_result(
    state: TaskState, age_ms: int, endpoint: Endpoint
) -> None:
    assert plan([task(state=state, age_ms=age_ms)], NOW)[0].endpoint is endpoint


@given(st.integers(-RETENTION_MS, 10 * RETENTION_MS), st.randoms(use_true_random=False))
def test_the_wait_for_the_next_check_stays_in_its_bounds(age_ms: int, rng: random.Random) -> None:
    assert MIN_CHECK_MS <= next_check_delay_ms(task(age_ms=age_ms), NOW, rng) <= MAX_CHECK_MS


@given(st.randoms(use_true_random=False))
def test_the_wait_is_a_fifth_of_the_age_spread_by_a_tenth(rng: random.Random) -> None:
    assert 10_800 <= next_check_delay_ms(task(age_ms=60_000), NOW, rng) <= 13_200
