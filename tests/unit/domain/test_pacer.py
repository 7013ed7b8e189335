from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.aimd import LearnedRate
from harvester.domain.limits.endpoint import MAX_BLOCK_S, MIN_BLOCK_S, POLL_ENDPOINTS, Endpoint, LimitReport, RateLimit
from harvester.domain.limits.endpoint_state import EndpointBudget, EndpointState, OpenWindow, SentSince
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.quotas import Quota
from harvester.domain.planning.feasibility import Budget, QuotaBalance
from tests.support.thorough import examples

NOW = 5_000.0
STATUS, RETRIEVE = Endpoint.STATUS, Endpoint.RETRIEVE


def pacer(requests_per_minute: float = 0, burst: int = 1) -> Pacer:
    made = Pacer(RateLimit(requests_per_minute, burst))
    made.start_at(NOW)
    return made


def take_when_allowed(subject: Pacer, pauses: list[float]) -> list[float]:
    """Send one request after each pause, as soon as it may go out; return when."""
    now, taken = NOW, []
    for pause in pauses:
        now += pause
        now += subject.wait_s(STATUS, now)
        subject.take(STATUS, now)
        taken.append(now)
    return taken


@examples(60)
@given(
    rate=st.floats(0.5, 120),
    burst=st.integers(1, 30),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 90)), min_size=1, max_size=200),
)
def test_no_minute_sees_more_than_the_rate_and_the_burst(rate: float, burst: int, pauses: list[float]) -> None:
    taken = take_when_allowed(pacer(rate, burst), pauses)
    most = max(sum(start <= at < start + 60 for at in taken) for start in taken)
    assert most <= rate + burst


@given(burst=st.integers(1, 20))
def test_after_a_pause_a_burst_may_go_out_at_once_and_not_one_more(burst: int) -> None:
    subject = pacer(60, burst)
    for _ in range(burst):
        assert subject.wait_s(STATUS, NOW) == 0
        subject.take(STATUS, NOW)
    assert subject.wait_s(STATUS, NOW) == pytest.approx(1.0)


def test_after_the_burst_requests_are_a_sustained_interval_apart() -> None:
    taken = take_when_allowed(pacer(30, burst=3), [0.0] * 10)
    assert [later - earlier for earlier, later in pairwise(taken)] == pytest.approx([0, 0] + [2.0] * 7)


def test_a_long_silence_saves_up_no_more_than_the_burst() -> None:
    taken = take_when_allowed(pacer(60, burst=2), [100_000.0, 0, 0, 0])
    assert [at - taken[0] for at in taken] == pytest.approx([0, 0, 1, 2])


def test_a_rate_of_zero_is_no_limit() -> None:
    assert take_when_allowed(pacer(0), [0.0] * 1_000) == [NOW] * 1_000


def test_all_classes_share_the_configured_rate() -> None:
    subject = pacer(60)
    subject.take(STATUS, NOW)
    assert subject.wait_s(RETRIEVE, NOW) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("stated_s", "waited"),
    [(11_382, 11_382), (1.5, 1.5), (24 * 3600, 24 * 3600), (10**12, MAX_BLOCK_S), (0, MIN_BLOCK_S), (-5, MIN_BLOCK_S)],
)
def test_retry_after_is_honoured_and_clamped(stated_s: float, waited: float) -> None:
    subject = pacer()
    subject.throttled(STATUS, LimitReport(retry_after_s=stated_s), NOW)
    assert subject.wait_s(STATUS, NOW) == waited


def test_without_retry_after_the_reset_tells() -> None:
    subject = pacer()
    subject.throttled(STATUS, LimitReport(remaining=0, reset_s=42.0), NOW)
    assert subject.wait_s(STATUS, NOW) == 42.0


@pytest.mark.parametrize("stated_s", [None, 0.0, 1.0, -3.0])
def test_without_a_usable_time_the_wait_doubles_up_to_five_minutes(stated_s: float | None) -> None:
    subject, now, waits = pacer(), NOW, []
    for _ in range(11):
        subject.throttled(STATUS, LimitReport(retry_after_s=stated_s), now)
        waits.append(subject.wait_s(STATUS, now))
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_an_answer_that_is_no_refusal_starts_the_doubling_again() -> None:
    subject, now = pacer(), NOW
    for _ in range(5):
        subject.throttled(STATUS, LimitReport(), now)
        now += subject.wait_s(STATUS, now)
    subject.accepted(STATUS, LimitReport(), now)
    subject.throttled(STATUS, LimitReport(), now)
    assert subject.wait_s(STATUS, now) == MIN_BLOCK_S


def test_refusals_of_requests_that_were_under_way_together_count_as_one() -> None:
    subject = pacer()
    for _ in range(8):
        subject.throttled(STATUS, LimitReport(), NOW)
    assert subject.wait_s(STATUS, NOW) == MIN_BLOCK_S


def test_a_shorter_time_does_not_shorten_a_longer_one() -> None:
    subject = pacer()
    subject.throttled(STATUS, LimitReport(retry_after_s=600), NOW)
    subject.throttled(STATUS, LimitReport(retry_after_s=5), NOW)
    subject.accepted(STATUS, LimitReport(remaining=10), NOW)
    assert subject.wait_s(STATUS, NOW) == 600


@pytest.mark.parametrize(
    ("report", "waited"),
    [
        (LimitReport(remaining=0, reset_s=30.0), 30.0),
        (LimitReport(remaining=-1, reset_s=30.0), 30.0),
        (LimitReport(remaining=0, reset_s=0.0), MIN_BLOCK_S),
        (LimitReport(remaining=0, reset_s=1e15), MAX_BLOCK_S),
        (LimitReport(remaining=2, reset_s=30.0), 0.0),
        (LimitReport(remaining=0), 0.0),
        (LimitReport(reset_s=30.0), 0.0),
        (LimitReport(), 0.0),
    ],
)
def test_an_exhausted_window_blocks_until_its_reset(report: LimitReport, waited: float) -> None:
    subject = pacer()
    subject.accepted(STATUS, report, NOW)
    assert subject.wait_s(STATUS, NOW) == waited


def test_a_block_ends_by_itself() -> None:
    subject = pacer()
    subject.throttled(STATUS, LimitReport(retry_after_s=10), NOW)
    assert [subject.wait_s(STATUS, NOW + passed) for passed in (0, 9.5, 10, 11)] == [10, 0.5, 0, 0]


def test_only_the_refused_class_is_blocked() -> None:
    subject = pacer()
    subject.throttled(RETRIEVE, LimitReport(retry_after_s=600), NOW)
    waits = {endpoint: subject.wait_s(endpoint, NOW) for endpoint in POLL_ENDPOINTS}
    assert waits == {STATUS: 0, RETRIEVE: 600, Endpoint.LIST: 0}


reports = st.builds(
    LimitReport,
    remaining=st.none() | st.integers(-5, 1_000),
    reset_s=st.none() | st.floats(-1e18, 1e18),
    retry_after_s=st.none() | st.floats(-1e18, 1e18),
    limit=st.none() | st.integers(1, 1_000),
)


@given(st.lists(st.tuples(st.sampled_from(POLL_ENDPOINTS), st.booleans(), reports, st.floats(0, 1e5)), max_size=50))
def test_whatever_the_api_reports_a_request_goes_out_within_a_day_and_an_hour(
    answers: list[tuple[Endpoint, bool, LimitReport, float]],
) -> None:
    subject, now = pacer(60), NOW
    for endpoint, is_refusal, report, pause in answers:
        now += pause
        (subject.throttled if is_refusal else subject.accepted)(endpoint, report, now)
        lowest = MIN_BLOCK_S if is_refusal else 0.0
        # Adding a wait to a time and subtracting it again is exact only up to rounding.
        assert lowest - 1e-6 <= subject.wait_s(endpoint, now) <= MAX_BLOCK_S + 1e-6


def test_a_success_that_was_sent_before_the_refusal_does_not_start_the_doubling_again() -> None:
    subject, now = pacer(), NOW
    early = subject.take(STATUS, now)
    for _ in range(3):
        subject.throttled(STATUS, LimitReport(), now)
        now += subject.wait_s(STATUS, now)
    subject.accepted(STATUS, LimitReport(), now, early)
    subject.throttled(STATUS, LimitReport(), now)
    assert subject.wait_s(STATUS, now) == 8


def test_a_late_429_of_a_request_sent_before_the_block_is_no_second_refusal() -> None:
    subject = pacer(60)
    first, second = subject.take(STATUS, NOW), subject.take(STATUS, NOW)
    subject.throttled(STATUS, LimitReport(), NOW + 1, first)
    subject.throttled(STATUS, LimitReport(), NOW + 300, second)
    assert subject.wait_s(STATUS, NOW + 300) == MIN_BLOCK_S
    assert subject.budget(STATUS, NOW).learned_per_minute == pytest.approx(42)


def test_a_cut_slows_its_class_and_no_other() -> None:
    subject = pacer(60)
    subject.throttled(STATUS, LimitReport(), NOW)
    now = NOW + 1
    for endpoint in POLL_ENDPOINTS:
        subject.take(endpoint, now)
    subject.start_at(now)
    waits = {endpoint: subject.wait_s(endpoint, now) for endpoint in POLL_ENDPOINTS}
    assert waits == {STATUS: pytest.approx(60 / 42), RETRIEVE: 0, Endpoint.LIST: 0}


@pytest.mark.parametrize(("sent", "present"), [(3, 10), (50, 50)])
def test_without_a_configured_rate_what_was_sent_lately_is_cut(sent: int, present: float) -> None:
    subject = pacer(0)
    for _ in range(sent):
        subject.take(STATUS, NOW)
    # A minute after the first of them: all of that minute counts.
    later = NOW + 59.999
    subject.throttled(STATUS, LimitReport(), later)
    assert subject.budget(STATUS, later).learned_per_minute == pytest.approx(0.7 * present, rel=1e-3)


def test_refused_right_after_the_start_the_rate_of_the_start_is_cut() -> None:
    """Eight requests in the first second are 480 a minute: cut to 0.7 of 8 a minute, a storm would cost minutes."""
    subject = pacer(0)
    for _ in range(8):
        subject.take(STATUS, NOW)
    subject.throttled(STATUS, LimitReport(), NOW + 0.5)
    assert subject.budget(STATUS, NOW + 0.5).learned_per_minute == pytest.approx(0.7 * 480)


def test_the_sustained_rate_is_the_least_of_the_configured_the_cut_and_the_quota() -> None:
    subject, rates = pacer(0), []
    rates.append(subject.rate_per_s(NOW))
    subject.change_limit(RateLimit(60), NOW)
    rates.append(subject.rate_per_s(NOW))
    subject.throttled(RETRIEVE, LimitReport(), NOW)
    rates.append(subject.rate_per_s(NOW))
    subject.throttled(STATUS, LimitReport(limit=1, reset_s=60), NOW)
    rates.append(subject.rate_per_s(NOW))
    subject.accepted(RETRIEVE, LimitReport(limit=864, remaining=700, reset_s=80_000), NOW)
    rates.append(subject.rate_per_s(NOW))
    assert rates == [None, 1, pytest.approx(0.7), pytest.approx(0.7), pytest.approx(0.01)]


def test_only_so_many_requests_as_have_a_deadline_before_the_reset_are_not_spread() -> None:
    subject, now_ms = pacer(0), 1_760_000_000_000
    subject.accepted(RETRIEVE, LimitReport(limit=50, remaining=5, reset_s=36_000), NOW)
    deadlines = [(now_ms - 1, 7), (now_ms + 3600_000, 2), (now_ms + 36_001_000, 9)]
    waits = [subject.wait_s(RETRIEVE, NOW)]
    subject.press(deadlines, NOW, now_ms)
    for _ in range(3):
        waits.append(subject.wait_s(RETRIEVE, NOW))
        subject.take(RETRIEVE, NOW)
    assert waits == [6000, 0, 0, 9000]


def test_no_page_of_the_list_is_needed_before_a_deadline() -> None:
    subject = pacer(0)
    subject.accepted(Endpoint.LIST, LimitReport(limit=50, remaining=5, reset_s=36_000), NOW)
    subject.press([(3600_000, 2)], NOW, 0)
    assert subject.wait_s(Endpoint.LIST, NOW) == 6000


def test_the_budget_of_results_is_what_is_left_of_their_quota_and_then_the_quota() -> None:
    subject, now_ms = pacer(60), 1_760_000_000_000
    before = subject.results_budget(NOW, now_ms)
    subject.accepted(RETRIEVE, LimitReport(limit=50, remaining=4, reset_s=36_000), NOW)
    after = subject.results_budget(NOW, now_ms)
    over = subject.results_budget(NOW + 40_000, now_ms + 40_000_000)
    day_ms = 86_400_000
    assert before == Budget(1.0, 1.0, None, now_ms)
    assert after == Budget(1.0, 1.0, QuotaBalance(4, now_ms + 36_000_000, 50, day_ms), now_ms)
    assert over == Budget(1.0, 1.0, QuotaBalance(50, now_ms + 40_000_000 + day_ms, 50, day_ms), now_ms + 40_000_000)


def test_a_block_of_retrievals_puts_the_budget_off_and_one_of_statuses_does_not() -> None:
    subject = pacer(60)
    subject.throttled(STATUS, LimitReport(retry_after_s=3600), NOW)
    subject.throttled(RETRIEVE, LimitReport(retry_after_s=90), NOW)
    assert subject.results_budget(NOW, 7_000).resumes_ms == 97_000


def test_what_a_class_may_spend_can_be_shown() -> None:
    subject = pacer(60)
    subject.accepted(STATUS, LimitReport(limit=8, remaining=5, reset_s=40), NOW)
    assert subject.budget(STATUS, NOW + 10) == EndpointBudget(60, None, Quota(8, 60), 5, 30, 0)
    assert subject.budget(STATUS, NOW + 50) == EndpointBudget(60, None, Quota(8, 60), None, None, 0)
    assert subject.budget(RETRIEVE, NOW) == EndpointBudget(60, None, None, None, None, 0)


def test_after_a_refusal_its_own_time_counts_and_not_that_of_the_window_before() -> None:
    subject = pacer()
    subject.accepted(STATUS, LimitReport(limit=100, remaining=1, reset_s=3600), NOW)
    subject.throttled(STATUS, LimitReport(retry_after_s=5), NOW)
    assert subject.wait_s(STATUS, NOW) == 5


def test_a_pacer_restored_from_the_snapshot_of_another_has_its_budget() -> None:
    subject, later = pacer(600), NOW + 100
    subject.throttled(RETRIEVE, LimitReport(), NOW)
    subject.accepted(RETRIEVE, LimitReport(limit=5000, remaining=40, reset_s=3600), later)
    restored = pacer(600)
    restored.restore(RETRIEVE, subject.snapshot(RETRIEVE, later), later)

    known = restored.budget(RETRIEVE, later)

    assert (known.quota, known.remaining) == (Quota(5000, 3600), 40)
    assert known.learned_per_minute is not None
    assert known == subject.budget(RETRIEVE, later)
    assert restored.endpoint_wait_s(RETRIEVE, later) == subject.endpoint_wait_s(RETRIEVE, later) > 0
    assert restored.budget(STATUS, later) == pacer(600).budget(STATUS, later)


def test_a_restored_window_counts_only_if_a_later_request_was_answered_with_it() -> None:
    subject = pacer()
    subject.accepted(RETRIEVE, LimitReport(limit=100, remaining=50, reset_s=3600), NOW)

    subject.restore(RETRIEVE, EndpointState(window=OpenWindow(70, NOW + 3600, as_of=NOW - 1)), NOW + 2)
    assert subject.budget(RETRIEVE, NOW + 2).remaining == 50

    subject.restore(RETRIEVE, EndpointState(window=OpenWindow(40, NOW + 3600, as_of=NOW + 1)), NOW + 2)
    assert subject.budget(RETRIEVE, NOW + 2).remaining == 40


def test_a_restored_arrival_never_lets_a_request_go_earlier() -> None:
    subject = pacer()
    subject.restore(RETRIEVE, EndpointState(learned=LearnedRate(6, NOW), arrival=NOW + 20), NOW)
    subject.restore(RETRIEVE, EndpointState(arrival=NOW + 5), NOW)
    assert subject.endpoint_wait_s(RETRIEVE, NOW) == 20


def test_requests_from_before_a_cut_are_not_counted_as_sent_since() -> None:
    subject = pacer()
    sent = [subject.take(RETRIEVE, NOW + second) for second in range(3)]
    assert subject.sent_since(RETRIEVE, sent[0].number, NOW + 3) == SentSince(2, NOW + 1, 3)

    subject.throttled(RETRIEVE, LimitReport(), NOW + 3, sent[2])
    subject.take(RETRIEVE, NOW + 10)

    assert subject.sent_since(RETRIEVE, sent[0].number, NOW + 11) == SentSince(1, NOW + 10, 4)
