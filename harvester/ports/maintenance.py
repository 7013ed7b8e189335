"""Care of a store by commands: checks, repairs, copies, upgrades."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harvester.domain.tasks.task import DAY_MS, TaskState
from harvester.ports.check_result import Diagnosis

API_SOURCE = "api"
"""The source of results that the API has sent."""

ATTEMPTS_KEPT_MS = 30 * DAY_MS
"""Milliseconds: older attempts are removed."""

SHOWN_OF_A_TASK = 3
"""Findings about one task that are shown to a person; a program gets all of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or with `is_warning` only unusual. `task_id` is None where no task is at fault.

    `is_damage` where the embeddings of that task are not what was received; `is_malformed` where SQLite itself calls
    the file damaged.
    """

    text: str
    task_id: str | None = None
    is_warning: bool = False
    is_damage: bool = False
    is_malformed: bool = False


@dataclass(frozen=True, slots=True)
class Damaged:
    """A task with its findings. `claim` is its fencing number when they were found, `source` that of its result."""

    key: int
    task_id: str
    claim: int
    expires_at_ms: int
    source: str = API_SOURCE
    texts: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The first findings, and how many more: a long video has thousands of vectors."""
        more = len(self.texts) - SHOWN_OF_A_TASK
        return "; ".join([*self.texts[:SHOWN_OF_A_TASK], *([f"and {more} more"] if more > 0 else [])])

    @property
    def is_imported(self) -> bool:
        """Whether the embeddings came from a file, so that no request can bring them again."""
        return self.source != API_SOURCE

    def can_be_had(self, now_ms: int) -> bool:
        """Whether the platform still has the embeddings."""
        return not self.is_imported and self.expires_at_ms > now_ms


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done about a half-deleted task; `task_id` is None where the id is unknown."""

    task_id: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Examination:
    """The findings about the database at one moment; `damaged` are the tasks for which a repair makes sense."""

    findings: list[Finding]
    damaged: list[Damaged]

    @property
    def is_malformed(self) -> bool:
        """Whether SQLite itself calls the file damaged: then it must not be written."""
        return any(finding.is_malformed for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy that has passed its checks. `taken_at_ms` (Unix milliseconds) is the moment that it shows."""

    path: Path
    taken_at_ms: int
    bytes: int
    schema_version: int
    counts: dict[TaskState, int]


@dataclass(frozen=True, slots=True)
class Covered:
    """The result of a batch: how many tasks were filled in, and the row id of the last task in it."""

    count: int
    last_task: int


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The version of the schema now, and how many tasks of an older version were filled in."""

    schema_version: int
    covered: int


MIN_GAIN = 0.01
"""A compaction rewrites all that is stored: a smaller part of the file is not worth that."""

BYTES_OF_AN_ATTEMPT = 100
"""Bytes: the least that an attempt takes with its two entries in indexes."""


@dataclass(frozen=True, slots=True)
class Compactness:
    """What a compaction would give back, and what it needs; all sizes in bytes.

    `copy_folder` holds a copy of `copy_bytes` for the time being; `copy_free_bytes` is None if that is on the volume of
    the store, where `needed_bytes` then includes it, or if the system does not say.
    """

    database_bytes: int
    free_inside_bytes: int
    log_bytes: int
    unneeded_bodies: int
    unneeded_body_bytes: int
    old_attempts: int
    copy_bytes: int
    needed_bytes: int
    volume_free_bytes: int | None
    copy_folder: Path
    copy_free_bytes: int | None

    @property
    def gain_bytes(self) -> int:
        """About the bytes by which the file gets shorter."""
        return self.free_inside_bytes + self.unneeded_body_bytes + self.old_attempts * BYTES_OF_AN_ATTEMPT

    @property
    def has_room(self) -> bool:
        """Whether the volumes have the space, as far as the system says."""
        return (self.volume_free_bytes is None or self.volume_free_bytes >= self.needed_bytes) and (
            self.copy_free_bytes is None or self.copy_free_bytes >= self.copy_bytes
        )

    @property
    def is_compact(self) -> bool:
        """Whether there is nothing worth a compaction."""
        return self.gain_bytes == 0 or self.gain_bytes < MIN_GAIN * self.database_bytes


@dataclass(frozen=True, slots=True)
class CompactionProgress:
    """How far a compaction is: `written_bytes` of about `total_bytes` are in the log; 0 while the copy is made."""

    elapsed_s: float
    written_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Compacted:
    """The result of a compaction. `is_pinned` if a reader keeps the log, so that the file gets shorter later."""

    before: Compactness
    database_bytes: int
    log_bytes: int
    dropped_bodies: int
    dropped_attempts: int
    is_pinned: bool


class StoreMaintenance(Protocol):
    """Takes care of a store; no method leaves it open. Each raises StoreError."""

    def check_exists(self) -> None:
        """Raise StoreError if there is nothing that could be a store."""
        ...

    def migrate(self) -> Upgrade:
        """Create the store or bring it to the newest schema, and fill in what an older version did not store."""
        ...

    def verify(self, *, deep: bool) -> list[Finding]:
        """Return what is wrong; with `deep`, check every stored number."""
        ...

    def examine(self) -> Examination:
        """Check every stored number; return what is wrong, and the tasks to repair."""
        ...

    def repair(self, damaged: Sequence[Damaged], now_ms: int) -> list[Damaged]:
        """Put the tasks back to `pending` that the platform still has, and return them. `now_ms`: Unix milliseconds."""
        ...

    def mend_half_deleted(self) -> list[Mended]:
        """Give whole results their deleted tasks back, and remove other rows that belong to nothing."""
        ...

    def back_up(self, target: Path, *, replace: bool = False) -> Backup:
        """Copy the store to the file `target` while others write to it. Raises UsageError for a bad target."""
        ...

    def measure_compactness(self, attempts_before_ms: int) -> Compactness:
        """Return what a compaction would give back, and what it needs; attempts before that time are not needed."""
        ...

    def compact(self, attempts_before_ms: int, listener: Callable[[CompactionProgress], None]) -> Compacted:
        """Drop what is not needed and give space back, beside readers and writers, who wait meanwhile.

        Changes nothing if there is too little space. Raises KeyboardInterrupt, and leaves the store whole.
        """
        ...

    def diagnose(self) -> Iterator[Diagnosis]:
        """Yield the lines of `harvester doctor` about the store, its place and its engine; raises nothing."""
        ...

    def sharing_risk(self) -> str | None:
        """Return in sentences why it is dangerous that another process has the store open now; None if it is not."""
        ...
