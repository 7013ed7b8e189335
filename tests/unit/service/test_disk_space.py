"""Intake pauses while there is no space for more results; a log that a reader keeps long becomes a condition."""

from dataclasses import dataclass

from harvester.ports.space import LARGE_LOG_BYTES, FreeSpace, LogReport
from harvester.service.disk_space import CHECK_EVERY_S, LOG, SPACE, DiskSpaceGuard
from harvester.service.progress import Progress
from harvester.throttle.memory_budget import MemoryBudget
from tests.support.web_builders import StandingClock


@dataclass
class Volume:
    free_bytes: int = 0
    needed_bytes: int = 1000
    report: LogReport = LogReport(0, is_pinned=False)  # noqa: RUF009  # frozen

    def free_space(self) -> FreeSpace | None:
        return FreeSpace(0, self.free_bytes, self.needed_bytes)

    async def tend_log(self) -> LogReport:
        return self.report


class UnknownVolume(Volume):
    def free_space(self) -> FreeSpace | None:
        return None


class Ticking(StandingClock):
    """Every reading is later than the one before."""

    def monotonic(self) -> float:
        self.now += CHECK_EVERY_S
        return self.now


def guard(
    volume: Volume, budget: MemoryBudget | None = None, clock: StandingClock | None = None
) -> tuple[DiskSpaceGuard, Progress]:
    progress = Progress(started=0.0)
    return DiskSpaceGuard(volume, budget or MemoryBudget(10_000), progress, clock or Ticking()), progress


def test_intake_pauses_below_what_is_needed_and_goes_on_a_quarter_above() -> None:
    volume = Volume(free_bytes=1000)
    guarded, progress = guard(volume)
    assert not guarded.is_short()
    volume.free_bytes = 999
    assert guarded.is_short()
    assert SPACE in progress.conditions
    volume.free_bytes = 1249
    assert guarded.is_short()
    volume.free_bytes = 1250
    assert not guarded.is_short()
    assert progress.conditions == {}


def test_while_there_is_room_the_file_system_is_asked_a_few_times_a_second_at_most() -> None:
    volume, clock = Volume(free_bytes=1000), StandingClock()
    guarded, _ = guard(volume, clock=clock)
    assert not guarded.is_short()
    volume.free_bytes = 0
    assert not guarded.is_short()
    clock.now += CHECK_EVERY_S
    assert guarded.is_short()
    volume.free_bytes = 2000
    assert not guarded.is_short()


def test_what_is_under_way_and_what_comes_next_are_counted() -> None:
    budget = MemoryBudget(10_000)
    reservation = budget.take()
    budget.learn(300)
    volume = Volume(free_bytes=1299)
    guarded, _ = guard(volume, budget)
    assert guarded.is_short()
    volume.free_bytes = 10_000
    assert not guarded.is_short()
    reservation.release()


def test_where_the_free_space_is_unknown_nothing_pauses() -> None:
    guarded, progress = guard(UnknownVolume())
    assert not guarded.is_short()
    assert progress.conditions == {}


async def test_a_large_log_is_a_condition_only_while_a_reader_keeps_it() -> None:
    volume = Volume(report=LogReport(LARGE_LOG_BYTES, is_pinned=True))
    guarded, progress = guard(volume)
    await guarded.tend_log()
    assert "another program" in progress.conditions[LOG]
    for other in (LogReport(LARGE_LOG_BYTES, is_pinned=False), LogReport(LARGE_LOG_BYTES - 1, is_pinned=True)):
        volume.report = other
        await guarded.tend_log()
        assert progress.conditions == {}
