"""How much space a store takes on its volume, and how much it needs."""

from dataclasses import dataclass

LOG_BYTES = 4 * 1024 * 1024
"""The log is copied into the database once it is longer than this, and cut to this when it begins anew."""

LARGE_LOG_BYTES = 8 * LOG_BYTES
"""So long it becomes only by one large transaction, or while another program keeps a read transaction open."""


@dataclass(frozen=True, slots=True)
class Room:
    """What the log takes, what is left on the volume, and what must be left for the next small commits."""

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
    """`bytes_each` is the mean of what is stored, or an hour of video where nothing is yet."""

    open_tasks: int
    bytes_each: int
    is_measured: bool

    @property
    def bytes(self) -> int:
        """What the open tasks will add to the file."""
        return self.open_tasks * self.bytes_each


@dataclass(frozen=True, slots=True)
class SpaceUsed:
    """Bytes of the log beside a store, and free bytes of its volume; None where the system does not say."""

    log_bytes: int
    free_bytes: int | None
