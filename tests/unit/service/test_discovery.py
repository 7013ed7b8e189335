"""Repeated discovery, on a fake clock."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import anyio
import anyio.lowlevel
import pytest

from harvester.domain.errors import StoreBusyError, StoreError
from harvester.domain.limits.endpoint import BudgetLease, Endpoint, LimitReport, RateLimit
from harvester.domain.limits.shared_limits import LimitSnapshot, LimitUpdate
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedRow, ListedTask, ListSettlement
from harvester.domain.tasks.outcomes import Outcome, Ready, Refused, Throttled, Transient
from harvester.domain.tasks.task import DAY_MS, Task, TaskState
from harvester.service.clock import ApiClock, SystemClock
from harvester.service.continuous_discovery import CONDITION, RETRY_PASS_S, SCHEDULE_S, keep_discovering
from harvester.service.discovery import TRIES, DiscoveryParts, discover, discover_lately
from harvester.service.discovery_range import OVERLAP_MS, Schedule
from harvester.service.discovery_report import DiscoveryReport
from harvester.service.list_api import ObservedListApi
from harvester.service.observer import NullObserver
from harvester.service.progress import Progress
from harvester.throttle.throttle import Permit, Throttle
from tests.support.harvest_parts import never_paused

NOW_MS = 1_760_000_000_000
HOUR_S = 3600.0
REFUSED = Refused("API Key is either invalid or expired.")
BROKEN = Transient("The connection broke.", "connection_lost")
QUARTER_HOURLY = Schedule(900, 7 * DAY_MS)


class Steady:
    """No jitter, the longest back-off."""

    def uniform(self, a: float, b: float, /) -> float:
        return 1.0 if (a, b) == (0.9, 1.1) else b


@dataclass
class FakeClock:
    """Waiting takes no time."""

    now: float = 1000.0
    wall_offset_ms: int = 0
    waits: list[float] = field(default_factory=list)

    def wall_ms(self) -> int:
        return NOW_MS + round(self.now * 1000) + self.wall_offset_ms

    def monotonic(self) -> float:
        return self.now

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        assert not event.is_set()
        self.waits.append(timeout_s)
        self.now += timeout_s
        await anyio.lowlevel.checkpoint()


@dataclass
class FakeStore:
    """Every task of which it knows has ended."""

    tasks: list[str] = field(default_factory=list)
    error: StoreError | None = None
    shown: list[str] = field(default_factory=list)

    async def listed_rows(self, task_ids: Sequence[str]) -> dict[str, ListedRow]:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        known = [task_id for task_id in task_ids if task_id in self.tasks]
        return {task_id: ListedRow(Task(1, task_id, TaskState.HARVESTED, 0, 0), is_claimed=False) for task_id in known}

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        self.tasks += [change.task.task_id for change in page.changes]
        return [True] * len(page.changes)

    async def name_models(self, entries: Sequence[ListedTask], now_ms: int) -> int:  # noqa: ARG002  # as the port
        self.shown += [entry.task_id for entry in entries]
        return 0


class Comparing(FakeStore):
    """Queues nothing: all is new each time."""

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        return [True] * len(page.changes)


def _ready(count: int) -> Counter[TaskState]:
    return Counter({TaskState.READY: count})


Answer = ListPage | Outcome | Callable[["Api", ListQuery], ListPage | Outcome]


class Api:
    """Gives its answers in turn; after the last the key is refused, which ends the test."""

    def __init__(self, clock: FakeClock, throttle: Throttle, *answers: Answer) -> None:
        self.clock = clock
        self.throttle = throttle
        self.answers = list(answers)
        self.asked: list[tuple[float, ListQuery]] = []
        self.hear_time: Callable[[], None] = lambda: None

    async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:
        permit.spend()
        assert permit.endpoint is Endpoint.LIST
        self.asked.append((self.clock.now, query))
        if not self.answers:
            return REFUSED
        answer = self.answers.pop(0)
        return answer(self, query) if callable(answer) else answer

    @property
    def times(self) -> list[float]:
        return [at - self.asked[0][0] for at, _ in self.asked]


def listed(created_at_ms: int, name: str = "task") -> ListedTask:
    return ListedTask(f"{name}-{created_at_ms}", Ready(), MediaMetadata(created_at_ms=created_at_ms))


def page(*created_at_ms: int, invalid: int = 0) -> ListPage:
    return ListPage([listed(at) for at in created_at_ms], len(created_at_ms) + invalid)


EMPTY = page()


class FakeLimitStore:
    """A budget that no other process shares."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.leased = 0
        self.began = clock.monotonic()
        self.blocks_stored_at: list[float] = []

    async def lease_requests(self, _limit: RateLimit, count: int, now_ms: int) -> BudgetLease:
        self.leased += count
        return BudgetLease(now_ms, {})

    async def share_limits(self, update: LimitUpdate, _now_ms: int) -> LimitSnapshot:
        if update.blocks:
            self.blocks_stored_at.append(self.clock.monotonic() - self.began)
        return LimitSnapshot()


@dataclass
class Stage:
    clock: FakeClock
    throttle: Throttle
    api: Api
    store: FakeStore
    progress: Progress
    schedule: Schedule | None = QUARTER_HOURLY

    def share_budget(self, requests_per_minute: float) -> FakeLimitStore:
        limit_store, clock = FakeLimitStore(self.clock), self.clock
        limit = RateLimit(requests_per_minute)
        self.throttle = self.api.throttle = Throttle(
            limit, clock.monotonic, limit_store=limit_store, wall_ms=clock.wall_ms
        )
        return limit_store

    async def run(self, since_ms: int = NOW_MS) -> DiscoveryReport:
        return await discover(self.parts, since_ms)

    async def run_until_refused(self) -> Refused:
        return await keep_discovering(self.parts, self.progress, lambda: self.schedule)

    @property
    def parts(self) -> DiscoveryParts:
        return DiscoveryParts(
            api=self.api,
            throttle=self.throttle,
            store=self.store,
            clock=self.clock,
            pause=never_paused(self.clock),
            rng=Steady(),
        )


def stage(*answers: Answer, requests_per_minute: float = 0) -> Stage:
    clock = FakeClock()
    throttle = Throttle(RateLimit(requests_per_minute), clock.monotonic)
    return Stage(clock, throttle, Api(clock, throttle, *answers), FakeStore(), Progress(started=0))


# One pass.


async def test_each_page_is_stored_before_the_next_is_asked_for() -> None:
    newest = NOW_MS + 100_000

    def second(_api: Api, query: ListQuery) -> ListPage:
        assert len(on.store.tasks) == 50
        assert query.ended_at_ms == newest - 48_000
        return page(newest - 49_000, newest - 50_000)

    on = stage(page(*(newest - number * 1_000 for number in range(50))), second)
    report = await on.run()
    assert (report.requests, report.listed, report.problem, report.newest_ms) == (2, 51, None, newest)


async def test_each_page_names_the_models_of_results() -> None:
    on = stage(page(NOW_MS + 2, NOW_MS + 1))
    await on.run()
    assert len(on.store.shown) == 2


async def test_the_rate_is_kept() -> None:
    many = [page(*(NOW_MS + 10**7 - 50_000 * turn - n * 1000 for n in range(50))) for turn in range(4)]
    on = stage(*many, EMPTY, requests_per_minute=6)
    await on.run()
    assert on.api.times == [0, 10, 20, 30, 40]


async def test_a_429_is_waited_for_and_is_no_failure() -> None:
    def throttled(api: Api, _query: ListQuery) -> Outcome:
        api.throttle.learn(Endpoint.LIST, 429, LimitReport(retry_after_s=7_200))
        return Throttled("Too many.", 7_200)

    on = stage(*[throttled] * (TRIES + 3), page(NOW_MS + 1))
    report = await on.run()
    assert (report.problem, report.listed, on.api.times[-1]) == (None, 1, 7_200 * (TRIES + 3))


async def test_the_last_request_of_a_window_is_waited_for() -> None:
    def last_but_one(api: Api, _query: ListQuery) -> ListPage:
        api.throttle.learn(Endpoint.LIST, 200, LimitReport(remaining=1, reset_s=60))
        return page(*(NOW_MS + 100_000 - number * 1_000 for number in range(50)))

    on = stage(last_but_one, EMPTY)
    limit_store = on.share_budget(requests_per_minute=60)
    await on.run()
    assert (on.api.times, limit_store.leased) == ([0, 30], 2)


async def test_a_long_block_is_stored_while_it_is_sat_out() -> None:
    def throttled(api: Api, _query: ListQuery) -> Outcome:
        api.throttle.learn(Endpoint.LIST, 429, LimitReport(retry_after_s=7_200))
        return Throttled("Too many.", 7_200)

    on = stage(throttled, EMPTY)
    limit_store = on.share_budget(requests_per_minute=60)
    await on.run()
    assert (on.api.times, limit_store.blocks_stored_at) == ([0, 7_200], [0])


async def test_failures_that_pass_are_waited_out() -> None:
    on = stage(BROKEN, BROKEN, BROKEN, page(NOW_MS + 1))
    report = await on.run()
    assert (report.problem, report.listed, on.api.times) == (None, 1, [0, 1, 3, 7])


async def test_lasting_failures_end_the_discovery_and_keep_the_tasks_found() -> None:
    on = stage(page(*(NOW_MS + 10**6 - number * 1000 for number in range(50))), *[BROKEN] * TRIES)
    report = await on.run()
    assert report.problem == "The list of tasks could not be read: The connection broke."
    assert (report.is_complete, len(on.store.tasks), len(on.api.asked)) == (False, 50, 1 + TRIES)


async def test_a_refused_key_ends_the_discovery() -> None:
    report = await stage(REFUSED).run()
    assert (report.refusal, report.is_complete) == (REFUSED, False)


async def test_unacceptable_ids_are_counted() -> None:
    assert (await stage(page(NOW_MS + 1, invalid=3)).run()).invalid == 3


# Again and again.


async def test_it_runs_at_once_and_then_at_the_given_pace_until_the_key_is_refused() -> None:
    on = stage(EMPTY, EMPTY, EMPTY)
    assert await on.run_until_refused() == REFUSED
    assert on.api.times == pytest.approx([0, 900, 1800, 2700])
    assert on.progress.requests[Endpoint.LIST] == 4


async def test_later_passes_go_back_to_a_little_before_the_newest_known_task() -> None:
    newest = NOW_MS + 500_000
    on = stage(page(newest), EMPTY, page(newest + 60_000), EMPTY)
    await on.run_until_refused()
    read_back = [query.started_at_ms for _, query in on.api.asked]
    assert read_back[0] == NOW_MS + 1_000_000 - 7 * DAY_MS
    assert read_back[1:] == [newest - OVERLAP_MS, newest - OVERLAP_MS] + [newest + 60_000 - OVERLAP_MS] * 2


async def test_once_a_day_it_reads_all_the_way_back() -> None:
    on = stage(*[page(NOW_MS + 10**6)] * 30)
    on.schedule = Schedule(2 * HOUR_S, 7 * DAY_MS)
    await on.run_until_refused()
    full = [number for number, (_, query) in enumerate(on.api.asked) if query.started_at_ms < NOW_MS - DAY_MS]
    assert full == [0, 12, 24]


async def test_the_list_of_an_account_without_tasks_is_always_read_all_the_way_back() -> None:
    on = stage(EMPTY, EMPTY)
    await on.run_until_refused()
    assert all(query.started_at_ms < NOW_MS - 6 * DAY_MS for _, query in on.api.asked)


async def test_a_pass_by_a_clock_that_was_ahead_is_followed_by_one_that_goes_all_the_way_back() -> None:
    def set_back(api: Api, _query: ListQuery) -> ListPage:
        api.clock.wall_offset_ms = 0
        return page(NOW_MS)

    on = stage(set_back, EMPTY, EMPTY)
    on.clock.wall_offset_ms = 3 * DAY_MS
    await on.run_until_refused()
    read_back_days = [round((NOW_MS - query.started_at_ms) / DAY_MS) for _, query in on.api.asked]
    assert read_back_days == [4, 7, 0, 0]


def telling_the_time(*answers: ListPage) -> list[Answer]:
    """Answers that tell the API's time: that of the fake clock, were it not off."""

    def answer(api: Api, _query: ListQuery) -> ListPage | Outcome:
        api.hear_time()
        return pages.pop(0)

    pages = list(answers)
    return [answer] * len(answers)


async def discover_last_week(on: Stage, *, is_dry: bool = False) -> DiscoveryReport:
    clock = ApiClock(on.clock)
    on.api.hear_time = lambda: clock.learn((on.clock.wall_ms() - on.clock.wall_offset_ms) / 1000)
    return await discover_lately(replace(on.parts, clock=clock), clock, lately_ms=7 * DAY_MS, is_dry=is_dry)


@pytest.mark.parametrize("is_dry", [False, True])
async def test_a_clock_that_is_ahead_hides_nothing_from_a_single_discovery(*, is_dry: bool) -> None:
    newest, oldest = NOW_MS, NOW_MS - 6 * DAY_MS
    on = stage(*telling_the_time(page(newest), page(newest), page(newest), page(newest, oldest)))
    on.clock.wall_offset_ms = 3 * DAY_MS
    if is_dry:
        on.store = Comparing()
    report = await discover_last_week(on, is_dry=is_dry)
    read_back_days = [round((NOW_MS - query.started_at_ms) / DAY_MS) for _, query in on.api.asked]
    assert (read_back_days, report.requests) == ([4, 4, 4, 7], 4)
    assert (len(report.queued.new_ids), report.queued.known, report.listed) == (2, 0, 2)
    assert report.queued.new_states == _ready(2)


@pytest.mark.parametrize("ahead_ms", [0, 59_000, -9 * DAY_MS])
async def test_a_clock_that_is_right_or_behind_takes_one_pass(ahead_ms: int) -> None:
    on = stage(*telling_the_time(page(NOW_MS)))
    on.clock.wall_offset_ms = ahead_ms
    assert (await discover_last_week(on)).requests == 1


async def test_a_task_from_the_future_does_not_hide_those_of_the_present() -> None:
    on = stage(page(NOW_MS + 400 * DAY_MS), EMPTY)
    await on.run_until_refused()
    assert on.api.asked[1][1].started_at_ms == NOW_MS + 1_000_000 - OVERLAP_MS


async def test_a_failed_pass_is_a_condition_that_ends_by_itself_and_is_repeated_with_growing_waits() -> None:
    conditions: list[bool] = []

    def noting(_api: Api, _query: ListQuery) -> ListPage:
        conditions.append(CONDITION in on.progress.conditions)
        return EMPTY

    on = stage(*[BROKEN] * (2 * TRIES), noting, noting)
    await on.run_until_refused()
    starts = on.api.times[::TRIES][:3]
    assert starts == [0, RETRY_PASS_S, 3 * RETRY_PASS_S]
    assert (conditions, on.progress.conditions) == ([True, False], {})


async def test_the_next_pass_does_not_go_on_from_an_incomplete_one() -> None:
    newest = NOW_MS + 500_000
    on = stage(page(*(newest - number * 1000 for number in range(50))), *[BROKEN] * TRIES, EMPTY)
    await on.run_until_refused()
    assert on.api.asked[1 + TRIES][1].started_at_ms < NOW_MS - 6 * DAY_MS


async def test_a_full_disk_is_a_condition() -> None:
    on = stage(page(NOW_MS), page(NOW_MS))
    on.store.error = StoreBusyError("The database cannot grow.", reason="database or disk is full")
    await on.run_until_refused()
    assert (len(on.store.tasks), on.api.times[1], on.progress.conditions) == (1, RETRY_PASS_S, {})


async def test_a_damaged_database_is_no_condition() -> None:
    on = stage(page(NOW_MS))
    on.store.error = StoreError("The database is damaged.")
    with pytest.raises(StoreError, match="is damaged"):
        await on.run_until_refused()


async def test_nothing_is_asked_while_there_is_no_schedule() -> None:
    on = stage()
    on.schedule = None
    with anyio.move_on_after(0.05):
        await on.run_until_refused()
    assert on.api.asked == []
    assert set(on.clock.waits) == {SCHEDULE_S}


async def test_a_shorter_schedule_counts_at_once() -> None:
    def hurried(_api: Api, _query: ListQuery) -> ListPage:
        on.schedule = Schedule(30, 7 * DAY_MS)
        return EMPTY

    on = stage(hurried)
    on.schedule = Schedule(86_400, 7 * DAY_MS)
    await on.run_until_refused()
    assert on.api.times == [0, 30]


async def test_a_longer_time_to_read_back_counts_with_the_next_pass() -> None:
    def longer(_api: Api, _query: ListQuery) -> ListPage:
        on.schedule = Schedule(900, 7 * DAY_MS)
        return page(NOW_MS)

    on = stage(longer)
    on.schedule = Schedule(900, DAY_MS)
    await on.run_until_refused()
    assert on.api.asked[1][1].started_at_ms < NOW_MS - 6 * DAY_MS


async def test_every_list_request_is_reported_to_the_observer() -> None:
    observed: list[tuple[Endpoint, str]] = []

    class Observed(NullObserver):
        def answered(self, endpoint: Endpoint, outcome: str, duration_s: float, received_bytes: int) -> None:  # noqa: ARG002
            observed.append((endpoint, outcome))

    class Answers:
        def __init__(self) -> None:
            self.left: list[ListPage | Outcome] = [Transient("no", "http_503"), ListPage(tasks=(), count=0)]

        async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:  # noqa: ARG002
            return self.left.pop(0)

    api = ObservedListApi(Answers(), Observed(), SystemClock())
    for _ in range(2):
        await api.list_tasks(ListQuery(0), Permit(Endpoint.LIST))
    assert observed == [(Endpoint.LIST, "transient"), (Endpoint.LIST, "listed")]
