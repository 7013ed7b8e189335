"""A poll of the list: its listeners get every answer, and its tasks are given back."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from harvester.domain.limits.circuit_breaker import MIN_SAMPLE
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.list_reader import PROCESSING, ListPage, ListQuery
from harvester.domain.planning.planned_requests import ListRequest
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedRow, ListedTask, ListSettlement
from harvester.domain.tasks.outcomes import NotFound, Outcome, Processing, Ready, Refused, Throttled, Transient
from harvester.domain.tasks.task import RETENTION_MS, ApiVersion, Task, TaskState
from harvester.service.clock import SystemClock
from harvester.service.list_poller import ListPoller, Polled
from harvester.throttle.throttle import Permit
from tests.support.harvest_parts import harvest_parts

NOW = 1_760_000_000_000
AGE_MS = 480_000


class Clock(SystemClock):
    def wall_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 1000.0


class Api:
    def __init__(self, answer: ListPage | Outcome) -> None:
        self.answer = answer
        self.queries: list[ListQuery] = []

    async def list_tasks(self, query: ListQuery, permit: Permit) -> ListPage | Outcome:
        permit.spend()
        self.queries.append(query)
        await anyio.lowlevel.checkpoint()
        return self.answer


class Pages:
    """Stores every change but those of `refused`, as if another process had changed these rows."""

    def __init__(self) -> None:
        self.rows: dict[str, ListedRow] = {}
        self.refused: Iterable[str] = ()
        self.settled: list[ListSettlement] = []

    async def listed_rows(self, task_ids: Sequence[str]) -> dict[str, ListedRow]:
        await anyio.lowlevel.checkpoint()
        return {task_id: self.rows[task_id] for task_id in task_ids if task_id in self.rows}

    async def apply_list_page(self, page: ListSettlement) -> list[bool]:
        await anyio.lowlevel.checkpoint()
        self.settled.append(page)
        return [change.task.task_id not in self.refused for change in page.changes]

    async def name_models(self, entries: Sequence[ListedTask], now_ms: int) -> int:
        await anyio.lowlevel.checkpoint()
        assert now_ms == NOW
        return sum(entry.metadata.model_name is not None for entry in entries)


class Bench:
    def __init__(self, answer: ListPage | Outcome) -> None:
        self.api, self.store = Api(answer), Pages()
        parts = harvest_parts(store=self.store, api=self.api, clock=Clock())
        self.planner, self.breaker, self.control = parts.planner, parts.breaker, parts.control
        self.progress = parts.progress
        self.poller = ListPoller(parts)

    async def poll(self, *tasks: Task, version: ApiVersion = "v1") -> Polled:
        self.store.rows = {one.task_id: ListedRow(one, is_claimed=True) for one in tasks}
        query = ListQuery(NOW - AGE_MS - 1000, NOW - AGE_MS + 1000, status=PROCESSING, version=version)
        return await self.poller.poll(ListRequest(query, tasks), Permit(Endpoint.LIST))

    @property
    def list_asked_next(self) -> ApiVersion:
        return self.planner.lists.of(task(1), self.planner.settings.versions, 1000.0)

    @property
    def is_list_paused(self) -> bool:
        return self.planner._list_pause.until > 1000.0


def task(key: int) -> Task:
    created = NOW - AGE_MS
    return Task(key, f"task-{key}", TaskState.PENDING, created, created + RETENTION_MS, created)


def page(**outcomes: Ready | Processing) -> ListPage:
    listed = [
        ListedTask(task_id.replace("_", "-"), outcome, MediaMetadata(created_at_ms=NOW - AGE_MS))
        for task_id, outcome in outcomes.items()
    ]
    return ListPage(listed, len(listed), len(listed))


async def test_store_planner_and_displays_hear_what_a_page_says() -> None:
    bench = Bench(page(task_1=Ready(), task_2=Processing()))
    await bench.poll(task(1), task(2), task(3))
    (settled,) = bench.store.settled
    assert [one.task.task_id for one in settled.changes] == ["task-1", "task-2"]
    assert [one.decision and one.decision.state for one in settled.changes] == [TaskState.READY, TaskState.PENDING]
    assert [one.row_id for one in settled.claimed] == [1, 2, 3]
    attempt = settled.attempt
    assert attempt is not None
    assert (attempt.at_ms, attempt.endpoint, attempt.http_status) == (NOW, "list", 200)
    assert bench.progress.counts.get(TaskState.READY) == 2
    assert [one.row_id for one in settled.finished] == [3]
    assert set(bench.planner._inferred.row_ids) == {3}
    assert bench.planner.times.all_seen
    assert not bench.is_list_paused


async def test_what_another_process_has_changed_since_is_no_news_to_planner_and_displays() -> None:
    bench = Bench(page(task_1=Ready(), task_2=Ready(), task_3=Ready()))
    bench.store.refused = ["task-1", "task-3"]
    await bench.poll(task(1), task(2), task(3))
    assert bench.progress.counts.get(TaskState.READY) == 1


FAILURES: list[Outcome] = [
    Transient("HTTP 500", "http_500"),
    NotFound("There is no such call.", "http_404"),
    Refused("Not for you.", "api_not_allowed"),
    Throttled("Too many.", 30.0),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda one: type(one).__name__)
async def test_whatever_goes_wrong_the_tasks_are_given_back_and_nothing_is_concluded(failure: Outcome) -> None:
    bench = Bench(failure)
    await bench.poll(task(1), task(2))
    (settled,) = bench.store.settled
    assert (list(settled.changes), [one.row_id for one in settled.claimed]) == ([], [1, 2])
    assert not bench.planner._inferred.row_ids
    assert not bench.planner._unlisted._unlisted
    # A block is kept by the throttle, and ends by itself. A refused list is that of one API version.
    assert bench.is_list_paused == isinstance(failure, Transient)
    assert bench.list_asked_next == ("v2" if isinstance(failure, NotFound | Refused) else "v1")


@pytest.mark.parametrize("failure", FAILURES[1:3], ids=lambda one: type(one).__name__)
async def test_the_list_is_paused_once_those_of_both_api_versions_are_refused(failure: Outcome) -> None:
    bench = Bench(failure)
    await bench.poll(task(1))
    assert not bench.is_list_paused
    await bench.poll(task(1), version="v2")
    assert bench.is_list_paused


async def test_a_list_that_shows_a_task_of_the_other_version_is_asked_about_both() -> None:
    bench = Bench(page(task_1=Processing(), task_2=Processing()))
    made_in_v2 = replace(task(2), version="v2")
    assert bench.planner.lists.of(made_in_v2, bench.planner.settings.versions) == "v2"
    await bench.poll(task(1), made_in_v2)
    assert bench.planner.lists.of(made_in_v2, bench.planner.settings.versions) == "v1"


async def test_a_task_of_another_version_than_the_list_is_not_finished_because_the_list_does_not_show_it() -> None:
    bench = Bench(page(task_1=Processing()))
    await bench.poll(task(1), task(2), replace(task(3), version="v2"))
    (settled,) = bench.store.settled
    assert [one.row_id for one in settled.finished] == [2]


async def test_an_empty_list_says_nothing_while_no_version_is_known() -> None:
    bench = Bench(page())
    await bench.poll(task(1), task(2))
    (settled,) = bench.store.settled
    assert list(settled.finished) == []


@pytest.mark.parametrize(
    ("failure", "opens"), [(FAILURES[0], True), (FAILURES[1], False), (FAILURES[2], False), (FAILURES[3], False)]
)
async def test_only_what_is_wrong_with_the_api_as_a_whole_opens_the_breaker(
    failure: Outcome,
    opens: bool,  # noqa: FBT001
) -> None:
    bench = Bench(failure)
    for _ in range(MIN_SAMPLE):
        await bench.poll(task(1))
    assert bench.breaker.is_closed != opens


async def test_a_code_that_a_person_has_to_look_up_is_logged() -> None:
    with capture_logs() as logged:
        await Bench(Transient("Upgrade.", "api_upgrade_required")).poll(task(1))
    assert "api_upgrade_required" in [line.get("code") for line in logged]


@pytest.mark.parametrize("is_key_invalid", [True, False])
async def test_a_refused_key_stops_everything_and_a_refused_list_does_not(
    is_key_invalid: bool,  # noqa: FBT001
) -> None:
    bench = Bench(Refused("No.", is_key_invalid=is_key_invalid))
    await bench.poll(task(1))
    assert bench.control.is_stopping is is_key_invalid


async def test_after_a_refused_list_one_task_is_asked_about_at_once_to_see_whether_all_calls_are_refused() -> None:
    bench = Bench(Refused("No."))
    await bench.poll(task(1))
    found = []
    due = DueTasks([], [replace(task(key), unfinished_at_ms=NOW - 1000) for key in (1, 2, 3)])
    for _ in range(2):
        found.append(
            bench.planner.plan(due, now_ms=NOW, now=1000.0, limit=8, open_tasks=3, rate_per_s=1.0, waits_s={}).requests
        )
        bench.planner.record_sent(found[-1], 1000.0)
    assert [[request.is_question for request in requests] for requests in found] == [[True], []]


async def test_a_page_closes_the_breaker() -> None:
    bench = Bench(page())
    for _ in range(MIN_SAMPLE):
        bench.breaker.failed(1000.0)
    assert not bench.breaker.is_closed
    await bench.poll(task(1))
    assert bench.breaker.is_closed


async def test_a_page_names_the_models_of_results_whoever_asked_for_it() -> None:
    named = ListedTask("task-9", Ready(), MediaMetadata(model_name="marengo3.5"))
    answer = ListPage([named], 1, 1)
    assert await Bench(answer).poll(task(1)) == Polled(answer, named=1)


async def test_what_is_no_page_names_nothing() -> None:
    refused = Refused("No.")
    assert await Bench(refused).poll(task(1)) == Polled(refused)
