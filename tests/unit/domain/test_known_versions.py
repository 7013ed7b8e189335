"""Which API version a task is asked in while it is unknown: that of its neighbours in time."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.api_versions import GONE_ANSWERS, ApiVersions
from harvester.domain.planning.known_versions import MAX_KNOWN, NEIGHBOURS, KnownVersions
from harvester.domain.tasks.task import RETENTION_MS, ApiVersion, Task, TaskState

NOW = 1_760_000_000_000
MINUTE_MS = 60_000


def task(age_ms: int = MINUTE_MS, *, version: ApiVersion | None = None) -> Task:
    created = NOW - age_ms
    return Task(1, "task-1", TaskState.PENDING, created, created + RETENTION_MS, created, version=version)


def known(*pairs: tuple[int, ApiVersion]) -> KnownVersions:
    subject = KnownVersions()
    subject.load(pairs)
    return subject


def test_without_any_known_task_there_is_no_neighbour() -> None:
    assert KnownVersions().near(NOW) is None


def test_one_known_task_speaks_for_the_account() -> None:
    assert known((NOW, "v1")).near(0) == "v1"


def test_where_the_version_changed_each_side_has_its_own() -> None:
    subject = known(*((at, "v1") for at in range(10)), *((at, "v2") for at in range(20, 30)))
    assert [subject.near(at) for at in (-5, 8, 13, 16, 21, 99)] == ["v1", "v1", "v1", "v2", "v2", "v2"]


def test_one_task_of_another_program_does_not_mislead() -> None:
    assert known((1, "v1"), (2, "v2"), (3, "v1")).near(2) == "v1"


def test_where_both_versions_take_turns_the_neighbours_say_nothing() -> None:
    turns: list[ApiVersion] = ["v1", "v2"]
    subject = known(*((at, turns[at // 10 % 2]) for at in range(0, 100, 10)))
    assert {subject.near(at) for at in range(15, 85, 10)} == {None}


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["v1", "v2"])), max_size=40), st.integers(0, 50))
def test_the_neighbours_are_those_that_a_search_through_all_finds(
    pairs: list[tuple[int, ApiVersion]], at_ms: int
) -> None:
    found = known(*pairs).near(at_ms)
    distances = sorted(abs(created - at_ms) for created, _ in pairs)[:NEIGHBOURS]
    nearest = [version for created, version in pairs if distances and abs(created - at_ms) <= distances[-1]]
    assert found is None or found in nearest
    assert found is not None or {version for _, version in pairs} != {"v1"}


def test_only_the_last_known_tasks_are_remembered() -> None:
    subject = known(*((at, "v1") for at in range(MAX_KNOWN)))
    for at in range(MAX_KNOWN):
        subject.learn(at, "v2")
    assert {subject.near(at) for at in range(0, MAX_KNOWN, 97)} == {"v2"}


def test_a_task_is_asked_in_the_version_that_knows_it_then_of_its_neighbours_then_first() -> None:
    versions = ApiVersions("v2")
    assert (versions.of(task()), versions.of(task(version="v1"))) == ("v2", "v1")
    versions.learn(task(), "v1")
    assert (versions.of(task()), versions.of(task(version="v2"))) == ("v1", "v2")


def test_a_task_teaches_once() -> None:
    versions = ApiVersions("v2")
    versions.learn(task(version="v1"), "v1")
    versions.learn(task(), None)
    assert not versions.known.has_any


@pytest.mark.parametrize("denied_by", ["v1", "v2"])
def test_after_a_denial_the_other_version_is_asked_whatever_the_neighbours_are(denied_by: ApiVersion) -> None:
    versions = ApiVersions("v2")
    versions.learn(task(), denied_by)
    denied = replace(task(), gone=1, denied_by=denied_by)
    request = versions.request(versions.result_endpoint(denied), denied)
    assert (request.version, request.endpoint) == ("v2" if denied_by == "v1" else "v1", Endpoint.RETRIEVE)
    assert (request.is_other_version, request.is_fresh) == (True, False)


@pytest.mark.parametrize(("denied_by", "asked"), [("v2", ("v1", "status")), ("v1", ("v2", "retrieve"))])
def test_the_last_confirmation_asks_the_version_that_has_not_denied_it_last(
    denied_by: ApiVersion, asked: tuple[str, str]
) -> None:
    denied = replace(task(), gone=GONE_ANSWERS, denied_by=denied_by)
    request = ApiVersions("v2").request(Endpoint.RETRIEVE, denied)
    assert (request.version, request.endpoint) == asked
    assert (request.is_other_version, request.is_fresh) == (True, True)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_first_request_about_a_task_is_no_confirmation(version: ApiVersion) -> None:
    request = ApiVersions(version).request(Endpoint.STATUS, task())
    assert (request.version, request.is_other_version, request.is_fresh) == (version, False, False)
    assert request.endpoint == ("status" if version == "v1" else "retrieve")
