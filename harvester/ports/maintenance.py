"""Care of a store by commands: checks, repairs, copies, upgrades."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harvester.domain.tasks.task import TaskState
from harvester.ports.check_result import Diagnosis

API_SOURCE = "api"
"""The source of results that the API has sent."""

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

    def back_up(self, target: Path, *, replace: bool = False) -> Backup:
        """Copy the store to the file `target` while others write to it. Raises UsageError for a bad target."""
        ...

    def diagnose(self) -> Iterator[Diagnosis]:
        """Yield the lines of `harvester doctor` about the store, its place and its engine; raises nothing."""
        ...

    def sharing_risk(self) -> str | None:
        """Return in sentences why it is dangerous that another process has the store open now; None if it is not."""
        ...
