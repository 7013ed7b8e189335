"""Processes on one database share one budget: real stores, a fake clock."""

import pytest

from harvester.domain.limits.endpoint import MAX_BLOCK_S, Endpoint, LimitReport, RateLimit
from harvester.domain.tasks.task import DAY_MS
from harvester.ports.store import HarvestStore
from harvester.throttle.throttle import Throttle

START_MS = 1_760_000_000_000
STATUS, RETRIEVE = Endpoint.STATUS, Endpoint.RETRIEVE


class FakeTime:
    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_offset_ms = START_MS

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return self.wall_offset_ms + round(self.now * 1000)


def throttles(stores: list[HarvestStore], clock: FakeTime, limit: RateLimit) -> list[Throttle]:
    return [Throttle(limit, clock.monotonic, limit_store=store, wall_ms=clock.wall_ms) for store in stores]


async def taken_in(clock: FakeTime, subjects: list[Throttle], seconds: float, step_s: float = 0.05) -> list[int]:
    """Let every throttle send whenever it may; return how many requests each has sent."""
    counts = [0] * len(subjects)
    end = clock.now + seconds
    while clock.now < end:
        for index, throttle in enumerate(subjects):
            await throttle.refill()
            if throttle.wait_s(STATUS) == 0:
                throttle.take(STATUS)
                counts[index] += 1
        clock.now += step_s
    return counts


@pytest.mark.parametrize("requests_per_minute", [30, 60, 600])
async def test_two_processes_together_keep_the_rate_of_one(
    stores: list[HarvestStore], requests_per_minute: float
) -> None:
    clock = FakeTime()
    counts = await taken_in(clock, throttles(stores, clock, RateLimit(requests_per_minute)), 60)
    assert requests_per_minute * 0.9 <= sum(counts) <= requests_per_minute + 1


@pytest.mark.parametrize("requests_per_minute", [30, 60, 120, 600])
async def test_what_the_connection_sends_once_more_is_paid_for_at_any_rate(
    stores: list[HarvestStore], requests_per_minute: float
) -> None:
    clock, sent = FakeTime(), 0
    (subject,) = throttles(stores[:1], clock, RateLimit(requests_per_minute))
    while clock.now < 1060:
        await subject.refill()
        if subject.wait_s(STATUS) == 0:
            subject.charge(subject.take(STATUS))
            sent += 2
        clock.now += 0.05
    # A second's worth that was leased together may go out before it is seen to be owed.
    assert requests_per_minute * 0.9 <= sent <= requests_per_minute * (1 + 1 / 60) + 2


async def test_what_was_sent_once_more_is_paid_for_after_a_restart_of_the_lease(stores: list[HarvestStore]) -> None:
    clock, limit = FakeTime(), RateLimit(50 / 1440)
    first, other = throttles(stores, clock, limit)
    await first.refill()
    first.charge(first.take(STATUS))
    clock.now += limit.interval_s
    await first.refill()
    assert first.wait_s(STATUS) == pytest.approx(limit.interval_s)
    await other.refill()
    assert other.wait_s(STATUS) == pytest.approx(2 * limit.interval_s)


async def test_both_get_their_part(stores: list[HarvestStore]) -> None:
    clock = FakeTime()
    first, second = await taken_in(clock, throttles(stores, clock, RateLimit(600)), 30)
    assert min(first, second) > 0.3 * (first + second)


async def test_one_alone_has_the_whole_rate(stores: list[HarvestStore]) -> None:
    clock = FakeTime()
    (count,) = await taken_in(clock, throttles(stores[:1], clock, RateLimit(60)), 60)
    assert count == 60


async def test_an_idle_process_takes_nothing_from_the_budget(stores: list[HarvestStore]) -> None:
    clock = FakeTime()
    idle, busy = throttles(stores, clock, RateLimit(60))
    await idle.refill()
    (count,) = await taken_in(clock, [busy], 60)
    assert count >= 59


async def test_a_process_that_ends_while_it_waits_for_a_budget_of_few_requests_wastes_none(
    stores: list[HarvestStore],
) -> None:
    clock, limit = FakeTime(), RateLimit(50 / 1440)
    (first,) = throttles(stores[:1], clock, limit)
    await first.refill()
    first.take(STATUS)
    for _ in range(5):
        clock.now += 60
        (restarted,) = throttles(stores[:1], clock, limit)
        await restarted.refill()
    assert restarted.wait_s(STATUS) == pytest.approx(limit.interval_s - 300)


async def test_two_processes_share_a_budget_of_few_requests(stores: list[HarvestStore]) -> None:
    clock = FakeTime()
    counts = await taken_in(clock, throttles(stores, clock, RateLimit(50 / 1440)), 86_400, step_s=30)
    assert 45 <= sum(counts) <= 50


async def test_a_burst_of_a_budget_of_few_requests_goes_out_at_once(stores: list[HarvestStore]) -> None:
    clock = FakeTime()
    counts = await taken_in(clock, throttles(stores, clock, RateLimit(50 / 1440, burst=5)), 86_400, step_s=30)
    assert 50 <= sum(counts) <= 55


async def test_what_was_leased_long_ago_is_not_sent_late(stores: list[HarvestStore]) -> None:
    clock = FakeTime()
    late, busy = throttles(stores, clock, RateLimit(600))
    await late.refill()
    clock.now += 3600
    counts = await taken_in(clock, [late, busy], 6)
    assert sum(counts) <= 61


async def test_a_block_holds_the_other_process_back(stores: list[HarvestStore]) -> None:
    clock = FakeTime()
    refused, other = throttles(stores, clock, RateLimit(0))
    await other.refill()
    refused.learn(RETRIEVE, 429, LimitReport(retry_after_s=600))
    await refused.refill()
    clock.now += 6
    await other.refill()
    assert other.blocked_s(RETRIEVE) == pytest.approx(594)
    assert other.blocked_s(STATUS) == 0


@pytest.mark.parametrize("is_own", [True, False])
async def test_a_block_is_no_longer_after_the_wall_clock_was_set_back_a_day(
    stores: list[HarvestStore], *, is_own: bool
) -> None:
    clock = FakeTime()
    first, other = throttles(stores, clock, RateLimit(60))
    first.learn(RETRIEVE, 429, LimitReport(retry_after_s=60))
    await first.publish_limits()
    await other.refill()
    clock.wall_offset_ms -= DAY_MS
    for _ in range(3):
        clock.now += 10
        await (first if is_own else other).refill()
    assert (first if is_own else other).blocked_s(RETRIEVE) == pytest.approx(30)


async def test_a_block_survives_a_restart(stores: list[HarvestStore]) -> None:
    clock = FakeTime()
    before, _ = throttles(stores, clock, RateLimit(60))
    before.learn(STATUS, 429, LimitReport(retry_after_s=11_382))
    await before.refill()
    after = Throttle(RateLimit(60), clock.monotonic, limit_store=stores[0], wall_ms=clock.wall_ms)
    await after.refill()
    assert after.blocked_s(STATUS) == pytest.approx(11_382)


@pytest.mark.parametrize("jump_ms", [-86_400_000, 86_400_000])
async def test_a_wall_clock_that_jumps_a_day_does_not_stop_the_requests(
    stores: list[HarvestStore], jump_ms: int
) -> None:
    clock = FakeTime()
    subjects = throttles(stores, clock, RateLimit(60))
    await taken_in(clock, subjects, 5)
    clock.wall_offset_ms += jump_ms
    assert sum(await taken_in(clock, subjects, 60)) >= 55


async def test_a_block_that_was_noted_by_a_clock_far_ahead_does_not_outlive_its_mistake(
    stores: list[HarvestStore],
) -> None:
    """Adopted again and again, it would stop all requests until that far time, a day and an hour at a time."""
    clock = FakeTime()
    (refused,) = throttles(stores[:1], clock, RateLimit(60))
    clock.wall_offset_ms += 30 * DAY_MS
    refused.learn(STATUS, 429, LimitReport(retry_after_s=600))
    await refused.refill()
    clock.wall_offset_ms -= 30 * DAY_MS
    (after,) = throttles(stores[1:], clock, RateLimit(60))
    await after.refill()
    assert after.blocked_s(STATUS) == 0
    # It does not hide a block that is stored later, either.
    after.learn(STATUS, 429, LimitReport(retry_after_s=7200))
    await after.refill()
    (later,) = throttles(stores[:1], clock, RateLimit(60))
    await later.refill()
    assert later.blocked_s(STATUS) == pytest.approx(7200)


async def test_the_longest_block_is_kept_by_who_looked_at_the_clock_before_and_then_waited_to_write(
    stores: list[HarvestStore],
) -> None:
    clock = FakeTime()
    first, second = throttles(stores, clock, RateLimit(60))
    first.learn(STATUS, 429, LimitReport(retry_after_s=1e9))
    await first.refill()
    clock.wall_offset_ms -= 20_000
    second.learn(RETRIEVE, 429, LimitReport(retry_after_s=600))
    await second.refill()
    assert second.blocked_s(STATUS) == pytest.approx(MAX_BLOCK_S)
    (later,) = throttles(stores[:1], clock, RateLimit(60))
    await later.refill()
    assert later.blocked_s(STATUS) == pytest.approx(MAX_BLOCK_S)


async def test_a_lowered_rate_holds_at_once(stores: list[HarvestStore]) -> None:
    clock = FakeTime()
    (throttle,) = throttles(stores[:1], clock, RateLimit(600))
    await taken_in(clock, [throttle], 5)
    throttle.limit = RateLimit(60)
    (count,) = await taken_in(clock, [throttle], 60)
    assert count <= 61


async def test_a_raised_rate_holds_at_once(stores: list[HarvestStore]) -> None:
    clock = FakeTime()
    (throttle,) = throttles(stores[:1], clock, RateLimit(50 / 1440))
    await throttle.refill()
    throttle.take(STATUS)
    throttle.limit = RateLimit(60)
    assert throttle.wait_s(STATUS) <= 1
    (count,) = await taken_in(clock, [throttle], 60)
    assert count >= 59


@pytest.mark.parametrize(("before", "after"), [(50 / 1440, 1), (0.5, 60), (1, 30)])
async def test_a_raised_rate_holds_after_a_restart(stores: list[HarvestStore], before: float, after: float) -> None:
    clock = FakeTime()
    (first,) = throttles(stores[:1], clock, RateLimit(before))
    await first.refill()
    first.take(STATUS)
    (restarted,) = throttles(stores[:1], clock, RateLimit(after))
    await restarted.refill()
    assert restarted.wait_s(STATUS) <= 60 / after


@pytest.mark.parametrize("rate", [1, 50 / 1440])
async def test_what_was_taken_while_the_clock_was_an_hour_ahead_delays_no_request(
    stores: list[HarvestStore], rate: float
) -> None:
    clock, limit = FakeTime(), RateLimit(rate)
    clock.wall_offset_ms += 20 * 3_600_000
    (ahead,) = throttles(stores[:1], clock, limit)
    await ahead.refill()
    clock.wall_offset_ms -= 20 * 3_600_000
    (restarted,) = throttles(stores[:1], clock, limit)
    await restarted.refill()
    assert restarted.wait_s(STATUS) <= limit.interval_s


@pytest.mark.parametrize(("rate", "burst"), [(60, 200), (600, 1000), (1, 200)])
async def test_however_large_the_burst_it_is_had_once(stores: list[HarvestStore], rate: float, burst: int) -> None:
    clock, sent = FakeTime(), 0
    subjects = throttles(stores, clock, RateLimit(rate, burst))
    while clock.now < 1060:
        for subject in subjects:
            await subject.refill()
            while subject.wait_s(STATUS) == 0 and sent < 3000:
                subject.take(STATUS)
                sent += 1
                await subject.refill()
        clock.now += 0.5
    assert burst <= sent <= burst + rate + 1
