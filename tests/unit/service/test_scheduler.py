"""The scheduler over a real store, with an API whose answers the test sets."""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from harvester.domain.limits.endpoint import POLL_ENDPOINTS, Endpoint, LimitReport, RateLimit
from harvester.domain.limits.shared_limits import LimitUpdate
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.outcomes import InvalidRequest, Outcome, Processing, Retrieved, Throttled, Transient
from harvester.domain.tasks.records import Lease
from harvester.domain.tasks.task import DAY_MS, TaskState
from harvester.domain.tasks.task_id import MAX_LENGTH
from harvester.ports.api import Answered, Response
from harvester.ports.spooled_body import SpooledBody
from harvester.service.clock import SystemClock
from harvester.service.due_requests import MAX_CLAIMED_AHEAD, NARROW_VIEW
from harvester.service.run_options import RunOptions, StopWhen
from harvester.service.scheduler import Scheduler
from harvester.store.sqlite.store import Store
from harvester.throttle.memory_budget import Reservation
from harvester.throttle.throttle import Permit, Throttle
from tests.support.harvest_parts import harvest_parts
from tests.support.store_builders import claim_due, embeddings

PATIENCE_S = 120
LEASE_S = 10.0


class JumpingClock(SystemClock):
    """Its wall clock can be put forward or back; with the steady one, as a suspended machine finds them."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        self.slept_s = 0.0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.ahead_ms + round(self.slept_s * 1000)

    def monotonic(self) -> float:
        return super().monotonic() + self.slept_s


class Api:
    """Answers each request as `answer` says, and counts them."""

    def __init__(self, answer: Callable[[str, Endpoint], Outcome]) -> None:
        self.answer = answer
        self.asked: Counter[tuple[str, Endpoint]] = Counter()
        self.pages: list[ListQuery] = []
        self.page: ListPage | Outcome = Transient("There is no list.", "no_list")

    async def fetch_task(self, task_id: str, permit: Permit, reservation: Reservation, **_how: object) -> Response:
        permit.spend()
        reservation.shrink_to(0)
        self.asked[task_id, permit.endpoint] += 1
        await anyio.lowlevel.checkpoint()
        return Response(Answered(self.answer(task_id, permit.endpoint)), duration_ms=1, status=200)

    async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:
        permit.spend()
        self.pages.append(query)
        await anyio.lowlevel.checkpoint()
        return self.page


class NoDecoder:
    workers = 1

    async def decode(self, body: bytes | SpooledBody, encoding: str | None) -> Outcome:
        raise AssertionError((body, encoding))


def harvested(task_id: str, _endpoint: Endpoint) -> Outcome:
    return Retrieved(replace(embeddings(count=2), received_id=task_id))


def an_id(number: int, created_ms: int) -> str:
    return f"{created_ms // 1000:08x}{number:016x}"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "harvester.db") as opened:
        yield opened


def due(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM tasks WHERE next_attempt_at = 0").fetchone()[0])


class Bench:
    """The parts of one harvest."""

    def __init__(
        self,
        store: Store,
        api: Api,
        *,
        until: StopWhen = StopWhen.ALL_DONE,
        concurrency: int = 1,
        lease_s: float = LEASE_S,
    ) -> None:
        self.store = store
        self.clock = JumpingClock()
        self.throttle = Throttle(RateLimit(0), self.clock.monotonic, limit_store=store, wall_ms=self.clock.wall_ms)
        parts = harvest_parts(
            store=store,
            api=api,
            decoder=NoDecoder(),
            clock=self.clock,
            throttle=self.throttle,
            asks_once=until is StopWhen.ALL_ASKED,
        )
        self.progress, self.control, self.planner = parts.progress, parts.control, parts.planner
        options = RunOptions(concurrency=concurrency, lease_s=lease_s, until=until)
        self.scheduler = Scheduler(options, parts)

    def insert(self, statement: str, *parameters: object) -> None:
        with closing(sqlite3.connect(self.store.path, timeout=30)) as connection, connection:
            connection.execute(statement, parameters)

    def queue(self, count: int, *, age_ms: int) -> list[str]:
        ids = [an_id(number, self.clock.wall_ms() - age_ms) for number in range(count)]
        for task_id in ids:
            self.insert("INSERT INTO tasks(task_id) VALUES (?)", task_id)
        return ids

    async def run(self) -> dict[TaskState, int]:
        with anyio.fail_after(PATIENCE_S):
            await self.scheduler.run()
        return {state: count for state, count in self.progress.counts.items() if count}


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the progress shows something."""
    with anyio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # nothing tells when it changes
            await anyio.sleep(0.01)


async def test_every_queued_task_is_harvested_with_one_request(store: Store) -> None:
    api = Api(harvested)
    bench = Bench(store, api, concurrency=4)
    bench.queue(40, age_ms=DAY_MS)
    assert await bench.run() == {TaskState.HARVESTED: 40}
    assert set(api.asked.values()) == {1}


async def test_a_pause_longer_than_the_lease_strands_no_task(store: Store) -> None:
    bench = Bench(store, Api(harvested))

    def answer(task_id: str, endpoint: Endpoint) -> Outcome:
        if not bench.clock.slept_s:
            bench.clock.slept_s = 10 * LEASE_S
        return harvested(task_id, endpoint)

    bench = Bench(store, Api(answer))
    bench.queue(12, age_ms=DAY_MS)
    assert await bench.run() == {TaskState.HARVESTED: 12}


@pytest.mark.parametrize("jump_ms", [21 * DAY_MS, 3 * 3_600_000, -3 * 3_600_000, -21 * DAY_MS])
async def test_when_the_wall_clock_jumps_nothing_in_hand_is_lost_or_asked_for_twice(store: Store, jump_ms: int) -> None:
    def answer(task_id: str, endpoint: Endpoint) -> Outcome:
        bench.clock.ahead_ms = jump_ms
        return harvested(task_id, endpoint)

    api = Api(answer)
    bench = Bench(store, api, concurrency=2)
    bench.queue(12, age_ms=DAY_MS)
    assert await bench.run() == {TaskState.HARVESTED: 12}
    assert set(api.asked.values()) == {1}


@pytest.mark.parametrize("ahead_ms", [0, 3 * 3_600_000, 21 * DAY_MS, -60_000])
async def test_the_tasks_of_a_process_that_was_killed_come_back_when_its_lease_is_over_by_any_clock(
    store: Store, ahead_ms: int
) -> None:
    bench = Bench(store, Api(harvested), lease_s=0.3)
    bench.queue(3, age_ms=DAY_MS)
    now_ms = bench.clock.wall_ms() + ahead_ms
    killed = Lease("killed", now_ms + 300, now_ms)
    assert len(await claim_due(store, killed, now_ms=now_ms, limit=2)) == 2
    assert await bench.run() == {TaskState.HARVESTED: 3}


@pytest.mark.parametrize("ahead_ms", [1900, -1900, 3 * 3_600_000])
async def test_a_live_process_keeps_its_tasks_whatever_clock_it_goes_by(store: Store, ahead_ms: int) -> None:
    # Renewed so much earlier than it ends that a busy machine does not come too late.
    bench = Bench(store, Api(harvested), lease_s=2.0, until=StopWhen.SIGNALLED)
    (task_id,) = bench.queue(1, age_ms=DAY_MS)

    def lease() -> Lease:
        now_ms = bench.clock.wall_ms() + ahead_ms
        return Lease("alive", now_ms + 2000, now_ms)

    (task,) = await claim_due(store, lease(), now_ms=bench.clock.wall_ms(), limit=1)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.scheduler.run)
        for _ in range(9):
            await anyio.sleep(0.3)
            assert await store.renew(lease()) == 1
        bench.control.stop()
    with closing(sqlite3.connect(store.path)) as connection:
        found = connection.execute("SELECT lease_owner, claim FROM tasks WHERE task_id = ?", [task_id]).fetchall()
    assert found == [("alive", task.claim)]


async def test_what_a_clock_that_was_hours_ahead_laid_to_rest_wakes_with_the_next_start(store: Store) -> None:
    bench = Bench(store, Api(harvested))
    backed_off, asleep = bench.queue(2, age_ms=DAY_MS)
    ahead_ms = bench.clock.wall_ms() + 3 * 3_600_000
    statement = "UPDATE tasks SET next_attempt_at = ?, scheduled_at = ? WHERE task_id = ?"
    for task_id in (backed_off, asleep):
        bench.insert(statement, ahead_ms + 1000, ahead_ms, task_id)
    assert await bench.run() == {TaskState.HARVESTED: 2}


BLOCKED = 429, LimitReport(retry_after_s=10_800)
LAST_OF_A_WINDOW = 200, LimitReport(remaining=1, reset_s=10_800)


@pytest.mark.parametrize("learned", [BLOCKED, LAST_OF_A_WINDOW])
async def test_held_statuses_do_not_keep_a_result_waiting(store: Store, learned: tuple[int, LimitReport]) -> None:
    bench = Bench(store, Api(harvested), until=StopWhen.SIGNALLED)
    bench.queue(100, age_ms=0)
    bench.throttle.learn(Endpoint.STATUS, *learned)
    ready = an_id(1000, bench.clock.wall_ms())

    async with anyio.create_task_group() as group:
        group.start_soon(bench.scheduler.run)
        with anyio.fail_after(PATIENCE_S):
            # As many are taken as the scheduler would ever hold.
            while await store.read(due) > 100 - MAX_CLAIMED_AHEAD:
                await anyio.lowlevel.checkpoint()
            bench.insert("INSERT INTO tasks(task_id, state) VALUES (?, 'ready')", ready)
            while bench.progress.harvested < 1:
                await anyio.lowlevel.checkpoint()
        bench.control.stop()
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT task_id FROM tasks WHERE state = 'harvested'").fetchall() == [(ready,)]


@pytest.mark.parametrize("learned", [BLOCKED, LAST_OF_A_WINDOW])
async def test_asking_once_does_not_sit_out_a_long_wait(store: Store, learned: tuple[int, LimitReport]) -> None:
    bench = Bench(store, Api(harvested), until=StopWhen.ALL_ASKED)
    bench.queue(3, age_ms=DAY_MS)
    for endpoint in (Endpoint.STATUS, Endpoint.RETRIEVE):
        bench.throttle.learn(endpoint, *learned)
    assert await bench.run() == {TaskState.PENDING: 3}


async def blocks(bench: Bench) -> set[Endpoint]:
    """Return what the database knows to be blocked."""
    return set((await bench.store.share_limits(LimitUpdate(), bench.clock.wall_ms())).blocks)


async def test_a_long_block_that_ends_a_harvest_is_known_to_the_next(store: Store) -> None:
    def refused(_task_id: str, endpoint: Endpoint) -> Outcome:
        bench.throttle.learn(endpoint, *BLOCKED)
        return Throttled("Too many.", 10_800)

    bench = Bench(store, Api(refused), until=StopWhen.ALL_ASKED)
    bench.throttle.learn(Endpoint.STATUS, *BLOCKED)
    bench.queue(1, age_ms=DAY_MS)
    await bench.run()
    assert await blocks(bench) == {Endpoint.STATUS, Endpoint.RETRIEVE}


async def test_a_long_block_is_stored_while_it_is_sat_out(store: Store) -> None:
    bench = Bench(store, Api(harvested), until=StopWhen.SIGNALLED)
    bench.queue(1, age_ms=DAY_MS)
    for endpoint in POLL_ENDPOINTS:
        bench.throttle.learn(endpoint, *BLOCKED)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.scheduler.run)
        with anyio.fail_after(PATIENCE_S):
            while not await blocks(bench) >= set(POLL_ENDPOINTS):
                await anyio.lowlevel.checkpoint()
        bench.control.stop()


async def test_asking_once_asks_once(store: Store) -> None:
    api = Api(lambda _task_id, _endpoint: Processing())
    bench = Bench(store, api, until=StopWhen.ALL_ASKED)
    bench.queue(5, age_ms=DAY_MS)
    assert await bench.run() == {TaskState.PENDING: 5}
    assert set(api.asked.values()) == {1}


async def test_asking_once_asks_one_by_one_about_the_tasks_of_pages_that_are_blocked_meanwhile(store: Store) -> None:
    class ListBlocks(Api):
        """From the first page on no more may be asked for, while others are planned and their tasks claimed."""

        async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:
            await super().list_tasks(query, permit)
            bench.throttle.learn(Endpoint.LIST, *BLOCKED)
            return Throttled("Too many.", 10_800)

    api = ListBlocks(lambda _task_id, _endpoint: Processing())
    bench = Bench(store, api, until=StopWhen.ALL_ASKED)
    now_ms = bench.clock.wall_ms()
    for number in range(120):
        bench.insert("INSERT INTO tasks(task_id) VALUES (?)", an_id(number, now_ms - 30_000 - number * 5_000))
    await bench.run()
    assert (len(api.pages), len({task_id for task_id, _ in api.asked})) == (1, 120)


@pytest.mark.parametrize("expires_at", [0, -5])
async def test_a_deadline_that_cannot_be_is_replaced(store: Store, expires_at: int) -> None:
    bench = Bench(store, Api(harvested))
    task_id = an_id(1, bench.clock.wall_ms() - DAY_MS)
    bench.insert("INSERT INTO tasks(task_id, expires_at) VALUES (?, ?)", task_id, expires_at)
    assert await bench.run() == {TaskState.HARVESTED: 1}


async def test_what_was_laid_to_rest_while_the_clock_was_weeks_ahead_does_not_sleep_for_weeks(store: Store) -> None:
    bench = Bench(store, Api(harvested), lease_s=0.3)
    backed_off, claimed = bench.queue(2, age_ms=DAY_MS)
    ahead_ms = bench.clock.wall_ms() + 21 * DAY_MS
    bench.insert("UPDATE tasks SET next_attempt_at = ? WHERE task_id = ?", ahead_ms, backed_off)
    bench.insert(
        "UPDATE tasks SET next_attempt_at = ?, lease_until = ?, lease_owner = 'dead', claim = 7 WHERE task_id = ?",
        ahead_ms,
        ahead_ms,
        claimed,
    )
    assert await bench.run() == {TaskState.HARVESTED: 2}


async def test_a_harvested_task_set_back_by_hand_keeps_what_is_stored(store: Store) -> None:
    bench = Bench(store, Api(harvested))
    bench.queue(1, age_ms=DAY_MS)
    await bench.run()
    bench.insert("UPDATE tasks SET state = 'pending'")
    assert await Bench(store, Api(harvested)).run() == {TaskState.HARVESTED: 1}
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT count(*) FROM segment_vectors").fetchall() == [(2,)]


async def test_an_impossible_id_with_a_deadline_of_its_own_stops_no_other_task(store: Store) -> None:
    def answer(task_id: str, endpoint: Endpoint) -> Outcome:
        return InvalidRequest("no such id") if len(task_id) > MAX_LENGTH else harvested(task_id, endpoint)

    api = Api(answer)
    # The page shows that the API is healthy.
    api.page = ListPage((), 0)
    bench = Bench(store, api)
    bench.queue(2, age_ms=DAY_MS)
    later = bench.clock.wall_ms() + DAY_MS
    bench.insert("INSERT INTO tasks(task_id, expires_at) VALUES (?, ?)", "x" * (MAX_LENGTH + 1), later)
    assert await bench.run() == {TaskState.HARVESTED: 2, TaskState.REJECTED: 1}


async def test_a_stop_gives_every_claim_back(store: Store) -> None:
    bench = Bench(store, Api(harvested))
    bench.queue(50, age_ms=DAY_MS)
    bench.control.stop()
    assert await bench.run() == {TaskState.PENDING: 50}
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT count(*) FROM tasks WHERE lease_owner IS NOT NULL").fetchall() == [(0,)]


@pytest.mark.parametrize("state", ["ready", "pending"])
async def test_asking_once_does_not_sit_out_a_long_block_of_results_alone(store: Store, state: str) -> None:
    """Tasks that have surely finished, and tasks known to be ready, need no other call."""
    bench = Bench(store, Api(harvested), until=StopWhen.ALL_ASKED)
    bench.queue(3, age_ms=DAY_MS)
    bench.insert("UPDATE tasks SET state = ?", state)
    bench.throttle.learn(Endpoint.RETRIEVE, *BLOCKED)
    assert await bench.run() == {TaskState(state): 3}


async def test_tasks_that_hang_hide_no_result_with_a_nearer_deadline_than_others(store: Store) -> None:
    """The platform would drop it while younger ones, known to be ready, are retrieved."""
    order: list[str] = []

    def answer(task_id: str, endpoint: Endpoint) -> Outcome:
        order.append(task_id)
        bench.control.stop()
        return harvested(task_id, endpoint)

    bench = Bench(store, Api(answer))
    bench.queue(NARROW_VIEW + 10, age_ms=5 * DAY_MS)
    asked_ms = bench.clock.wall_ms() - 3 * 3_600_000
    bench.insert("UPDATE tasks SET unfinished_at = ?", asked_ms)
    sure = an_id(5000, bench.clock.wall_ms() - 4 * DAY_MS)
    bench.insert("INSERT INTO tasks(task_id) VALUES (?)", sure)
    for number in range(NARROW_VIEW):
        bench.insert("INSERT INTO tasks(task_id) VALUES (?)", an_id(5001 + number, bench.clock.wall_ms()))
    for number in range(8):
        ready = an_id(6000 + number, bench.clock.wall_ms() - DAY_MS)
        bench.insert("INSERT INTO tasks(task_id, state) VALUES (?, 'ready')", ready)
    await bench.run()
    assert order[0] == sure


async def test_what_an_answer_says_about_an_unfinished_video_is_kept(store: Store) -> None:
    def answer(_task_id: str, _endpoint: Endpoint) -> Outcome:
        return Processing(metadata=MediaMetadata("marengo3.0", 12.5))

    bench = Bench(store, Api(answer), until=StopWhen.ALL_ASKED)
    bench.queue(1, age_ms=DAY_MS)
    await bench.run()
    (found,) = (await store.due(bench.clock.wall_ms() + DAY_MS, limit=5)).pending
    assert (found.model_name, found.duration_s) == ("marengo3.0", 12.5)
    assert set(bench.planner.times.all_seen) == {("", 0), ("marengo3.0", 0), ("marengo3.0", 1)}


async def test_a_harvest_that_has_nothing_to_ask_yet_says_so(store: Store) -> None:
    bench = Bench(store, Api(lambda _task_id, _endpoint: Processing()))
    bench.queue(3, age_ms=1_000)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.scheduler.run)
        await until(lambda: bench.progress.is_waiting)
        bench.control.stop()
    assert bench.progress.open == 3


async def test_a_harvest_that_waits_for_its_budget_has_something_to_ask(store: Store) -> None:
    bench = Bench(store, Api(harvested))
    bench.throttle.limit = RateLimit(1)
    bench.queue(3, age_ms=DAY_MS)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.scheduler.run)
        await until(lambda: bench.progress.open == 2)
        await anyio.sleep(0.2)
        assert (bench.progress.open, bench.progress.is_waiting) == (2, False)
        bench.control.stop()


async def test_a_harvest_that_the_api_asks_to_stay_away_waits_for_that(store: Store) -> None:
    bench = Bench(store, Api(harvested))
    bench.throttle.learn(Endpoint.RETRIEVE, 429, LimitReport(retry_after_s=600))
    bench.throttle.learn(Endpoint.STATUS, 429, LimitReport(retry_after_s=600))
    bench.queue(3, age_ms=DAY_MS)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.scheduler.run)
        await until(lambda: bench.progress.blocked_until_ms is not None)
        assert not bench.progress.is_waiting
        bench.control.stop()


async def test_a_harvest_that_spreads_the_last_of_a_quota_says_until_when_it_waits(store: Store) -> None:
    bench = Bench(store, Api(harvested))
    bench.throttle.learn(Endpoint.RETRIEVE, 200, LimitReport(remaining=1, reset_s=7200, limit=50))
    bench.queue(3, age_ms=DAY_MS)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.scheduler.run)
        await until(lambda: bench.progress.blocked_until_ms is not None)
        assert bench.progress.blocked_until_ms == pytest.approx(bench.clock.wall_ms() + 3_600_000, abs=60_000)
        bench.control.stop()
