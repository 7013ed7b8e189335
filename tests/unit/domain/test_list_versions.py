"""Which list shows which tasks, and what follows from the absence of a task."""

from dataclasses import replace

import pytest

from harvester.domain.planning.list_reader import PROCESSING, ListPage, ListQuery
from harvester.domain.planning.list_versions import SEPARATE_OMISSIONS
from harvester.domain.planning.planned_requests import ListRequest
from harvester.domain.planning.planner import Planner
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Processing
from harvester.domain.tasks.task import RETENTION_MS, ApiVersion, Task, TaskState

NOW = 1_760_000_000_000
CREATED = NOW - 480_000


def task(key: int, version: ApiVersion | None = None) -> Task:
    at_ms = CREATED + key * 1000
    return Task(
        key,
        f"task-{key}",
        TaskState.PENDING,
        added_at_ms=at_ms,
        expires_at_ms=at_ms + RETENTION_MS,
        created_at_ms=at_ms,
        version=version,
    )


UNKNOWN = [task(key) for key in range(10)]
V1, V2 = [task(key, "v1") for key in range(20, 24)], [task(key, "v2") for key in range(30, 34)]
NEWEST = task(40, "v1")


def mixed_planner() -> Planner:
    """Return a planner that knows tasks of both versions, as many of each."""
    planner = Planner()
    planner.load_versions([(CREATED, "v1"), (CREATED, "v2")] * 2)
    return planner


def entry(one: Task, version: ApiVersion | None = None) -> ListedTask:
    return ListedTask(one.task_id, Processing(), MediaMetadata(created_at_ms=one.created_at_ms), version)


def read_page(
    planner: Planner, asked: ApiVersion, tasks: list[Task], shown: list[Task], status: str | None = None
) -> tuple[ListPage, set[int]]:
    """Let the planner read a page as the poller does; return the page and the keys of the tasks inferred to be ready.

    The page shows `shown`.
    """
    request = ListRequest(ListQuery(CREATED, NOW, status=status, version=asked), tuple(tasks))
    page = planner.identified(request, ListPage([entry(one) for one in shown], len(shown)))
    ready = planner.infer_ready(request, page, NOW)
    ids = {one.task_id for one in shown}
    planner.record_page(request, page, [*(one for one in tasks if one.task_id in ids), *ready], NOW)
    return page, {one.row_id for one in ready}


def separate_planner() -> Planner:
    planner = mixed_planner()
    read_page(planner, "v1", [*V1, *V2, NEWEST], [*V1, NEWEST])
    assert planner.lists.is_separate
    return planner


def pages(planner: Planner, tasks: list[Task]) -> list[ListQuery]:
    planned = planner.plan(
        DueTasks([], tasks), now_ms=NOW, now=1000.0, limit=10, open_tasks=100, rate_per_s=10.0, waits_s={}
    )
    return [request.query for request in planned.requests if isinstance(request, ListRequest)]


@pytest.mark.parametrize("asked", ["v1", "v2"])
@pytest.mark.parametrize("is_separate", [False, True])
def test_absence_of_a_task_of_unknown_or_other_version_says_nothing_with_tasks_of_both(
    asked: ApiVersion,
    is_separate: bool,  # noqa: FBT001
) -> None:
    planner = separate_planner() if is_separate else mixed_planner()
    own, other = (V1, V2) if asked == "v1" else (V2, V1)
    _, ready = read_page(planner, asked, [*UNKNOWN, *own, *other], UNKNOWN[:1], PROCESSING)
    assert ready == {one.row_id for one in own}


def test_a_list_that_shows_the_tasks_of_both_versions_is_believed_about_all() -> None:
    planner = mixed_planner()
    read_page(planner, "v1", [*V1, *V2], [*V1, V2[0]])
    _, ready = read_page(planner, "v1", [*UNKNOWN, *V2], [], PROCESSING)
    assert ready == {one.row_id for one in (*UNKNOWN, *V2)}


def test_an_entry_of_a_separate_list_shows_the_version_of_its_task() -> None:
    planner = mixed_planner()
    page, _ = read_page(planner, "v2", UNKNOWN, UNKNOWN)
    assert {one.version for one in page.tasks} == {None}
    planner = separate_planner()
    page, _ = read_page(planner, "v2", UNKNOWN, UNKNOWN)
    assert {one.version for one in page.tasks} == {"v2"}


def test_lists_count_as_common_as_soon_as_one_shows_a_task_of_the_other_version() -> None:
    planner = separate_planner()
    read_page(planner, "v2", V1, V1[:1])
    assert not planner.lists.is_separate
    assert {planner.list_of(one, 1000.0) for one in (*UNKNOWN, *V1, *V2)} == {"v2"}


def test_an_entry_that_only_the_other_version_can_have_made_shows_that_the_list_is_common() -> None:
    planner = separate_planner()
    request = ListRequest(ListQuery(CREATED, NOW, version="v1"), tuple(V1))
    planner.record_page(request, ListPage([entry(task(99), "v2")], 1), [], NOW)
    assert not planner.lists.is_separate


@pytest.mark.parametrize(
    ("omitted", "status", "is_late"),
    [(SEPARATE_OMISSIONS - 1, None, False), (4, PROCESSING, False), (4, None, True)],
    ids=["too few", "they may have finished", "the list may be late"],
)
def test_lists_do_not_count_as_separate_without_sufficient_evidence(
    omitted: int,
    status: str | None,
    is_late: bool,  # noqa: FBT001
) -> None:
    planner = mixed_planner()
    read_page(planner, "v1", [*V1, *V2[:omitted]], V1 if is_late else [*V1, NEWEST], status)
    assert not planner.lists.is_separate


def test_a_task_that_one_list_omits_is_asked_about_in_the_other_and_only_then_alone() -> None:
    planner = separate_planner()
    first, *_ = pages(planner, UNKNOWN)
    assert first.status is None
    assert first.version is not None
    read_page(planner, first.version, UNKNOWN, [])
    second, *_ = pages(planner, UNKNOWN)
    assert (second.status, {first.version, second.version}) == (None, {"v1", "v2"})
    assert second.version is not None
    read_page(planner, second.version, UNKNOWN, [])
    assert pages(planner, UNKNOWN) == []


def test_tasks_of_known_version_are_asked_about_in_their_own_list_among_those_in_processing() -> None:
    planner = separate_planner()
    known = [replace(one, version="v2") for one in UNKNOWN]
    assert {(query.version, query.status) for query in pages(planner, known)} == {("v2", PROCESSING)}


def test_a_task_is_asked_about_in_the_other_list_while_its_own_is_refused() -> None:
    planner = separate_planner()
    planner.list_not_served(ListRequest(ListQuery(CREATED, NOW, version="v2"), tuple(V2)), 1000.0)
    assert {planner.list_of(one, 1001.0) for one in (*UNKNOWN, *V2)} == {"v1"}
    assert read_page(planner, "v1", V2, [], PROCESSING)[1] == set()


@pytest.mark.parametrize("is_common", [False, True])
def test_harvested_tasks_show_which_list_shows_what(is_common: bool) -> None:  # noqa: FBT001
    planner = Planner()
    for one in (*V1, *V2):
        planner.record_version(replace(one, version=None), one.version)
    read_page(planner, "v1", UNKNOWN, [*UNKNOWN, NEWEST, *(V2[:1] if is_common else [])])
    assert planner.lists.is_decided
    assert planner.lists.is_separate != is_common
