import anyio
import pytest

from harvester.domain.tasks.outcomes import Refused
from harvester.service.heartbeats import Heartbeats
from harvester.web.health import STUCK_AFTER_S, liveness, readiness
from tests.support.web_builders import StandingClock


async def test_a_daemon_that_has_just_started_is_alive() -> None:
    health = liveness(Heartbeats(), now=0.0)

    assert health.is_well
    assert health.page == {"status": "ok", "reasons": [], "stages": {}}


async def test_a_stage_that_waits_for_work_is_never_stuck() -> None:
    beats, clock = Heartbeats(), StandingClock()
    with beats.at_work("write", clock.monotonic):
        pass

    clock.now += 30 * 86_400
    health = liveness(beats, clock.now)

    assert health.is_well
    assert health.page["stages"]["write"]["state"] == "idle"


async def test_a_stage_that_sits_on_its_work_for_too_long_is_stuck_and_named() -> None:
    beats, clock = Heartbeats(), StandingClock()
    with beats.at_work("write", clock.monotonic):
        clock.now += STUCK_AFTER_S + 1
        health = liveness(beats, clock.now)

    assert not health.is_well
    assert health.page["reasons"] == ["The stage write has not reported in for 301 s."]


async def test_a_stage_that_waits_for_the_disk_and_says_so_is_alive() -> None:
    beats, clock = Heartbeats(), StandingClock()
    with beats.at_work("write", clock.monotonic):
        clock.now += STUCK_AFTER_S
        beats.beat(clock.now)
        clock.now += STUCK_AFTER_S
        health = liveness(beats, clock.now)

    assert health.is_well
    assert health.page["stages"]["write"]["state"] == "working"


async def test_of_several_decoders_the_stuck_one_speaks_for_the_stage() -> None:
    beats, clock = Heartbeats(), StandingClock()
    release = anyio.Event()

    async def decode() -> None:
        with beats.at_work("decode", clock.monotonic):
            await release.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(decode)
        await anyio.wait_all_tasks_blocked()
        clock.now += STUCK_AFTER_S + 1
        with beats.at_work("decode", clock.monotonic):
            health = liveness(beats, clock.now)
        release.set()

    assert health.page["stages"]["decode"]["state"] == "stuck"


@pytest.mark.parametrize(("is_proven", "key"), [(False, "not tried yet"), (True, "accepted")])
def test_a_writable_database_and_a_key_that_was_not_refused_are_ready(is_proven: bool, key: str) -> None:  # noqa: FBT001
    health = readiness(None, {}, None, is_proven=is_proven)

    assert health.is_well
    assert health.page["key"] == key


def test_a_refused_key_is_reported_by_its_code_and_not_by_a_text_that_may_repeat_it() -> None:
    health = readiness(None, {}, Refused("tlk_SECRET is no key", "api_key_invalid"), is_proven=True)

    assert not health.is_well
    assert health.page["key"] == "refused"
    assert "SECRET" not in str(health.page)


def test_a_database_that_cannot_be_written_is_not_ready_and_the_reason_is_given() -> None:
    health = readiness("The database is locked.", {}, None, is_proven=True)

    assert not health.is_well
    assert health.page["reasons"] == ["Database: The database is locked."]


def test_a_full_disk_that_the_writer_met_is_not_ready_although_an_empty_transaction_succeeds() -> None:
    health = readiness(None, {"database": "cannot be written: disk is full"}, None, is_proven=True)

    assert not health.is_well


def test_an_api_that_fails_is_a_condition_and_no_reason_against_readiness() -> None:
    health = readiness(None, {"api": "most requests fail"}, None, is_proven=False)

    assert health.is_well
    assert health.page["conditions"] == {"api": "most requests fail"}
