import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.quotas import LATELY_S, Quota, QuotaWindow, Sending, SendLog, infer_quota

NOW = 5_000.0


@pytest.mark.parametrize(
    ("reset_s", "window_s"),
    [(0, 60), (1, 60), (60, 60), (61.5, 60), (63, 3600), (3600, 3600), (3700, 86_400), (86_400, 86_400)],
)
def test_the_window_is_the_smallest_that_the_reset_fits_into(reset_s: float, window_s: int) -> None:
    assert infer_quota(None, 100, reset_s) == Quota(100, window_s)


def test_the_longest_reset_that_was_seen_decides() -> None:
    quota = infer_quota(infer_quota(None, 100, 40_000.0), 100, 5.0)
    assert quota == Quota(100, 86_400)


def test_a_quota_that_has_changed_is_learned_anew() -> None:
    assert infer_quota(Quota(100, 86_400), 8, 5.0) == Quota(8, 60)


def test_a_reset_after_more_than_a_day_teaches_nothing() -> None:
    assert infer_quota(Quota(8, 60), 100, 1e9) == Quota(8, 60)


def sent(*times: float) -> SendLog:
    sends = SendLog()
    for at in times:
        sends.add(at)
    return sends


def test_what_was_sent_in_the_last_minute_is_counted() -> None:
    sends = sent(NOW - LATELY_S, NOW - 59, NOW - 1, NOW)
    assert (sends.count, sends.lately(NOW), sends.after(2, NOW), sends.first_after(2, NOW)) == (4, 3, 2, NOW - 1)


def test_a_request_that_has_had_no_answer_for_a_minute_is_not_waited_for() -> None:
    assert sent(NOW - 61, NOW - 1).after(0, NOW) == 1


def window(remaining: int, reset_s: float = 60.0, limit: int | None = 100, number: int = 0) -> QuotaWindow:
    made = QuotaWindow()
    made.note(limit, remaining, NOW + reset_s, Sending(NOW, number))
    return made


@pytest.mark.parametrize(("remaining", "wait_s"), [(11, -math.inf), (10, 60 / 11), (5, 10), (1, 30), (0, 60), (-3, 60)])
def test_the_last_tenth_of_a_quota_is_spread_evenly_up_to_the_reset(remaining: int, wait_s: float) -> None:
    assert window(remaining).due_at(SendLog(), None, NOW) - NOW == pytest.approx(wait_s)


@pytest.mark.parametrize(("remaining", "wait_s"), [(10, -math.inf), (1, -math.inf), (0, 60), (-3, 60)])
def test_what_cannot_wait_may_have_the_last_of_a_quota_at_once(remaining: int, wait_s: float) -> None:
    assert window(remaining).due_at(SendLog(), None, NOW, is_pressing=True) - NOW == pytest.approx(wait_s)


def test_what_is_left_is_known_while_the_window_is_open() -> None:
    subject, sends = window(12, number=1), sent(NOW, NOW + 30)
    assert [subject.left(sends, NOW + after_s) for after_s in (30, 59, 60)] == [11, 11, None]
    assert QuotaWindow().left(sends, NOW) is None


@pytest.mark.parametrize("limit", [None, 1, 5, 19])
def test_the_last_request_of_a_small_or_unknown_quota_is_spread(limit: int | None) -> None:
    waits = [window(remaining, 30, limit).due_at(SendLog(), None, NOW) - NOW for remaining in (2, 1)]
    assert waits == [-math.inf, 15]


def test_the_reserve_is_used_up_when_the_window_ends_and_not_before() -> None:
    subject, sends = window(10), SendLog()
    at: list[float] = []
    while len(at) < 50 and (due_at := max(NOW, subject.due_at(sends, None, sends.last_at))) < NOW + 60:
        sends.add(due_at)
        at.append(due_at - NOW)
    assert at == pytest.approx([60 / 11 * step for step in range(1, 11)])


def test_requests_without_an_answer_are_taken_for_counted() -> None:
    subject = window(12, number=1)
    sends = sent(NOW, NOW, NOW, NOW)
    assert subject.due_at(sends, None, NOW) > NOW
    subject.note(100, 11, NOW + 60, Sending(NOW, 4))
    assert subject.due_at(sends, None, NOW) == -math.inf


def test_the_answer_to_an_earlier_request_that_comes_late_changes_nothing() -> None:
    subject = window(5, number=3)
    subject.note(100, 50, NOW + 60, Sending(NOW - 1, 2))
    assert subject.remaining == 5


def test_a_window_that_has_ended_holds_nothing_back() -> None:
    assert window(0).due_at(sent(NOW), None, NOW + 60) == -math.inf


def test_the_first_requests_of_the_next_window_are_not_more_than_the_quota() -> None:
    subject, sends, later = window(0, number=1), sent(NOW), NOW + 60
    count = 0
    while count < 50 and subject.due_at(sends, Quota(5, 60), later) <= later:
        sends.add(later)
        count += 1
    assert count == 4


@given(
    open_window=st.builds(window, st.integers(-10, 2_000), st.floats(0, 90_000), st.none() | st.integers(1, 1_000)),
    waiting=st.integers(0, 30),
    quota=st.none() | st.builds(Quota, st.integers(1, 1_000), st.sampled_from([1, 60, 3600, 86_400])),
    passed=st.floats(0, 90_000),
)
def test_no_request_waits_beyond_the_end_of_the_window(
    open_window: QuotaWindow, waiting: int, quota: Quota | None, passed: float
) -> None:
    now = NOW + passed
    ends = max(open_window.ends_at, now + quota.window_s if quota else 0)
    assert open_window.due_at(sent(*[now] * waiting), quota, now) <= ends + 1e-6
