import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.tasks.task import DAY_MS, END_STATES, OPEN_STATES, RETENTION_MS, Task, TaskState, deadline_ms

OBJECT_ID, OBJECT_ID_MS = "66f537778d9641fe5a0d101f", 1_727_346_551_000
ADDED_MS = OBJECT_ID_MS + DAY_MS


def task(*, expires_at_ms: int = ADDED_MS + RETENTION_MS) -> Task:
    return Task(1, OBJECT_ID, TaskState.PENDING, added_at_ms=ADDED_MS, expires_at_ms=expires_at_ms)


def test_every_state_is_either_open_or_an_end() -> None:
    assert sorted([*OPEN_STATES, *END_STATES]) == sorted(TaskState)


@pytest.mark.parametrize(
    ("state", "is_open"),
    [
        ("pending", True),
        ("ready", True),
        ("harvested", False),
        ("failed", False),
        ("expired", False),
        ("missing", False),
        ("rejected", False),
    ],
)
def test_the_documented_states_exist(state: str, *, is_open: bool) -> None:
    assert TaskState(state).is_open == is_open


def test_there_are_no_other_states() -> None:
    assert len(TaskState) == 7


def test_the_apis_creation_time_decides_about_the_deadline() -> None:
    assert deadline_ms(OBJECT_ID, created_at_ms=5, added_at_ms=ADDED_MS) == 5 + RETENTION_MS


def test_a_creation_time_of_zero_is_a_time() -> None:
    assert deadline_ms(OBJECT_ID, created_at_ms=0, added_at_ms=ADDED_MS) == RETENTION_MS


def test_without_it_the_time_in_the_id_decides() -> None:
    assert deadline_ms(OBJECT_ID, created_at_ms=None, added_at_ms=ADDED_MS) == OBJECT_ID_MS + RETENTION_MS


def test_a_moment_of_queueing_from_before_the_clock_was_set_bounds_nothing() -> None:
    assert deadline_ms(OBJECT_ID, created_at_ms=None, added_at_ms=86_400_000) == OBJECT_ID_MS + RETENTION_MS
    task = Task(1, OBJECT_ID, TaskState.PENDING, added_at_ms=86_400_000, expires_at_ms=OBJECT_ID_MS + RETENTION_MS)
    assert task.age_ms(OBJECT_ID_MS + 60_000) == 60_000


def test_without_either_the_moment_of_queueing_decides() -> None:
    assert deadline_ms("opaque", created_at_ms=None, added_at_ms=ADDED_MS) == ADDED_MS + RETENTION_MS


def test_embeddings_are_kept_for_seven_days() -> None:
    assert RETENTION_MS == 7 * 24 * 3600 * 1000


@given(now_ms=st.integers(-(10**15), 10**15), expires_at_ms=st.integers(-(10**15), 10**15))
def test_an_age_is_never_negative(now_ms: int, expires_at_ms: int) -> None:
    assert task(expires_at_ms=expires_at_ms).age_ms(now_ms) >= 0


def test_the_age_counts_from_the_creation() -> None:
    assert task(expires_at_ms=1_000 + RETENTION_MS).age_ms(61_000) == 60_000


@pytest.mark.parametrize(("now_ms", "is_past"), [(999, False), (1_000, True), (1_001, True)])
def test_the_deadline_itself_is_past_the_deadline(now_ms: int, *, is_past: bool) -> None:
    assert task(expires_at_ms=1_000).is_past_deadline(now_ms) == is_past


def test_a_task_is_at_least_as_old_as_its_place_in_the_queue() -> None:
    """The API's clock may be ahead of the one that queued it."""
    assert task(expires_at_ms=ADDED_MS + DAY_MS + RETENTION_MS).age_ms(ADDED_MS + 60_000) == 60_000
