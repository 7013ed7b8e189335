"""Lookups of models over a fake list, on a clock that waits for nobody."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest

from harvester.domain.limits.endpoint import Endpoint, LimitReport
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.planning.model_lookup import BARREN_PAGES, HOUR_MS
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedRow, ListedTask, ListSettlement, UnnamedResult
from harvester.domain.tasks.model_gaps import ModelGaps
from harvester.domain.tasks.outcomes import NotFound, Outcome, Ready, Refused, Throttled, Transient
from harvester.domain.tasks.task import RETENTION_MS, ApiVersion, Task, TaskState
from harvester.service.list_poller import ListPoller
from harvester.service.model_lookup import CONDITION, FAILURES_BORNE, MAX_PAUSE_S, PAUSE_S, RECHECK_S, ModelLookups
from harvester.throttle.throttle import Permit
from tests.support.harvest_parts import harvest_parts

NOW = 1_760_000_000_000
EVERY_S = 5.0
GRACE_S = 30.0


class Clock:
    """Jumps to the end of each wait; `at` are actions for later times, in seconds from the start."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: deque[tuple[float, Callable[[], object]]] = deque()

    def wall_ms(self) -> int:
        return NOW + round(self.now * 1000)

    def monotonic(self) -> float:
        return self.now

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        assert not event.is_set()
        self.now += timeout_s
        while self.at and self.at[0][0] <= self.now:
            self.at.popleft()[1]()
        await anyio.lowlevel.checkpoint()


@dataclass
class Store:
    """Results without a model by task id; a page names those of its entries that have one."""

    results: dict[str, UnnamedResult] = field(default_factory=dict)
    not_listed: list[str] = field(default_factory=list)
    reads: int = 0

    async def unnamed_results(self, now_ms: int, *, limit: int) -> list[UnnamedResult]:
        self.reads += 1
        assert now_ms >= NOW
        await anyio.lowlevel.checkpoint()
        return [one for task_id, one in self.results.items() if task_id not in self.not_listed][:limit]

    async def models_not_listed(self, tasks: Sequence[Task], now_ms: int) -> None:
        assert now_ms >= NOW
        self.not_listed += [task.task_id for task in tasks]

    async def model_gaps(self) -> ModelGaps:
        return ModelGaps(len(self.results), len(self.not_listed))

    def free_space(self) -> None:
        return None

    async def listed_rows(self, task_ids: Sequence[str]) -> dict[str, ListedRow]:
        found = (self.results.get(task_id) for task_id in task_ids)
        return {one.task.task_id: ListedRow(one.task, is_claimed=False) for one in found if one is not None}

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        assert not page.changes
        return []

    async def name_models(self, entries: Sequence[ListedTask], now_ms: int) -> int:
        assert now_ms >= NOW
        named = [entry.task_id for entry in entries if entry.metadata.model_name and entry.task_id in self.results]
        for task_id in named:
            del self.results[task_id]
        return len(named)


Answer = ListPage | Outcome | Callable[[ListQuery], ListPage | Outcome]


class Api:
    """Gives the answers in turn and repeats the last."""

    def __init__(self, clock: Clock, *answers: Answer) -> None:
        self.answers = deque(answers)
        self.times: list[float] = []
        self._clock = clock

    async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:
        permit.spend()
        assert permit.endpoint is Endpoint.LIST
        self.times.append(self._clock.now)
        await anyio.lowlevel.checkpoint()
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        return answer(query) if callable(answer) else answer


class Bench:
    def __init__(self, *answers: Answer, results: Iterable[UnnamedResult] = ()) -> None:
        self.clock = Clock()
        self.api, self.store = Api(self.clock, *answers), Store({one.task.task_id: one for one in results})
        self.parts = harvest_parts(store=self.store, api=self.api, clock=self.clock)
        self.progress, self.control = self.parts.progress, self.parts.control
        self.progress.is_waiting = True
        self.lookups = ModelLookups(self.parts, ListPoller(self.parts), every_s=EVERY_S, grace_s=GRACE_S)

    async def run_for(self, seconds: float) -> None:
        async with anyio.create_task_group() as group:
            self.clock.at.append((self.clock.now + seconds, group.cancel_scope.cancel))
            await self.lookups.run()


def result(number: int, *, age_ms: int = 0) -> UnnamedResult:
    created = NOW - age_ms
    task_id = f"{created // 1000:08x}{number:016x}"
    return UnnamedResult(Task(number, task_id, TaskState.HARVESTED, created, created + RETENTION_MS, created), NOW)


def page(*results: UnnamedResult) -> ListPage:
    listed = [
        ListedTask(one.task.task_id, Ready(), MediaMetadata("marengo3.5", created_at_ms=one.task.created_at_ms))
        for one in results
    ]
    return ListPage(listed, len(listed), len(listed))


MANY = [result(number) for number in range(50)]
FEW = MANY[:3]


async def test_a_full_page_is_requested_soon() -> None:
    bench = Bench(page(*MANY), results=MANY)
    await bench.run_for(2 * EVERY_S)
    assert (len(bench.api.times), bench.store.results) == (1, {})
    assert bench.progress.requests[Endpoint.LIST] == 1


async def test_few_results_wait_for_others_and_at_the_end_of_a_harvest_they_do_not() -> None:
    bench = Bench(page(*FEW), results=FEW)
    await bench.run_for(2 * EVERY_S)
    assert bench.api.times == []
    await bench.lookups.finish()
    assert (len(bench.api.times), bench.store.results) == (1, {})


async def test_a_busy_harvest_comes_first_for_an_hour() -> None:
    bench = Bench(page(*MANY), results=MANY)
    bench.progress.is_waiting = False
    bench.progress.requests[Endpoint.RETRIEVE] = 50
    await bench.run_for(HOUR_MS / 1000 + 2 * EVERY_S)
    (at,) = bench.api.times
    assert at >= HOUR_MS / 1000


async def test_what_the_list_forgets_soon_is_looked_up_in_a_busy_harvest_too() -> None:
    old = result(1, age_ms=RETENTION_MS - HOUR_MS)
    bench = Bench(page(old), results=[old])
    bench.progress.is_waiting = False
    await bench.run_for(2 * EVERY_S)
    assert bench.store.results == {}


async def test_after_the_end_of_the_harvest_the_other_lookups_stop() -> None:
    bench = Bench(page(*MANY), results=MANY)
    await bench.lookups.finish()
    with anyio.fail_after(5):
        await bench.lookups.run()
    assert len(bench.api.times) == 1


async def test_each_version_s_list_is_asked_for_its_own_tasks() -> None:
    asked: list[tuple[str | None, int]] = []
    shown: dict[ApiVersion, list[UnnamedResult]] = {"v1": MANY[:2], "v2": MANY[2:5]}
    made_in: dict[str | None, list[UnnamedResult]] = {
        version: [replace(one, task=replace(one.task, version=version)) for one in some]
        for version, some in shown.items()
    }

    def listed(query: ListQuery) -> ListPage:
        asked.append((query.version, len(made_in[query.version])))
        return page(*made_in[query.version])

    bench = Bench(listed, results=[*made_in["v1"], *made_in["v2"]])
    await bench.lookups.finish()
    assert (asked, bench.store.results) == ([("v2", 3), ("v1", 2)], {})


async def test_results_that_the_list_does_not_name_are_noted_and_not_asked_for_again() -> None:
    bench = Bench(page(FEW[0]), results=FEW)
    await bench.lookups.finish()
    assert bench.store.not_listed == [one.task.task_id for one in FEW[1:]]
    assert len(bench.api.times) == 1


async def test_a_list_without_our_tasks_is_asked_a_handful_of_times() -> None:
    far_apart = [result(number, age_ms=HOUR_MS * number) for number in range(100)]
    foreign = [result(number) for number in range(1000, 1050)]

    def crowded(_query: ListQuery) -> ListPage:
        return ListPage(page(*foreign).tasks, 50, 5000)

    bench = Bench(crowded, results=far_apart)
    await bench.lookups.finish()
    assert len(bench.api.times) == BARREN_PAGES
    assert bench.progress.conditions[CONDITION].startswith("100 results without a model: ")
    await bench.lookups.finish()
    assert len(bench.api.times) == BARREN_PAGES


async def test_a_refused_list_is_asked_ever_more_rarely_and_ends_nothing() -> None:
    bench = Bench(Refused("Not for you.", code="api_not_allowed"), results=MANY)
    await bench.run_for(3 * 24 * 3600)
    waits = [after - before for before, after in pairwise(bench.api.times)]
    assert PAUSE_S <= waits[0] < PAUSE_S + 2 * EVERY_S
    assert all(after > before for before, after in pairwise(waits[:4]))
    assert MAX_PAUSE_S <= waits[-1] < MAX_PAUSE_S + 2 * EVERY_S
    assert not bench.control.is_stopping
    assert "Not for you" in bench.progress.conditions[CONDITION]


async def test_a_list_that_is_back_ends_the_condition() -> None:
    bench = Bench(Refused("Not for you.", code="api_not_allowed"), page(*MANY), results=MANY)
    await bench.run_for(PAUSE_S + 3 * EVERY_S)
    assert (bench.store.results, bench.progress.conditions) == ({}, {})


async def test_a_passing_failure_is_tried_again_soon() -> None:
    bench = Bench(Transient("A cut.", "cut"), page(*FEW), results=FEW)
    await bench.lookups.finish()
    assert (len(bench.api.times), bench.store.results) == (2, {})
    assert bench.clock.now < PAUSE_S


@pytest.mark.parametrize("failure", [Transient("A cut.", "cut"), Throttled("Too many.", None)])
async def test_a_lookup_gives_up_after_a_few_failures(failure: Outcome) -> None:
    bench = Bench(failure, results=FEW)
    await bench.lookups.finish()
    assert len(bench.api.times) == FAILURES_BORNE
    assert bench.store.not_listed == []


@pytest.mark.parametrize("denial", [Refused("Not for you.", code="api_not_allowed"), NotFound("There is no list.")])
async def test_a_lookup_gives_up_at_once_where_the_list_is_denied(denial: Outcome) -> None:
    bench = Bench(denial, results=FEW)
    await bench.lookups.finish()
    assert (len(bench.api.times), bench.control.is_stopping) == (1, False)


async def test_a_list_that_is_blocked_for_long_is_not_waited_for() -> None:
    bench = Bench(page(*FEW), results=FEW)
    bench.parts.throttle.learn(Endpoint.LIST, 429, LimitReport(retry_after_s=7200))
    await bench.lookups.finish()
    assert (bench.api.times, bench.clock.now) == ([], 0.0)


async def test_a_short_block_is_waited_for() -> None:
    bench = Bench(page(*FEW), results=FEW)
    bench.parts.throttle.learn(Endpoint.LIST, 429, LimitReport(retry_after_s=20))
    await bench.lookups.finish()
    assert (len(bench.api.times), bench.store.results) == (1, {})
    assert bench.api.times[0] >= 20


async def test_a_stop_ends_the_lookup_at_the_end_of_a_harvest_after_the_request_under_way() -> None:
    bench = Bench(page(MANY[0]), results=[])
    far_apart = [result(number, age_ms=24 * HOUR_MS * number) for number in range(6)]
    bench.store.results = {one.task.task_id: one for one in far_apart}

    def one_and_stop(_query: ListQuery) -> ListPage:
        bench.control.stop()
        return page(far_apart[0])

    bench.api.answers = deque([one_and_stop])
    await bench.lookups.finish()
    assert len(bench.api.times) == 1
    assert far_apart[0].task.task_id not in bench.store.results


async def test_a_stopped_harvest_looks_nothing_up_at_its_end() -> None:
    bench = Bench(page(*FEW), results=FEW)
    bench.control.stop()
    await bench.lookups.finish()
    assert bench.api.times == []


async def test_a_store_without_such_results_is_read_only_now_and_then() -> None:
    bench = Bench(page())
    await bench.run_for(2 * RECHECK_S)
    assert 2 <= bench.store.reads <= 4
    bench.progress.harvested += 1
    await bench.run_for(2 * EVERY_S)
    assert bench.store.reads <= 6
