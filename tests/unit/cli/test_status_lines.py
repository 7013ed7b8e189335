"""The first lines of `harvester status`."""

from harvester.cli.status import _first_lines
from harvester.domain.limits.pause import Pause
from harvester.domain.planning.feasibility import Budget, assess
from tests.support.store_builders import NOW
from tests.unit.test_reference_json import full_report


def first_lines(pause: Pause | None, **conditions: str) -> list[str]:
    report = full_report(pause=pause, deadlines=[])
    return list(_first_lines(report, assess([], NOW, Budget(1.0, 1.0)), conditions, NOW / 1000))


def test_conditions_of_the_daemon_are_named() -> None:
    assert first_lines(None, api="no answer")[1:] == ["The daemon reports api: no answer"]


def test_a_pause_is_said_once() -> None:
    lines = first_lines(Pause(NOW, None), paused="since 12:00", api="no answer")

    assert [line.partition(" ")[0] for line in lines[1:]] == ["PAUSED", "The"]
    assert lines[2] == "The daemon reports api: no answer"


def test_a_pause_that_has_just_ended_in_the_database_is_still_the_daemons() -> None:
    assert first_lines(None, paused="since 12:00")[1:] == ["The daemon reports paused: since 12:00"]
