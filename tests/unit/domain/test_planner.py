"""The planner's memory from one plan to the next, and its learning from answers."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.inferred_readiness import DOUBT_MS, INFERRED_READY_MS
from harvester.domain.planning.list_pause import LIST_PAUSE_REQUESTS, LIST_PAUSE_S, MAX_LIST_PAUSE_S
from harvester.domain.planning.list_reader import PAGE_LIMIT, PROCESSING, ListPage, ListQuery
from harvester.domain.planning.planned_requests import ListRequest, PlannedRequest, TaskRequest
from harvester.domain.planning.planner import LIST_MISSED_S, Planner, PlannerSettings
from harvester.domain.planning.strategy import Strategy
from harvester.domain.planning.unlisted_tasks import MISSES_KEPT_MS, UNLISTED_MS
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Failed, NotFound, Outcome, Processing, Ready, Retrieved, Transient
from harvester.domain.tasks.task import RETENTION_MS, Task, TaskState
from tests.support.store_builders import embeddings

NOW = 1_760_000_000_000
MINUTE_MS = 60_000
OLD_MS = 6 * 3_600_000
"""At this age the prior is sure that a task has finished."""

PER_S = 1.0
"""60 requests a minute."""


def task(key: int = 1, *, age_ms: int = 8 * MINUTE_MS, dated: bool = True) -> Task:
    created = NOW - age_ms
    return Task(
        key,
        f"task-{key}",
        TaskState.PENDING,
        added_at_ms=created,
        expires_at_ms=created + RETENTION_MS,
        created_at_ms=created if dated else None,
        version="v1",
    )


def requests(
    planner: Planner,
    *tasks: Task,
    now_ms: int = NOW,
    now: float = 1000.0,
    limit: int = 1000,
    waits_s: dict[Endpoint, float] | None = None,
) -> list[PlannedRequest]:
    due = DueTasks([], sorted(tasks, key=lambda one: (one.expires_at_ms, one.row_id)))
    return planner.plan(
        due, now_ms=now_ms, now=now, limit=limit, open_tasks=len(tasks), rate_per_s=PER_S, waits_s=waits_s or {}
    ).requests


def list_request(*tasks: Task, status: str | None = PROCESSING) -> ListRequest:
    born = [one.created_ms_estimate for one in tasks]
    return ListRequest(ListQuery(min(born) // 1000 * 1000, max(born) + 1000, status=status), tasks)


def page(*shown: Task, count: int | None = None, total: int | None = None) -> ListPage:
    metadata = [MediaMetadata(created_at_ms=one.created_at_ms) for one in shown]
    listed = [ListedTask(one.task_id, Processing(), about) for one, about in zip(shown, metadata, strict=True)]
    return ListPage(listed, len(listed) if count is None else count, total)


def answer_all(planner: Planner, tasks: Iterable[Task], outcome: Outcome, asked_at_ms: int = NOW) -> None:
    for one in tasks:
        planner.record_outcome(one, outcome, asked_at_ms)


def conclude(
    planner: Planner, asked: ListRequest, found: ListPage, heard: Iterable[Task] = (), at_ms: int = NOW
) -> set[int]:
    """Let the planner read a page as the looker does; return the keys of what it concludes to have finished."""
    finished = planner.infer_ready(asked, found, at_ms)
    for one in finished:
        planner.record_inferred_ready(one, at_ms)
    planner.record_page(asked, found, [*heard, *finished], at_ms)
    return {one.row_id for one in finished}


def retrieved(found: list[PlannedRequest]) -> set[int]:
    return {request.task.row_id for request in found if isinstance(request, TaskRequest) and not request.is_question}


# Questions and what they may cost.


def test_questions_are_a_part_of_the_budget() -> None:
    planner, young = Planner(PlannerSettings(strategy=Strategy.STATUS)), task(age_ms=8 * MINUTE_MS)
    assert planner.questions.allowed(1000.0, None) > 1
    planner = Planner()
    first = requests(planner, young)
    assert [request.is_question for request in first] == [True]
    planner.record_sent([ListRequest(ListQuery(0), (young,))], 1000.0)
    assert planner.questions.allowed(1000.0, PER_S) == 0
    assert planner.questions.allowed(1005.0, PER_S) == 1


def test_results_cost_nothing_of_it_and_a_guess_only_what_it_is_likely_to_waste() -> None:
    planner = Planner()
    planner.record_sent([TaskRequest(Endpoint.RETRIEVE, task())] * 5, 1000.0)
    assert planner.questions.allowed(1000.0, PER_S) == 1
    planner.record_sent([TaskRequest(Endpoint.RETRIEVE, task(), chance=0.8, is_question=True)], 1000.0)
    assert planner.questions.allowed(1000.2, PER_S) == 0
    assert planner.questions.allowed(1001.1, PER_S) == 1


def test_a_rate_that_has_risen_is_not_waited_for_at_the_old_one() -> None:
    planner, a_day = Planner(), 86_400.0
    planner.questions.allowed(0.0, 1 / a_day)
    planner.record_sent([ListRequest(ListQuery(0), (task(),))], 0.0)
    assert planner.questions.allowed(3_600.0, 1 / a_day) == 0
    planner.questions.allowed(3_600.0, PER_S)
    assert planner.questions.allowed(3_605.0, PER_S) == 1


# Pages of the unfinished, and what is concluded from them.


def test_what_a_page_of_the_unfinished_does_not_show_has_finished() -> None:
    planner, tasks = Planner(), [task(key) for key in range(10)]
    assert conclude(planner, list_request(*tasks), page(*tasks[:4]), tasks[:4]) == set(range(4, 10))
    assert conclude(planner, list_request(*tasks, status=None), page(*tasks[:4]), tasks[:4]) == set()


def test_that_is_forgotten_where_another_process_has_retrieved_it() -> None:
    planner, tasks = Planner(), [task(key) for key in range(10)]
    conclude(planner, list_request(*tasks), page())
    planner.expire_entries(NOW + INFERRED_READY_MS - 1)
    assert len(planner._inferred.row_ids) == 10
    planner.expire_entries(NOW + INFERRED_READY_MS)
    assert not planner._inferred.row_ids


def test_conclusions_that_turn_out_wrong_are_withdrawn_and_no_more_are_drawn_for_a_while() -> None:
    planner, tasks = Planner(), [task(key) for key in range(100)]
    conclude(planner, list_request(*tasks), page())
    assert planner.take_retracted() == []
    answer_all(planner, tasks[:3], Processing())
    assert set(planner.take_retracted()) == {one.row_id for one in tasks[3:]}
    assert planner.take_retracted() == []
    planner.expire_entries(NOW + DOUBT_MS - 1)
    # An answer to a page that was under way meanwhile.
    assert conclude(planner, list_request(*tasks[3:]), page(), at_ms=NOW + 1) == set()


def test_after_that_while_it_is_tried_again_and_then_ever_more_rarely() -> None:
    planner, tasks = Planner(), [task(key) for key in range(100)]
    later_ms = NOW
    for doubts in range(3):
        assert conclude(planner, list_request(*tasks), page(), at_ms=later_ms)
        answer_all(planner, tasks[:3], Processing(), later_ms)
        paused_ms = DOUBT_MS * 2**doubts
        assert conclude(planner, list_request(*tasks), page(), at_ms=later_ms + paused_ms - 1) == set()
        later_ms += paused_ms


def test_conclusions_that_hold_are_trusted_though_one_fails_now_and_then() -> None:
    planner = Planner()
    for number in range(400):
        one = task(number)
        assert conclude(planner, list_request(one), page()) == {number}
        planner.record_outcome(replace(one, state=TaskState.READY), Ready() if number % 20 else Processing(), NOW)


@pytest.mark.parametrize("outcome", [Transient("reset", "connection_lost"), NotFound("no such task")])
def test_an_answer_that_says_nothing_of_it_leaves_the_conclusion(outcome: Outcome) -> None:
    planner, one = Planner(), task()
    conclude(planner, list_request(one), page())
    planner.record_outcome(one, outcome, NOW)
    assert set(planner._inferred.row_ids) == {1}


# Tasks that the list does not show.


def test_tasks_that_a_whole_page_does_not_show_are_asked_about_by_themselves_for_a_while() -> None:
    planner, tasks = Planner(), [task(key) for key in range(6)]
    shown, hidden = tasks[:4], tasks[4:]
    assert [request.tasks for request in requests(planner, *hidden) if isinstance(request, ListRequest)] == [
        tuple(hidden)
    ]
    planner.record_page(list_request(*tasks, status=None), page(*shown), shown, NOW)
    again_ms = NOW + UNLISTED_MS + hidden[0].age_ms(NOW)
    for now_ms in (NOW, again_ms - 1):
        asked = requests(planner, *hidden, now_ms=now_ms, now=5000.0)
        assert asked
        assert not any(isinstance(request, ListRequest) for request in asked)
    (later,) = requests(planner, *hidden, now_ms=again_ms, now=5000.0, limit=1)
    assert later.tasks == tuple(hidden)
    planner.expire_entries(again_ms)
    assert not planner._unlisted._unlisted


@pytest.mark.parametrize("status", [None, PROCESSING])
def test_a_task_that_two_full_pages_do_not_show_is_asked_about_by_itself(status: str | None) -> None:
    """However long lies between them: a page that answers for none of its tasks must not be asked for without end."""
    planner, hidden = Planner(), [task(key, age_ms=9 * MINUTE_MS) for key in range(3)]
    others = [task(key, age_ms=9 * MINUTE_MS - 500) for key in range(100, 100 + PAGE_LIMIT)]
    full = page(*others, total=200)
    for round_ms in (0, 60_000):
        assert not planner._unlisted._unlisted
        planner.record_page(list_request(*hidden, status=status), full, others, NOW + round_ms)
        planner.expire_entries(NOW + round_ms)
    assert set(planner._unlisted._unlisted) == {0, 1, 2}
    assert not planner._unlisted._misses
    assert not any(isinstance(request, ListRequest) for request in requests(planner, *hidden, now_ms=NOW + 60_000))


def test_a_miss_is_not_remembered_for_ever() -> None:
    planner, hidden = Planner(), task(1, age_ms=9 * MINUTE_MS)
    planner.record_page(list_request(hidden), page(count=PAGE_LIMIT), [], NOW)
    planner.expire_entries(NOW + MISSES_KEPT_MS)
    assert not planner._unlisted._misses


def test_a_page_shorter_than_its_total_is_not_the_whole() -> None:
    """A server that gives ten at a time and does not say so."""
    planner, tasks = Planner(), [task(key, age_ms=9 * MINUTE_MS) for key in range(30)]
    assert conclude(planner, list_request(*tasks), page(*tasks[:10], total=30), tasks[:10]) == set()


def test_a_task_that_has_ended_leaves_nothing_behind() -> None:
    planner, one = Planner(), task()
    planner.record_page(list_request(one, status=None), page(), [], NOW)
    conclude(planner, list_request(one), page())
    planner.record_outcome(one, Failed("broken"), NOW)
    assert not planner._unlisted._unlisted
    assert not planner._unlisted._misses
    assert not planner._inferred.row_ids


# A list that fails.


def test_a_list_that_fails_is_left_alone_ever_longer() -> None:
    planner, tasks, now = Planner(), [task(key) for key in range(20)], 1000.0
    for pause_s in (LIST_PAUSE_S, 2 * LIST_PAUSE_S, 4 * LIST_PAUSE_S):
        assert isinstance(requests(planner, *tasks, now=now)[0], ListRequest)
        planner.list_failed(now)
        assert not any(isinstance(request, ListRequest) for request in requests(planner, *tasks, now=now + pause_s - 1))
        now += pause_s
    for _ in range(20):
        planner.list_failed(now)
    assert isinstance(requests(planner, *tasks, now=now + MAX_LIST_PAUSE_S)[0], ListRequest)


def test_a_list_that_fails_for_ever_takes_little_of_a_small_budget() -> None:
    planner, tasks, per_day = Planner(), [task(key) for key in range(20)], 50 / 86_400
    planner.plan(DueTasks([], tasks), now_ms=NOW, now=0.0, limit=1, open_tasks=20, rate_per_s=per_day, waits_s={})
    planner.list_failed(0.0)
    assert planner._list_pause.until == pytest.approx(LIST_PAUSE_REQUESTS / per_day)


def test_a_page_ends_the_pauses() -> None:
    planner, tasks = Planner(), [task(key) for key in range(20)]
    for _ in range(5):
        planner.list_failed(1000.0)
    planner.record_page(list_request(*tasks), page(*tasks), tasks, NOW)
    planner.list_failed(2000.0)
    assert isinstance(requests(planner, *tasks, now=2000.0 + LIST_PAUSE_S)[0], ListRequest)


def test_who_prefers_the_list_is_answered_without_it_where_it_fails_or_is_blocked_for_long() -> None:
    planner, one = Planner(PlannerSettings(strategy=Strategy.LIST)), task()
    assert isinstance(requests(planner, one)[0], ListRequest)
    assert requests(planner, one, waits_s={Endpoint.LIST: LIST_MISSED_S}) == []
    assert isinstance(requests(planner, one, waits_s={Endpoint.LIST: LIST_MISSED_S + 1})[0], TaskRequest)
    planner.list_failed(1000.0)
    assert isinstance(requests(planner, one)[0], TaskRequest)


def test_a_class_that_waits_is_not_planned_with() -> None:
    planner, one = Planner(), task(age_ms=OLD_MS)
    assert requests(planner, one, waits_s={Endpoint.RETRIEVE: 1.0})
    assert requests(planner, one, waits_s={Endpoint.RETRIEVE: 1.1}) == []


# Estimates.


def test_reckoning_that_fails_is_trusted_again_once_it_holds() -> None:
    planner, old = Planner(), [task(key, age_ms=OLD_MS) for key in range(600)]
    answer_all(planner, old[:3], Processing())
    assert not planner._trust.is_given
    assert retrieved(requests(planner, old[500])) == set()
    answer_all(planner, old[3:400], Retrieved(embeddings()))
    assert retrieved(requests(planner, old[500])) == {500}


def test_how_long_a_model_takes_is_learned_from_whatever_tells_the_model() -> None:
    planner = Planner()
    for number in range(200):
        one = task(number, age_ms=20_000)
        planner.record_outcome(one, Ready(MediaMetadata("fast1", 60.0)), NOW)
        planner.record_outcome(task(number, age_ms=3_600_000), Processing(metadata=MediaMetadata("slow1", 60.0)), NOW)
    fast, slow = (planner.times.of(name, 60.0).chance(60.0) for name in ("fast1", "slow1"))
    assert fast > 0.9
    assert slow < 0.1


@pytest.mark.parametrize("retrieved", [True, False])
def test_what_a_page_did_not_show_counts_for_its_model_once_the_model_is_known(retrieved: bool) -> None:  # noqa: FBT001
    """Else a model would be known by its unfinished tasks alone, of which pages tell, and be thought slow."""
    planner, video = Planner(), MediaMetadata("marengo3.0", 60.0)
    tasks = [task(key, age_ms=10 * MINUTE_MS + key) for key in range(50)]
    shown, hidden = tasks[:10], tasks[10:]
    answer_all(planner, shown, Processing(metadata=video))
    conclude(planner, list_request(*tasks), page(*shown), shown)
    whole = sum(planner.times.all_seen["", 0].finished)
    ready = [replace(one, state=TaskState.READY) for one in hidden]
    result = Retrieved(replace(embeddings(), metadata=video)) if retrieved else Failed("broken")
    answer_all(planner, ready, result, NOW + 1000)
    answer_all(planner, ready, result, NOW + 2000)
    seen = planner.times.all_seen
    assert sum(seen["", 0].finished) == pytest.approx(whole) == pytest.approx(40)
    assert sum(seen["marengo3.0", 1].finished) == pytest.approx(40 if retrieved else 0)
    if retrieved:
        assert planner.times.of("marengo3.0", 60.0).chance(600.0) == pytest.approx(0.8, abs=0.06)


def test_nothing_is_learned_of_a_task_whose_age_is_unknown_nor_from_answers_without_a_state() -> None:
    planner = Planner()
    planner.record_outcome(task(dated=False), Processing(), NOW)
    planner.record_outcome(task(), Transient("reset", "connection_lost"), NOW)
    planner.record_outcome(replace(task(), state=TaskState.READY), Retrieved(embeddings()), NOW)
    assert not planner.times.all_seen


def test_of_an_age_that_the_answer_itself_corrects_nothing_is_learned() -> None:
    """The time in an id may be hours before the creation; the platform does not take hours for that."""
    planner, created_ms = Planner(), NOW - MINUTE_MS
    hinted = f"{(NOW - OLD_MS) // 1000:08x}{1:016x}"
    early = replace(task(age_ms=OLD_MS, dated=False), task_id=hinted, added_at_ms=created_ms)
    planner.record_outcome(early, Processing("processing", created_ms, MediaMetadata(created_at_ms=created_ms)), NOW)
    assert sum(planner.times.all_seen["", 0].exposure_s) == pytest.approx(60.0)
    # It does learn that such an estimate was wrong.
    assert planner._trust.hits < planner._trust.tries
