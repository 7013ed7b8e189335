"""Which answers only the API can have given, by their form."""

import pytest

from harvester.api.responses import error_outcome
from harvester.domain.limits.endpoint import Endpoint, LimitReport
from harvester.domain.tasks.outcomes import Misrouted, Outcome, Processing, Ready, Throttled, Transient
from harvester.service.api_contact import ApiContact, is_of_api


def error(status: int, body: bytes, *, retry_after_s: float | None = None) -> Outcome:
    report = LimitReport(retry_after_s=retry_after_s)
    return error_outcome(Endpoint.STATUS, status, body, None, report)


OF_API: list[Outcome] = [
    Ready(),
    Processing(),
    Processing("a new word", received_id="64"),
    error(404, b'{"code": "resource_not_exists", "message": "Unknown."}'),
    error(401, b'{"code": "api_key_invalid", "message": "Wrong."}'),
    error(429, b""),
    error(429, b'{"code": "quota_exceeded", "message": "Later."}'),
    error(400, b'{"code": "parameter_invalid", "message": "The embedding_option parameter is invalid."}'),
    error(503, b'{"code": "internal_server_error", "message": "Later."}'),
    error(503, b'{"code": "internal_server_error", "message": "Later."}', retry_after_s=20.0),
]

OF_OTHERS: list[Outcome] = [
    Processing("a new word"),
    Transient("No connection.", "connect_failed"),
    Misrouted("64", "Another task."),
    Throttled("Busy.", 5.0, "http_503"),
    error(404, b"<html>Not Found</html>"),
    error(404, b""),
    error(404, b'{"code": 404, "message": "No such page."}'),
    error(503, b"<html>Service Unavailable</html>"),
    error(503, b"<html>Service Unavailable</html>", retry_after_s=20.0),
    error(403, b"Blocked."),
]


@pytest.mark.parametrize("outcome", OF_API)
def test_an_answer_in_the_form_of_the_api_shows_that_the_address_is_right(outcome: Outcome) -> None:
    assert is_of_api(outcome)


@pytest.mark.parametrize("outcome", OF_OTHERS)
def test_a_page_a_failure_or_another_programs_answer_does_not(outcome: Outcome) -> None:
    assert not is_of_api(outcome)


def test_the_first_failure_names_the_address_what_answered_and_the_remedy() -> None:
    contact = ApiContact("api.base_url (http://here)")
    assert contact.description() is None
    contact.record(Transient("No connection: refused.", "connect_failed"), 0.0)
    text = contact.description() or ""
    assert text.startswith("api.base_url (http://here) has not answered like the API so far, the last: ")
    assert "No connection: refused. " in text
    assert "harvester doctor" in text
    contact.record_page()
    assert contact.description() is None


def test_silence_lasts_from_the_first_failure_to_the_first_answer_of_the_api() -> None:
    contact = ApiContact()
    assert contact.silent_s(100.0) == 0
    contact.record(OF_OTHERS[1], 100.0)
    contact.record(OF_OTHERS[4], 110.0)
    assert (contact.silent_s(130.0), contact.last) == (30.0, OF_OTHERS[4])
    contact.record(OF_API[0], 131.0)
    contact.record(OF_OTHERS[1], 140.0)
    assert contact.silent_s(200.0) == 0


def test_the_api_is_lost_only_after_a_request_that_failed_a_minute_after_the_first() -> None:
    """In between no request was due, or the machine was suspended."""
    contact = ApiContact()
    contact.record(OF_OTHERS[1], 100.0)
    contact.record(OF_OTHERS[1], 159.0)
    assert not contact.is_lost(10_000.0)
    contact.record(OF_OTHERS[1], 160.0)
    assert contact.is_lost(160.0)
    contact.record(OF_API[0], 161.0)
    assert not contact.is_lost(10_000.0)


def test_a_server_unlike_the_api_that_asks_for_a_long_wait_is_lost_after_a_minute() -> None:
    contact = ApiContact()
    contact.record(error(503, b"<html>Closed</html>", retry_after_s=3600.0), 100.0)
    assert (contact.is_lost(159.0), contact.is_lost(160.0)) == (False, True)
