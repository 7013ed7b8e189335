"""How a harvest begins, on virtual time: it looks at once, whatever the prior says of the platform's speed."""

from dataclasses import replace

import anyio
import pytest

from bench.virtual import (
    START_MS,
    InlineStore,
    Setup,
    Submission,
    VirtualClock,
    draw_submissions,
    run_harvest,
    run_virtually,
)
from harvester.domain.limits.endpoint import Endpoint, RateLimit
from harvester.domain.limits.quotas import Quota
from harvester.domain.limits.shared_limits import LimitUpdate
from harvester.domain.tasks.outcomes import Transient
from harvester.domain.tasks.records import Attempt, Decision, Lease, Settlement
from harvester.domain.tasks.task import TaskState
from harvester.service.end_conditions import EndConditions
from harvester.service.first_look import FirstLook
from harvester.service.result_writer import ResultWriter
from harvester.service.run_options import RunOptions, StopWhen
from harvester.throttle.throttle import Throttle
from tests.support.harvest_parts import harvest_parts

pytestmark = pytest.mark.usefixtures("quiet")

AGE_S = 60


def five(*, processing_s: float = 20.0) -> list[Submission]:
    """Return five tasks that were made a minute before the harvest begins."""
    made = draw_submissions(5, 0.0, seed=1, processing_median_s=processing_s, processing_sigma=0.01)
    aged = []
    for one in made:
        created_ms, finished_ms = (at_ms - AGE_S * 1000 for at_ms in (one.task.created_at_ms, one.task.finished_at_ms))
        task_id = f"{created_ms // 1000:08x}{one.task.task_id[8:]}"
        task = replace(one.task, task_id=task_id, created_at_ms=created_ms, finished_at_ms=finished_ms)
        aged.append(replace(one, task=task, queued_at_ms=START_MS))
    return aged


def setup(**chosen: object) -> Setup:
    return replace(Setup(requests_per_minute=60, stop_after_s=600.0), **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", ["auto", "list"])
def test_five_tasks_that_are_ready_take_one_page_and_five_results_within_seven_seconds(strategy: str) -> None:
    report = run_harvest(five(), setup(strategy=strategy))
    assert dict(report.requests) == {Endpoint.LIST: 1, Endpoint.RETRIEVE: 5}
    assert report.makespan_s <= 7


def test_strategy_status_begins_with_calls_about_single_tasks() -> None:
    report = run_harvest(five(processing_s=600.0), setup(strategy="status", stop_after_s=0.9))
    assert set(report.requests) == {Endpoint.STATUS}


def test_it_looks_again_while_nothing_answers_like_the_api() -> None:
    report = run_harvest(five(), setup(error_ratio=1.0, stop_after_s=30.0))
    assert report.requests.total() > 3


def test_a_process_that_begins_soon_after_another_does_not_look_again() -> None:
    report = run_harvest(five(processing_s=3600.0), setup(stop_after_s=6.0, restart_every_s=2.0))
    assert dict(report.requests) == {Endpoint.LIST: 1}


@pytest.mark.parametrize(("window_s", "looks"), [(3600, True), (86_400, False)])
def test_under_a_known_quota_of_a_day_no_request_is_spent_on_a_look(window_s: int, looks: bool) -> None:  # noqa: FBT001
    async def is_due() -> bool:
        clock = VirtualClock()
        async with InlineStore() as store:
            await store.share_limits(LimitUpdate(quotas={Endpoint.RETRIEVE: Quota(50, window_s)}), clock.wall_ms())
            throttle = Throttle(RateLimit(60), clock.monotonic, limit_store=store, wall_ms=clock.wall_ms)
            look = FirstLook(RunOptions(), harvest_parts(store=store, clock=clock, throttle=throttle))
            await look.prepare(clock.wall_ms())
            return await look.is_due(clock.wall_ms())

    assert run_virtually(is_due()) is looks


@pytest.mark.parametrize(
    ("outcome", "status", "is_heard"),
    [("processing", 200, True), ("transient", 503, False), ("refused", 401, False), ("retrieved", None, False)],
    ids=["answer", "failure", "refusal", "kept body"],
)
def test_only_an_answer_of_the_last_ten_minutes_stands_for_a_look(
    outcome: str,
    status: int | None,
    is_heard: bool,  # noqa: FBT001
) -> None:
    async def heard() -> tuple[bool, bool]:
        async with InlineStore() as store:
            await store.select(["6500000000000000000000aa"], START_MS)
            (task,) = (await store.due(START_MS, limit=1)).pending
            (task,) = await store.claim(Lease("me", START_MS + 60_000, START_MS), [task])
            attempt = Attempt(START_MS, Endpoint.STATUS.value, outcome, http_status=status, duration_ms=1)
            decision = Decision(TaskState.PENDING, next_attempt_at_ms=START_MS + 5000)
            await store.settle([Settlement(task, decision, attempt, START_MS)])
            return (
                await store.is_heard_since(START_MS - 1, START_MS + 1),
                await store.is_heard_since(START_MS + 1, START_MS + 2),
            )

    assert run_virtually(heard()) == (is_heard, False)


@pytest.mark.parametrize(("until", "ends"), [(StopWhen.ALL_DONE, True), (StopWhen.SIGNALLED, False)])
def test_only_a_backfill_ends_after_a_minute_without_an_answer_of_the_api(until: StopWhen, ends: bool) -> None:  # noqa: FBT001
    async def over_at() -> list[bool]:
        clock = VirtualClock()
        async with InlineStore() as store:
            parts = harvest_parts(store=store, clock=clock)
            conditions = EndConditions(RunOptions(until=until), parts, ResultWriter(parts))
            found = []
            for seconds in (0, 59, 1):
                await anyio.sleep(seconds)
                parts.api_health.record_list_failure(Transient("A page.", "not_json"))
                assert "api.base_url" in parts.progress.conditions["api"]
                found.append(conditions.is_over())
            parts.api_health.record_page()
            assert parts.progress.conditions == {}
            return [*found, conditions.is_over()]

    assert run_virtually(over_at()) == [False, False, ends, False]
