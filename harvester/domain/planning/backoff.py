"""Waits after failures, with random jitter."""

from typing import Protocol

BACKOFF_BASE_MS = 1_000
BACKOFF_CAP_MS = 5 * 60 * 1_000


class Rng(Protocol):
    """Random numbers that spread waits; `random.Random` is one."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number between `a` and `b`."""
        ...


def backoff_ms(failures: int, rng: Rng) -> int:
    """Return a wait in milliseconds with full jitter: between 0 and 1 s, doubled with each failure up to 5 min.

    Source: the "full jitter" variant of exponential back-off, AWS Architecture Blog, 2015.
    """
    ceiling = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** min(failures - 1, 20))
    return int(rng.uniform(0, ceiling))
