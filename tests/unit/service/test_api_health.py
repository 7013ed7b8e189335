"""Conclusions from single outcomes about the API as a whole."""

from structlog.testing import capture_logs

from harvester.domain.limits.circuit_breaker import Breaker
from harvester.domain.tasks.outcomes import NotFound, Outcome, Transient
from harvester.reports.error_codes import API_CODES, UNKNOWN
from harvester.service.api_health import MAX_LOGGED_CODES, ApiHealth
from harvester.service.clock import SystemClock
from harvester.service.progress import Progress
from harvester.service.run_control import RunControl

UPGRADE = Transient("The API no longer serves this version of its calls: Upgrade.", "api_upgrade_required")


def recorded(*outcomes: Outcome) -> tuple[Progress, list[tuple[str, str, str]]]:
    """Return the progress, and code, reason and remedy of each refusal that was logged."""
    clock = SystemClock()
    progress = Progress(started=clock.monotonic())
    health = ApiHealth(Breaker(), progress, clock, RunControl(progress))
    with capture_logs() as logged:
        for outcome in outcomes:
            health.record_outcome(outcome)
    lines = [line for line in logged if line["event"] == "the API refuses a request"]
    return progress, [(line["code"], line["reason"], line["remedy"]) for line in lines]


def test_a_required_upgrade_and_each_unknown_code_are_logged_once_with_the_remedy() -> None:
    _, lines = recorded(UPGRADE, UPGRADE, NotFound("What?", "video_too_beautiful"))
    assert lines == [
        ("api_upgrade_required", UPGRADE.message, API_CODES["api_upgrade_required"].remedy),
        ("video_too_beautiful", "What?", UNKNOWN.remedy),
    ]


def test_a_code_that_the_program_explains_is_not_logged_and_others_not_without_end() -> None:
    assert recorded(Transient("Reset.", "connection_lost"), NotFound("Unknown."))[1] == []
    _, lines = recorded(*(Transient("What?", f"code_{number}") for number in range(MAX_LOGGED_CODES + 5)))
    assert len(lines) == MAX_LOGGED_CODES


def test_the_condition_names_a_code_that_a_person_has_to_look_up() -> None:
    progress, _ = recorded(*[UPGRADE] * 50)
    assert "(api_upgrade_required)" in progress.conditions["api"]
    progress, _ = recorded(*[Transient("Reset.", "connection_lost")] * 50)
    assert "connection_lost" not in progress.conditions["api"]
