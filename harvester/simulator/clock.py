"""The stand-in's own time: it can be set, advanced and sped up, so that seven days pass in a test."""

import time
from collections.abc import Callable

_END_OF_OBJECT_IDS = 2**32  # their time has four bytes


class SimulatorClock:
    """Wall time in epoch seconds that runs `speed` times as fast as a monotonic source.

    `start` defaults to the present. A speed of 0 stops the clock, for tests: it then moves only by `advance` and `set`.
    """

    def __init__(
        self,
        start: float | None = None,
        *,
        speed: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._epoch = _checked_epoch(time.time() if start is None else start)
        self._anchor = monotonic()
        self._speed = _checked_speed(speed)

    def now(self) -> float:
        """Return the stand-in's time in epoch seconds."""
        return self._epoch + (self._monotonic() - self._anchor) * self._speed

    def now_ms(self) -> int:
        """Return the stand-in's time in whole Unix milliseconds."""
        # Rounded, not floored: 1.7e9 + 0.3 has no exact float, and a caller that set 300 ms must not read 299.
        return round(self.now() * 1000)

    @property
    def speed(self) -> float:
        """How many of the stand-in's seconds pass in one second."""
        return self._speed

    @speed.setter
    def speed(self, factor: float) -> None:
        checked = _checked_speed(factor)
        self.set(self.now())
        self._speed = checked

    def advance(self, seconds: float) -> None:
        """Move the time by `seconds`, back when negative; ValueError as in `set`."""
        self.set(self.now() + seconds)

    def set(self, epoch: float) -> None:
        """Make it `epoch` seconds now; the speed stays. ValueError for a time that no ObjectId can carry."""
        self._epoch = _checked_epoch(epoch)
        self._anchor = self._monotonic()


def _checked_epoch(epoch: float) -> float:
    if not 0 <= epoch < _END_OF_OBJECT_IDS:
        raise ValueError(f"A clock shows a time between 1970 and 2106, not epoch second {epoch:g}.")
    return epoch


def _checked_speed(factor: float) -> float:
    if not 0 <= factor < float("inf"):
        raise ValueError(f"A clock runs at a speed of 0 or more, not {factor}.")
    return factor
