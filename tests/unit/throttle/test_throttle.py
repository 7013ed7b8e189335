import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.endpoint import BudgetLease, Endpoint, LimitReport, RateLimit
from harvester.domain.limits.quotas import Quota
from harvester.domain.limits.shared_limits import LimitSnapshot, LimitUpdate
from harvester.throttle.throttle import Permit, Throttle

STATUS, RETRIEVE = Endpoint.STATUS, Endpoint.RETRIEVE


class Clock:
    def __init__(self, now: float = 123_456.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def throttle(clock: Clock, requests_per_minute: float = 60, burst: int = 1) -> Throttle:
    return Throttle(RateLimit(requests_per_minute, burst), clock)


def test_a_permit_works_once() -> None:
    permit = Permit(STATUS)
    permit.spend()
    with pytest.raises(RuntimeError):
        permit.spend()


def test_a_permit_is_for_the_class_it_was_taken_for() -> None:
    assert throttle(Clock()).take(RETRIEVE).endpoint is RETRIEVE


@pytest.mark.parametrize("started_at", [0.0, 5.0, 1e9])
def test_the_first_burst_may_go_out_at_once_and_no_more(started_at: float) -> None:
    clock = Clock(started_at)
    subject, taken = throttle(clock, burst=3), 0
    while subject.wait_s(STATUS) == 0:
        subject.take(STATUS)
        taken += 1
    assert taken == 3


def test_nothing_is_handed_out_before_its_time() -> None:
    subject = throttle(Clock())
    subject.take(STATUS)
    with pytest.raises(RuntimeError):
        subject.take(STATUS)


@given(st.floats(0, 1e9), st.floats(0.1, 6_000), st.integers(1, 20))
def test_a_permit_is_due_after_the_reported_wait(started_at: float, rate: float, burst: int) -> None:
    clock = Clock(started_at)
    subject = throttle(clock, rate, burst)
    for _ in range(2 * burst):
        clock.now += subject.wait_s(STATUS)
        assert subject.take(STATUS).endpoint is STATUS


def test_a_429_blocks_its_class_for_as_long_as_it_says() -> None:
    clock = Clock()
    subject = throttle(clock, 0)
    subject.learn(RETRIEVE, 429, LimitReport(retry_after_s=11_382.0))
    assert (subject.wait_s(RETRIEVE), subject.blocked_s(RETRIEVE), subject.wait_s(STATUS)) == (11_382.0, 11_382.0, 0.0)


def test_a_block_is_not_the_rate() -> None:
    subject = throttle(Clock())
    subject.take(STATUS)
    assert (subject.wait_s(STATUS), subject.blocked_s(STATUS)) == (1.0, 0.0)


def test_a_block_ends_on_the_monotonic_clock() -> None:
    clock = Clock()
    subject = throttle(clock, 0)
    subject.learn(STATUS, 429, LimitReport(retry_after_s=10.0))
    clock.now += 10.0
    assert subject.take(STATUS).endpoint is STATUS


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_an_exhausted_window_blocks_before_a_429_comes(status: int) -> None:
    subject = throttle(Clock(), 0)
    subject.learn(STATUS, status, LimitReport(remaining=0, reset_s=42.0))
    assert subject.wait_s(STATUS) == 42.0


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_what_is_left_of_a_window_may_be_used(status: int) -> None:
    subject = throttle(Clock(), 0)
    subject.learn(STATUS, status, LimitReport(remaining=2, reset_s=42.0))
    assert subject.wait_s(STATUS) == 0.0


def test_the_configured_limit_can_be_asked_for() -> None:
    assert throttle(Clock(), 50, 5).limit == RateLimit(50, 5)


class FakeLimitStore:
    """A shared budget of which every lease is a second later than the last."""

    def __init__(self) -> None:
        self.leases = 0

    async def lease_requests(self, _limit: RateLimit, count: int, now_ms: int) -> BudgetLease:
        self.leases += 1
        await anyio.lowlevel.checkpoint()
        return BudgetLease(now_ms + (self.leases - 1) * count * 1000.0, {})

    async def share_limits(self, _update: LimitUpdate, _now_ms: int) -> LimitSnapshot:
        await anyio.lowlevel.checkpoint()
        return LimitSnapshot()


async def test_two_who_wait_for_the_shared_budget_take_one_lease() -> None:
    limit_store = FakeLimitStore()
    subject = Throttle(RateLimit(60), Clock(), limit_store=limit_store)
    async with anyio.create_task_group() as group:
        group.start_soon(subject.refill)
        group.start_soon(subject.refill)
    assert (limit_store.leases, subject.wait_s(STATUS)) == (1, 0.0)


def test_the_rate_in_force_can_be_asked_for() -> None:
    rates = [throttle(Clock(), 0).rate_per_s, throttle(Clock(), 90).rate_per_s]
    assert rates == [None, 1.5]


def test_a_class_is_held_by_its_own_limits_and_not_by_the_total_rate() -> None:
    subject = throttle(Clock())
    subject.take(STATUS)
    subject.learn(RETRIEVE, 200, LimitReport(remaining=1, reset_s=42.0, limit=8))
    assert (subject.endpoint_wait_s(STATUS), subject.endpoint_wait_s(RETRIEVE)) == (0.0, 21.0)
    assert subject.blocked_s(RETRIEVE) == 0.0


def test_a_quota_stated_in_a_message_is_known() -> None:
    subject = throttle(Clock(), 0)
    subject.learn_quota(RETRIEVE, Quota(8, 60))
    subject.learn_quota(RETRIEVE, None)
    assert subject.budget(RETRIEVE).quota == Quota(8, 60)
    assert subject.rate_per_s == pytest.approx(8 / 60)


def test_a_request_that_the_library_sends_again_is_charged_to_its_class_too() -> None:
    subject = throttle(Clock(), 0)
    permit = subject.take(STATUS)
    subject.learn(STATUS, 200, LimitReport(remaining=3, reset_s=60.0, limit=8), permit.sending)
    permit = subject.take(STATUS)
    before = subject.wait_s(STATUS)
    subject.charge(permit)
    assert (before, subject.wait_s(STATUS)) == (0.0, 30.0)
    # The answer is to the second try, so nothing is under way any more.
    subject.learn(STATUS, 200, LimitReport(remaining=2, reset_s=60.0, limit=8), permit.sending)
    assert subject.wait_s(STATUS) == 0.0
