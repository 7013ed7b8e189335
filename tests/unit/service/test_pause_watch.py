"""What a process knows of a pause, on a clock that a test moves."""

import anyio
import pytest

from harvester.domain.errors import PausedError
from harvester.domain.limits.endpoint import RateLimit
from harvester.domain.limits.pause import Pause
from harvester.service.list_permit import list_permit
from harvester.service.pause_watch import READ_EVERY_S, PauseWatch, refuse_if_paused
from harvester.throttle.throttle import Throttle

NOW_MS = 1_700_000_000_000
PAUSE = Pause(NOW_MS, NOW_MS + 3_600_000)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def wall_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return self.now

    async def wait(self, _event: anyio.Event, timeout_s: float) -> None:
        self.now += timeout_s


class Source:
    def __init__(self, *found: Pause | None) -> None:
        self.found = list(found)

    async def pause(self, now_ms: int) -> Pause | None:
        assert now_ms == NOW_MS
        return self.found.pop(0)


async def test_a_reading_holds_for_a_second_and_each_change_is_noted_once() -> None:
    clock, source, notes = Clock(), Source(None, PAUSE, PAUSE, None), list[str | None]()
    watch, found = PauseWatch(source, clock, notes.append), []

    for _ in range(8):
        found.append(await watch.is_paused())
        clock.now += READ_EVERY_S / 2

    assert found == [False, False, True, True, True, True, False, False]
    times = "since 2023-11-14 22:13:20Z until 2023-11-14 23:13:20Z"
    assert notes == [f"{times}, no requests are sent; `harvester resume` ends the pause", None]


async def test_a_page_of_the_list_waits_until_the_pause_is_over() -> None:
    clock = Clock()
    watch = PauseWatch(Source(PAUSE, PAUSE, PAUSE, None), clock, lambda _text: None)

    await list_permit(Throttle(RateLimit(0), clock.monotonic), clock, watch)

    assert clock.now == 103.0


async def test_a_command_that_ends_by_itself_does_not_begin_during_a_pause() -> None:
    await refuse_if_paused(Source(None), NOW_MS)
    with pytest.raises(PausedError, match=r"^Paused since 2023-11-14 22:13:20Z: no request was sent"):
        await refuse_if_paused(Source(Pause(NOW_MS)), NOW_MS)
