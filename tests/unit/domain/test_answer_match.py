"""An API version that is not available for the key, or does not know a task, while the other may."""

from dataclasses import replace

import pytest

from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.answer_match import VERSION_NOT_SERVED, match_answer
from harvester.domain.planning.known_versions import KnownVersions
from harvester.domain.planning.planned_requests import TaskRequest
from harvester.domain.tasks.outcomes import (
    InvalidRequest,
    NotFound,
    Outcome,
    Processing,
    Refused,
    Transient,
    UnknownHere,
)
from harvester.domain.tasks.task import ApiVersion, Task, TaskState

NEW = Task(1, "task-1", TaskState.PENDING, added_at_ms=0, expires_at_ms=1)
FORBIDDEN = Refused("Not for you.", "api_not_allowed")


def request(task: Task, version: ApiVersion = "v2") -> TaskRequest:
    return TaskRequest(Endpoint.RETRIEVE, task, version=version)


@pytest.mark.parametrize("outcome", [NotFound("Unknown."), InvalidRequest("Odd.")])
def test_the_first_denial_says_nothing_about_the_task(outcome: NotFound | InvalidRequest) -> None:
    assert match_answer(request(NEW), 404, outcome) == UnknownHere(outcome.message, outcome.code)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (403, FORBIDDEN),
        (404, Transient("A page.", "not_json")),
        (405, Transient("No.", "http_405")),
        (426, Transient("Upgrade.", "http_426")),
        (400, Transient("Upgrade.", "api_upgrade_required")),
    ],
)
def test_a_version_that_is_not_available_is_no_trouble_of_the_key_while_the_other_may_be(
    status: int, outcome: Refused | Transient
) -> None:
    assert match_answer(request(NEW), status, outcome) == UnknownHere(outcome.message, VERSION_NOT_SERVED)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(401, Refused("No.", is_key_invalid=True)), (503, Transient("Later.", "http_503")), (200, Processing())],
)
def test_what_has_nothing_to_do_with_the_version_stays_what_it_is(status: int, outcome: Outcome) -> None:
    assert match_answer(request(NEW), status, outcome) == outcome


def test_a_key_that_neither_version_serves_is_refused() -> None:
    denied = replace(NEW, gone=1, denied_by="v2")
    assert match_answer(request(denied, "v1"), 403, FORBIDDEN) == FORBIDDEN


def test_a_version_that_has_answered_before_refuses_the_key() -> None:
    known = KnownVersions()
    known.learn(0, "v2")
    assert match_answer(request(NEW), 403, FORBIDDEN, known) == FORBIDDEN
    assert match_answer(request(NEW, "v1"), 403, FORBIDDEN, known) == UnknownHere(FORBIDDEN.message, VERSION_NOT_SERVED)
    denied = replace(NEW, gone=1, denied_by="v2")
    assert match_answer(request(denied, "v1"), 403, FORBIDDEN, known) == NotFound(FORBIDDEN.message, FORBIDDEN.code)


def test_a_page_of_a_firewall_is_no_word_of_a_version() -> None:
    page = Transient("A page.", "blocked_by_proxy")
    assert match_answer(request(NEW), 403, page) == page


def test_a_mistyped_id_does_not_refuse_the_key_of_an_account_with_one_version() -> None:
    denied = replace(NEW, gone=1, denied_by="v2", error_code="resource_not_exists")
    assert match_answer(request(denied, "v1"), 403, FORBIDDEN) == NotFound(FORBIDDEN.message, FORBIDDEN.code)
    twice = replace(NEW, gone=2, denied_by="v1", error_code="resource_not_exists")
    assert match_answer(request(twice, "v2"), 403, FORBIDDEN) == NotFound(FORBIDDEN.message, FORBIDDEN.code)


@pytest.mark.parametrize("task", [replace(NEW, version="v2"), replace(NEW, gone=1, denied_by="v1")])
def test_a_later_denial_and_one_of_the_version_that_knew_the_task_count(task: Task) -> None:
    assert match_answer(request(task), 404, NotFound("Unknown.")) == NotFound("Unknown.")


def test_an_id_that_no_request_was_sent_for_has_no_other_version() -> None:
    impossible = InvalidRequest("Odd.", "task_id_invalid")
    assert match_answer(request(NEW), None, impossible) == impossible
