"""The limits that one process has learned serve the others, and the next start: real stores, a fake clock."""

from collections.abc import Callable

import pytest

from harvester.domain.errors import StoreBusyError
from harvester.domain.limits.endpoint import Endpoint, LimitReport, RateLimit
from harvester.domain.limits.quotas import Quota
from harvester.domain.limits.shared_limits import LimitSnapshot, LimitUpdate
from harvester.ports.store import HarvestStore
from harvester.throttle.throttle import Throttle

START_MS = 1_760_000_000_000
STATUS, RETRIEVE = Endpoint.STATUS, Endpoint.RETRIEVE
NO_REPORT = LimitReport()
DAILY = LimitReport(remaining=90, reset_s=80_000, limit=100)


class FakeTime:
    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_offset_ms = START_MS

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return self.wall_offset_ms + round(self.now * 1000)

    def restart(self) -> None:
        """Begin another monotonic time, as a reboot does."""
        self.wall_offset_ms += round((self.now - 7) * 1000)
        self.now = 7.0


class Process:
    """A throttle on the shared database, and the updates that it stores."""

    def __init__(self, store: HarvestStore, clock: FakeTime, limit: RateLimit) -> None:
        self.store = store
        self.updates: list[LimitUpdate] = []
        self.fails = False
        self.while_sharing: Callable[[], None] = lambda: None
        self.throttle = Throttle(limit, clock.monotonic, limit_store=self, wall_ms=clock.wall_ms)
        self.lease_requests = store.lease_requests

    async def share_limits(self, update: LimitUpdate, now_ms: int) -> LimitSnapshot:
        if self.fails:
            raise StoreBusyError("The database is locked.", reason="database is locked")
        self.updates.append(update)
        self.while_sharing()
        return await self.store.share_limits(update, now_ms)

    def learned(self, endpoint: Endpoint = RETRIEVE) -> float | None:
        return self.throttle.budget(endpoint).learned_per_minute


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


async def test_a_cut_rate_and_a_quota_survive_a_restart(stores: list[HarvestStore], clock: FakeTime) -> None:
    before = Process(stores[0], clock, RateLimit(60))
    before.throttle.learn(RETRIEVE, 429, NO_REPORT)
    before.throttle.learn(STATUS, 200, DAILY)
    await before.throttle.refill()
    clock.now += 61
    clock.restart()
    after = Process(stores[0], clock, RateLimit(60))
    await after.throttle.refill()
    # A minute after the block of a second was over: 42 and a twentieth of 60.
    assert after.learned() == pytest.approx(45, abs=0.01)
    assert after.learned(STATUS) is None
    assert after.throttle.budget(STATUS).quota == Quota(100, 86_400)


async def test_what_is_left_of_a_quota_survives_a_restart(stores: list[HarvestStore], clock: FakeTime) -> None:
    before = Process(stores[0], clock, RateLimit(0))
    before.throttle.learn(RETRIEVE, 200, LimitReport(remaining=5, reset_s=36_000, limit=50))
    await before.throttle.publish_limits()
    waits = [before.throttle.wait_s(RETRIEVE)]
    for _ in range(3):
        clock.now += 60
        clock.restart()
        after = Process(stores[0], clock, RateLimit(0))
        await after.throttle.refill()
        waits.append(after.throttle.wait_s(RETRIEVE))
        left = after.throttle.budget(RETRIEVE)
        assert (left.remaining, left.quota) == (5, Quota(50, 86_400))
    assert waits == pytest.approx([6000, 5940, 5880, 5820], abs=0.01)


async def test_of_a_quota_the_latest_answer_counts_whoever_had_it(stores: list[HarvestStore], clock: FakeTime) -> None:
    first, second = (Process(store, clock, RateLimit(0)) for store in stores)
    for process, remaining in ((first, 9), (second, 4)):
        process.throttle.learn(RETRIEVE, 200, LimitReport(remaining=remaining, reset_s=36_000, limit=100))
        clock.now += 1
    for process in (second, first, second):
        await process.throttle.refill()
        clock.now += 6
    assert [process.throttle.budget(RETRIEVE).remaining for process in (first, second)] == [4, 4]


async def test_windows_of_a_minute_are_not_worth_a_write(stores: list[HarvestStore], clock: FakeTime) -> None:
    process = Process(stores[0], clock, RateLimit(0))
    process.throttle.learn(RETRIEVE, 200, LimitReport(remaining=5, reset_s=30, limit=8))
    await process.throttle.publish_limits()
    assert [set(update.windows) for update in process.updates] == [set()]


@pytest.mark.parametrize("jump_ms", [-86_400_000, 86_400_000])
async def test_what_was_left_by_a_clock_that_is_off_is_not_believed_for_long(
    stores: list[HarvestStore], clock: FakeTime, jump_ms: int
) -> None:
    before = Process(stores[0], clock, RateLimit(0))
    before.throttle.learn(RETRIEVE, 200, LimitReport(remaining=5, reset_s=36_000, limit=50))
    await before.throttle.publish_limits()
    clock.wall_offset_ms += jump_ms
    after = Process(stores[0], clock, RateLimit(0))
    await after.throttle.refill()
    assert after.throttle.wait_s(RETRIEVE) == 0
    after.throttle.learn(RETRIEVE, 200, LimitReport(remaining=3, reset_s=36_000, limit=50))
    await after.throttle.publish_limits()
    third = Process(stores[0], clock, RateLimit(0))
    await third.throttle.refill()
    assert third.throttle.budget(RETRIEVE).remaining == 3


@pytest.mark.parametrize("remaining", [-(10**30), 10**30])
async def test_absurd_numbers_of_requests_left_stop_nothing(
    stores: list[HarvestStore], clock: FakeTime, remaining: int
) -> None:
    process = Process(stores[0], clock, RateLimit(0))
    process.throttle.learn(RETRIEVE, 200, LimitReport(remaining=remaining, reset_s=36_000, limit=50))
    await process.throttle.publish_limits()
    again = Process(stores[0], clock, RateLimit(0))
    await again.throttle.refill()
    left = again.throttle.budget(RETRIEVE)
    assert (left.quota, left.remaining) == (Quota(50, 86_400), max(0, min(50, remaining)))


@pytest.mark.parametrize(("hours", "rate", "quota"), [(0.5, None, Quota(100, 86_400)), (8 * 24, None, None)])
async def test_what_is_old_is_forgotten(
    stores: list[HarvestStore], clock: FakeTime, hours: float, rate: float | None, quota: Quota | None
) -> None:
    before = Process(stores[0], clock, RateLimit(0))
    before.throttle.learn(RETRIEVE, 429, NO_REPORT)
    before.throttle.learn(RETRIEVE, 200, DAILY)
    await before.throttle.refill()
    clock.now += hours * 3600 + 2
    after = Process(stores[0], clock, RateLimit(0))
    await after.throttle.refill()
    assert (after.learned(), after.throttle.budget(RETRIEVE).quota) == (rate, quota)


async def test_what_was_sent_before_a_cut_is_not_charged_at_the_cut_rate(
    stores: list[HarvestStore], clock: FakeTime
) -> None:
    process = Process(stores[0], clock, RateLimit(0))
    permits = [process.throttle.take(RETRIEVE) for _ in range(4)]
    process.throttle.learn(RETRIEVE, 200, NO_REPORT, permits[0].sending)
    process.throttle.learn(RETRIEVE, 429, NO_REPORT, permits[1].sending)
    assert process.learned() == pytest.approx(7)
    await process.throttle.refill()
    # The block of a second, and not four times the 9 s that a request takes at this rate.
    assert process.throttle.wait_s(RETRIEVE) == 1
    clock.now += 1
    process.throttle.take(RETRIEVE)
    await process.throttle.refill()
    assert process.throttle.wait_s(RETRIEVE) == pytest.approx(60 / 7, abs=0.1)


async def test_another_process_goes_by_the_cut_rate_too(stores: list[HarvestStore], clock: FakeTime) -> None:
    refused, other = (Process(store, clock, RateLimit(60)) for store in stores)
    await other.throttle.refill()
    refused.throttle.learn(RETRIEVE, 429, NO_REPORT)
    await refused.throttle.refill()
    clock.now += 6
    await other.throttle.refill()
    assert other.learned() == pytest.approx(refused.learned(), abs=0.01)
    # The refusal of a request that was under way at the same time is the same refusal.
    clock.now += 1
    await refused.throttle.refill()
    assert len([update for update in refused.updates + other.updates if update.rates]) == 1


@pytest.mark.parametrize("cut_from", [30, 600])
async def test_processes_together_keep_a_cut_rate(stores: list[HarvestStore], clock: FakeTime, cut_from: int) -> None:
    processes = [Process(store, clock, RateLimit(cut_from)) for store in stores]
    processes[0].throttle.learn(RETRIEVE, 429, NO_REPORT)
    for process in processes:
        await process.throttle.refill()
        # The total would let more through.
        process.throttle.limit = RateLimit(cut_from * 10)
    counts, end = [0, 0], clock.now + 120
    while clock.now < end:
        for index, process in enumerate(processes):
            if process.throttle.wait_s(RETRIEVE) == 0:
                await process.throttle.refill()
            if process.throttle.wait_s(RETRIEVE) == 0:
                process.throttle.take(RETRIEVE)
                counts[index] += 1
        clock.now += 0.02
    assert 0.9 * 0.7 * cut_from * 2 <= sum(counts) <= 0.86 * cut_from * 2 + 2
    assert min(counts) > 0.3 * sum(counts)


async def test_only_what_is_new_is_written(stores: list[HarvestStore], clock: FakeTime) -> None:
    process = Process(stores[0], clock, RateLimit(60))
    process.throttle.learn(RETRIEVE, 429, NO_REPORT)
    for _ in range(20):
        process.throttle.learn(STATUS, 200, LimitReport(limit=100, reset_s=80_000))
        await process.throttle.refill()
        clock.now += 6
    assert [bool(update) for update in process.updates] == [True] + [False] * 19


async def test_an_update_that_could_not_be_written_is_sent_again(stores: list[HarvestStore], clock: FakeTime) -> None:
    process = Process(stores[0], clock, RateLimit(60))
    process.throttle.learn(RETRIEVE, 429, LimitReport(retry_after_s=600))
    process.throttle.learn(STATUS, 429, NO_REPORT)
    process.throttle.learn(STATUS, 200, DAILY)
    process.fails = True
    with pytest.raises(StoreBusyError):
        await process.throttle.refill()
    process.fails = False
    await process.throttle.refill()
    (update,) = process.updates
    assert (set(update.blocks), set(update.rates), set(update.quotas)) == ({RETRIEVE}, {STATUS}, {STATUS})


async def test_a_block_can_be_stored_while_nothing_may_be_leased(stores: list[HarvestStore], clock: FakeTime) -> None:
    before = Process(stores[0], clock, RateLimit(0))
    before.throttle.learn(RETRIEVE, 429, LimitReport(retry_after_s=11_382))
    for _ in range(3):
        await before.throttle.publish_limits()
    after = Process(stores[0], clock, RateLimit(0))
    await after.throttle.refill()
    assert after.throttle.blocked_s(RETRIEVE) == pytest.approx(11_382)
    assert len(before.updates) == 1


async def test_what_is_learned_while_others_are_heard_is_kept(stores: list[HarvestStore], clock: FakeTime) -> None:
    other, busy = (Process(store, clock, RateLimit(60)) for store in stores)
    other.throttle.learn(RETRIEVE, 429, NO_REPORT)
    await other.throttle.refill()
    clock.now += 120
    busy.while_sharing = lambda: busy.throttle.learn(RETRIEVE, 429, NO_REPORT)
    await busy.throttle.refill()
    assert busy.learned() == pytest.approx(42)
    busy.while_sharing = lambda: None
    await busy.throttle.publish_limits()
    assert [set(update.rates) for update in busy.updates] == [set(), {RETRIEVE}]


async def test_a_quota_that_another_process_saw_change_is_taken_over(
    stores: list[HarvestStore], clock: FakeTime
) -> None:
    first, second = (Process(store, clock, RateLimit(60)) for store in stores)
    for process, report in ((first, DAILY), (second, LimitReport(remaining=3, reset_s=30, limit=8))):
        process.throttle.learn(STATUS, 200, report)
        await process.throttle.refill()
    clock.now += 6
    await first.throttle.refill()
    assert first.throttle.budget(STATUS).quota == Quota(8, 60)


@pytest.mark.parametrize("jump_ms", [-400 * 86_400_000, 400 * 86_400_000])
async def test_a_wall_clock_that_jumps_makes_no_long_wait(
    stores: list[HarvestStore], clock: FakeTime, jump_ms: int
) -> None:
    processes = [Process(store, clock, RateLimit(60)) for store in stores]
    processes[0].throttle.learn(RETRIEVE, 429, NO_REPORT)
    taken = 0
    for second in range(200):
        if second == 60:
            clock.wall_offset_ms += jump_ms
            processes.append(Process(stores[0], clock, RateLimit(60)))
        for process in processes:
            await process.throttle.refill()
            if process.throttle.wait_s(RETRIEVE) == 0:
                process.throttle.take(RETRIEVE)
                taken += second >= 60
        clock.now += 1
    assert taken >= 80
