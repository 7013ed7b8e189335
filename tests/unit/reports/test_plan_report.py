from dataclasses import replace

import pytest

from harvester.domain.limits.endpoint import Endpoint, LimitReport, RateLimit
from harvester.domain.limits.pacer import Pacer
from harvester.domain.limits.quotas import Quota
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.forecast import preview
from harvester.domain.planning.forecast_conditions import Conditions
from harvester.domain.planning.processing_time import ProcessingTimes
from harvester.domain.planning.queue_sample import QueuedTask, QueueSample
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS, ApiVersion, Task, TaskState
from harvester.reports.plan_json import as_json
from harvester.reports.plan_report import PlanReport
from harvester.reports.plan_text import lines

NOW = 1_760_000_000_000
MINUTE_MS = 60_000


def task(key: int = 1, *, age_ms: int = DAY_MS, state: TaskState = TaskState.PENDING, dated: bool = True) -> Task:
    born = NOW - age_ms
    return Task(key, f"task-{key}", state, born, born + RETENTION_MS, created_at_ms=born if dated else None)


def report(
    *tasks: Task,
    pacer: Pacer | None = None,
    times: ProcessingTimes | None = None,
    strategy: Strategy = Strategy.AUTO,
    version: ApiVersion = "v1",
) -> PlanReport:
    pacer, times = pacer or Pacer(RateLimit(60)), times or ProcessingTimes()
    states = [one.state for one in tasks]
    turns = [QueuedTask(one) for one in tasks]
    sample = QueueSample(
        NOW,
        open_tasks=len(tasks),
        ready_due=states.count(TaskState.READY),
        pending_due=states.count(TaskState.PENDING),
        sampled=turns,
        head=turns,
        deadlines=sorted((one.expires_at_ms, 1) for one in tasks),
    )
    conditions = Conditions(pacer.results_budget(NOW / 1000, NOW), strategy, ApiVersions(version))
    limits = {endpoint: pacer.budget(endpoint, NOW / 1000) for endpoint in pacer.endpoints}
    return PlanReport(sample, conditions, limits, times, preview(sample, conditions, times), strategy)


def line(shown: PlanReport, start: str) -> str:
    return next(line for line in lines(shown) if line.startswith(start))


UNFINISHED = replace(task(age_ms=9 * MINUTE_MS), unfinished_at_ms=NOW - 4 * MINUTE_MS)


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (report(task(state=TaskState.READY)), "retrieve task-1 — ready, expires in 6 d"),
        (
            report(task(age_ms=RETENTION_MS + 60_000, state=TaskState.READY)),
            "retrieve task-1 — ready, past its deadline for 1 min",
        ),
        (report(task()), "retrieve task-1 — 99.9 % likely to have finished, so asking first would cost more"),
        (
            report(task(age_ms=MINUTE_MS, dated=False)),
            "retrieve task-1 — its age is unknown, and a retrieval costs no more than asking",
        ),
        (report(replace(task(), gone=1, version="v1")), "status task-1 — the last answer about it must be confirmed"),
        (
            report(replace(UNFINISHED, expires_at_ms=NOW + 60_000, unfinished_at_ms=NOW - DAY_MS)),
            "retrieve task-1 — expires in 1 min: the last chance",
        ),
        (
            report(task(age_ms=4 * DAY_MS), strategy=Strategy.STATUS),
            "retrieve task-1 — expires in 3 d: time to retrieve it in any case",
        ),
        (report(UNFINISHED), "status task-1 — 41 % likely to have finished, and no other task is near it in the list"),
        (
            report(replace(UNFINISHED, created_at_ms=None)),
            "status task-1 — 41 % likely to have finished, and its page of the list is unknown",
        ),
        (
            report(UNFINISHED, version="v2"),
            "retrieve task-1 — 41 % likely to have finished: a retrieval costs no more than asking",
        ),
        (
            report(UNFINISHED, strategy=Strategy.STATUS),
            "status task-1 — 41 % likely to have finished, and strategy status asks about each task singly",
        ),
        (
            report(*(task(key, age_ms=5 * MINUTE_MS) for key in range(40))),
            "list 2025-10-09 08:48:20Z to 08:48:21Z — answers for 40 tasks, about 29 of them finished, retrieved next",
        ),
    ],
)
def test_each_call_has_its_reason(shown: PlanReport, says: str) -> None:
    assert line(shown, "  now") == f"  now             {says}"


def test_the_budget_shows_the_limits_that_the_api_has_stated() -> None:
    pacer = Pacer(RateLimit(60))
    pacer.learn_quota(Endpoint.RETRIEVE, Quota(50, 86_400))
    pacer.block(Endpoint.LIST, 3600, NOW / 1000)
    shown = report(task(), pacer=pacer)

    assert line(shown, "budget") == (
        "budget      50 requests a day, 60 requests a minute configured; the API allows no more; "
        "all processes on this database share it"
    )
    assert [line for line in lines(shown) if line.startswith("API limits")] == [
        "API limits  retrieve: a quota of 50 requests a day",
        "API limits  list: no requests until 2025-10-09 09:53:20Z",
    ]


def test_it_tells_what_is_left_of_a_quota_and_until_when() -> None:
    pacer = Pacer(RateLimit(60))
    pacer.accepted(Endpoint.RETRIEVE, LimitReport(limit=50, remaining=4, reset_s=7200), NOW / 1000)
    shown = report(task(1), pacer=pacer)

    assert line(shown, "API limits") == (
        "API limits  retrieve: a quota of 50 requests a day, 4 left until 2025-10-09 10:53:20Z"
    )


def test_requests_that_a_quota_of_a_day_lets_through_at_once_have_no_wait() -> None:
    """The rest of the quota goes out as fast as the setting allows; the plan cannot know how much that is."""
    pacer = Pacer(RateLimit(60))
    pacer.learn_quota(Endpoint.RETRIEVE, Quota(50, 86_400))
    shown = report(task(1), task(2), pacer=pacer)

    assert line(shown, "next calls") == (
        "next calls  one every 28 min 48 s on average: the quota of a day may be used at once, except its last tenth"
    )
    assert line(shown, "  now").startswith("  now             retrieve task-1 ")
    assert line(shown, "  then").startswith("  then            retrieve task-2 ")

    pacer.learn_quota(Endpoint.RETRIEVE, Quota(8, 60))
    assert line(report(task(1), task(2), pacer=pacer), "  in").startswith("  in 8 s          retrieve task-2 ")


def test_the_time_of_the_first_loss_is_shown() -> None:
    near = [replace(task(key), expires_at_ms=NOW + DAY_MS) for key in range(100)]
    pacer = Pacer(RateLimit(50 / 1440))
    shown = report(*near, pacer=pacer)
    assert line(shown, "finish").endswith(", at this rate, including the lost ones")
    assert line(shown, "at risk").endswith(" The first at 2025-10-10 08:53:20Z (in 1 d).")


def test_processing_times_are_a_guess_until_something_is_learned() -> None:
    times = ProcessingTimes()
    assert "half within 2 min, 95 % within 23 min 42 s: an assumption" in line(
        report(task(), times=times), "processing"
    )
    for _ in range(300):
        times.observe("marengo3.0", 600.0, 50.0, 60.0, is_finished=True)
    assert line(report(task(), times=times), "processing").startswith("processing  marengo3.0 ")
    assert line(report(task(), times=times), "processing").endswith("; learned from about 300 tasks")


def test_the_sums_and_the_risk_are_shown() -> None:
    shown = report(*(task(key) for key in range(3)))
    assert line(shown, "requests") == "requests    about 3 in all, 1.00 a task: 3 for results, 0 to ask"
    assert line(shown, "finish") == "finish      about 2025-10-09 08:53:22Z (in 2 s), at this rate"
    assert line(shown, "at risk") == "at risk     no task"


def test_an_empty_queue_takes_three_lines() -> None:
    assert [*lines(report())][1:] == ["", "queue       no open tasks"]


def test_programs_read_the_same() -> None:
    document = as_json(report(task(1), task(2, state=TaskState.READY)))

    assert [call["task_id"] for call in document["calls"]] == ["task-1", "task-2"]
    assert (document["todo"]["straight_away"], document["todo"]["retrieve"], document["todo"]["is_exact"]) == (
        1,
        1,
        True,
    )
    assert document["expected"]["requests"] == 2
    assert document["budget"]["classes"]["list"]["quota"] is None


@pytest.mark.parametrize(("per_minute", "every"), [(600, "0.1 s"), (60, "1 s"), (8, "7.5 s"), (1, "1 min")])
def test_the_time_between_two_calls_is_never_none(per_minute: float, every: str) -> None:
    shown = line(report(task(state=TaskState.READY), pacer=Pacer(RateLimit(per_minute))), "next calls")
    assert shown == f"next calls  one every {every}"
