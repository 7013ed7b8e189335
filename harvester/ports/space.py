"""How much space a store takes on its volume, and how much it needs."""

from dataclasses import dataclass

LOG_BYTES = 4 * 1024 * 1024
"""Bytes: a longer log is copied into the database, and cut to this when it begins anew."""

LARGE_LOG_BYTES = 8 * LOG_BYTES
"""Bytes: only one large transaction, or a read transaction that another program keeps open, makes the log so long."""


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """The bytes of the log, the free bytes of the volume, and those that must be free for the next small commits."""

    log_bytes: int
    free_bytes: int
    needed_bytes: int


@dataclass(frozen=True, slots=True)
class LogReport:
    """How long the log is, and whether a reader keeps it from becoming shorter."""

    bytes: int
    is_pinned: bool


@dataclass(frozen=True, slots=True)
class DiskForecast:
    """The space for open tasks. `bytes_each` is the mean of the stored results, or an hour of video without any."""

    open_tasks: int
    bytes_each: int
    is_measured: bool

    @property
    def bytes(self) -> int:
        """The bytes that the open tasks will add to the file."""
        return self.open_tasks * self.bytes_each


@dataclass(frozen=True, slots=True)
class SpaceUsed:
    """Bytes of the log beside a store, and free bytes of its volume; None where the system does not say."""

    log_bytes: int
    free_bytes: int | None
