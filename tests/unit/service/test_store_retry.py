"""A write that a busy database refuses is repeated until it succeeds; other errors end the harvest at once."""

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest
import structlog.testing

from harvester.domain.errors import MovedFileError, StoreBusyError, StoreError
from harvester.service.clock import SystemClock
from harvester.service.progress import Progress
from harvester.service.store_retry import CONDITION, MAX_PAUSE_S, StoreRetry

LOCKED = StoreBusyError("The database is locked.", reason="database is locked")
FULL = StoreBusyError("The disk is full.", reason="database or disk is full")
DAMAGED = StoreError("The database is damaged.")
MOVED = MovedFileError("The file is gone.")


class FakeClock(SystemClock):
    """A wait takes no time, and notes how long it was and which condition was shown meanwhile."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.now = 0.0
        self.waits: list[float] = []
        self.shown: list[str | None] = []

    def monotonic(self) -> float:
        return self.now

    async def wait(self, event: anyio.Event, timeout_s: float) -> None:
        assert not event.is_set()
        self.waits.append(timeout_s)
        self.shown.append(self._progress.conditions.get(CONDITION))
        self.now += timeout_s
        await anyio.lowlevel.checkpoint()


class Bench:
    """A write that raises the given errors in turn and succeeds then."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.progress = Progress(started=0.0)
        self.clock = FakeClock(self.progress)
        self.retry = StoreRetry(self.progress, self.clock)

    async def run(self) -> int:
        return await self.retry.run(self._write)

    async def _write(self) -> int:
        await anyio.lowlevel.checkpoint()
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


@pytest.mark.parametrize(("errors", "calls"), [([], 1), ([LOCKED], 2), ([LOCKED, FULL, FULL], 4)])
async def test_a_write_is_repeated_until_the_database_accepts_it(errors: Sequence[Exception], calls: int) -> None:
    bench = Bench(*errors)
    assert (await bench.run(), bench.progress.conditions) == (calls, {})


async def test_the_condition_says_what_the_database_says_now() -> None:
    bench = Bench(LOCKED, FULL)
    await bench.run()
    assert bench.clock.shown == [
        "cannot be written: database is locked; trying again",
        "cannot be written: database or disk is full; trying again",
    ]


async def test_the_log_says_when_the_condition_begins_and_when_it_ends() -> None:
    bench = Bench(LOCKED, LOCKED)
    with structlog.testing.capture_logs() as entries:
        await bench.run()
        await bench.run()
    assert [(entry["log_level"], entry["event"], entry["what"]) for entry in entries] == [
        ("warning", "degraded", "database"),
        ("info", "recovered", "database"),
    ]


async def test_pauses_grow_up_to_half_a_minute_and_start_anew_after_a_success() -> None:
    bench = Bench(*[LOCKED] * 8)
    await bench.run()
    bench.errors = [LOCKED]
    await bench.run()
    assert bench.clock.waits == [1, 2, 4, 8, 16, MAX_PAUSE_S, MAX_PAUSE_S, MAX_PAUSE_S, 1]


@pytest.mark.parametrize("error", [DAMAGED, ZeroDivisionError()], ids=["damaged", "a bug"])
async def test_other_errors_are_raised_at_once_and_are_no_condition(error: Exception) -> None:
    bench = Bench(error)
    with pytest.raises(type(error)):
        await bench.run()
    assert (bench.calls, bench.clock.waits, bench.progress.conditions) == (1, [], {})


async def test_a_moved_file_is_raised_at_once_and_remains_a_condition() -> None:
    bench = Bench(MOVED)
    with pytest.raises(MovedFileError):
        await bench.run()
    assert (bench.calls, bench.progress.conditions) == (1, {CONDITION: "The file is gone."})


async def test_each_attempt_is_a_sign_of_life_of_its_stage() -> None:
    bench = Bench(LOCKED, LOCKED)
    with bench.progress.beats.at_work("write", bench.clock.monotonic):
        await bench.run()
        assert (bench.clock.now, bench.progress.beats.silent_s("write", bench.clock.now)) == (3.0, 0.0)
