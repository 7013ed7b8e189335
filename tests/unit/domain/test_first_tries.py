"""While no version is known, few tasks are asked about: all of them may be of the other one."""

from dataclasses import replace

import pytest

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.first_tries import MAX_TRIES, TRY_S
from harvester.domain.planning.planned_requests import PlannedRequest, TaskRequest
from harvester.domain.planning.planner import Planner, PlannerSettings
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.outcomes import NotFound, Outcome, Processing, Transient, UnknownHere
from harvester.domain.tasks.task import DAY_MS, RETENTION_MS, Task, TaskState

NOW = 1_760_000_000_000
TASKS = 20


def task(key: int) -> Task:
    created = NOW - DAY_MS
    return Task(key, f"task-{key}", TaskState.PENDING, created, created + RETENTION_MS, created)


def planner() -> Planner:
    return Planner(PlannerSettings(versions=ApiVersions("v2")))


def sent(subject: Planner, tasks: list[Task], now: float = 1000.0) -> list[PlannedRequest]:
    planned = subject.plan(
        DueTasks([], tasks), now_ms=NOW, now=now, limit=64, open_tasks=TASKS, rate_per_s=None, waits_s={}
    )
    found = subject.without_excess_tries(planned, now).requests
    subject.record_sent(found, now)
    return found


ALL = [task(key) for key in range(TASKS)]


def test_few_tasks_are_tried_at_a_time() -> None:
    subject = planner()
    assert [len(sent(subject, ALL)), len(sent(subject, ALL[MAX_TRIES:]))] == [MAX_TRIES, 0]


def test_once_a_version_is_known_nothing_is_held_back() -> None:
    subject = planner()
    sent(subject, ALL)
    subject.record_version(ALL[0], "v1")
    found = sent(subject, ALL[MAX_TRIES:])
    assert [one.version for one in found if isinstance(one, TaskRequest)] == ["v1"] * (TASKS - MAX_TRIES)


@pytest.mark.parametrize(
    ("outcome", "more"), [(UnknownHere("No."), 0), (NotFound("No."), 1), (Transient("Later.", "http_503"), 1)]
)
def test_the_next_task_is_tried_when_both_versions_have_answered_about_one(outcome: Outcome, more: int) -> None:
    subject = planner()
    sent(subject, ALL)
    subject.record_outcome(ALL[0], outcome, NOW)
    assert len(sent(subject, ALL[MAX_TRIES:])) == more


def test_a_request_that_never_went_out_holds_no_others_back_for_long() -> None:
    subject = planner()
    sent(subject, ALL)
    assert len(sent(subject, ALL[MAX_TRIES:], now=1000.0 + TRY_S)) == MAX_TRIES


def test_the_second_request_about_a_task_is_not_held_back() -> None:
    subject = planner()
    sent(subject, ALL)
    denied = replace(ALL[0], gone=1, denied_by="v2")
    assert [one.tasks for one in sent(subject, [denied, *ALL[MAX_TRIES:]])] == [(denied,)]


def test_a_claimed_request_goes_out_in_the_version_that_is_known_by_then() -> None:
    subject = planner()
    request = ApiVersions("v2").request(Endpoint.RETRIEVE, ALL[1], 0.9)
    subject.record_outcome(ALL[0], Processing(), NOW)
    subject.record_version(ALL[0], "v1")
    renewed = subject.renewed(request)
    assert isinstance(renewed, TaskRequest)
    assert (renewed.version, renewed.endpoint, renewed.chance) == ("v1", Endpoint.RETRIEVE, 0.9)
    made_in_v2 = ApiVersions("v2").request(Endpoint.RETRIEVE, replace(ALL[1], version="v2"))
    assert subject.renewed(made_in_v2) is made_in_v2
