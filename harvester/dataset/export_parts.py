"""What an export is asked for, what it reports, and the rows on their way from the store into a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harvester.dataset.record_files import batch_rows
from harvester.domain.errors import MachineError, UsageError
from harvester.records.contents import Contents

if TYPE_CHECKING:
    from harvester.dataset.former_tasks import NewTasks
    from harvester.domain.results.result_filter import ResultFilter
    from harvester.domain.results.vectors import VectorBatch, VectorSpace
    from harvester.ports.stored_results import StoredResults
    from harvester.records.contents import FileKind, RecordWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Where to, which vectors, and what becomes of a file that is there."""

    target: Path
    kind: FileKind | None
    """None for a folder of Parquet files."""
    wanted: ResultFilter
    appends: bool = False
    """Add what a file that is there lacks."""
    replaces: bool = False
    """Replace a file that is there."""


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that the export has written."""

    path: Path
    space: VectorSpace
    vectors: int
    """All that the file holds."""
    added: int
    """How many of them were read from the store by this export; the others were in the file before."""
    tasks: int
    """The tasks of those that were added."""


class ExportListener(Protocol):
    """Hears how far an export is."""

    def begin(self, total: int, unit: str) -> None:
        """Hear how many vectors or tasks there are to write."""
        ...

    def wrote(self, vectors: int, tasks: int) -> None:
        """Hear how many vectors were written, and with them tasks, since the last call."""
        ...


class Unheard(ExportListener):
    """A listener that does nothing."""

    def begin(self, total: int, unit: str) -> None:
        """Do nothing."""

    def wrote(self, vectors: int, tasks: int) -> None:
        """Do nothing."""


def contents_of(space: VectorSpace, wanted: ResultFilter) -> Contents:
    """Return what a file of these vectors says about itself."""
    return Contents(space, tuple(sorted(wanted.options)), tuple(sorted(wanted.scopes)))


def write_rows(batches: Iterable[VectorBatch], writer: RecordWriter, listener: ExportListener) -> tuple[int, int]:
    """Write the rows; return how many they are, and of how many tasks. Raises OSError.

    A second thread compresses and writes a batch while the next one is read.
    """
    vectors, tasks, last_id, writing = 0, 0, None, None
    with ThreadPoolExecutor(1) as pool:
        for batch in batches:
            if writing is not None:
                writing.result()
            writing = pool.submit(writer.write, batch)
            # The rows of a task may begin in one batch and end in the next.
            begun = len(batch.tasks) - (batch.tasks[0].task_id == last_id)
            last_id = batch.tasks[-1].task_id
            vectors, tasks = vectors + len(batch.positions), tasks + begun
            listener.wrote(len(batch.positions), begun)
        if writing is not None:
            writing.result()
    return vectors, tasks


def rows_of(results: StoredResults, wanted: ResultFilter, space: VectorSpace, new: NewTasks) -> Iterator[VectorBatch]:
    """Yield the rows of the tasks, each task as it is when it is read."""
    for task_ids in new.chunks():
        yield from results.vectors(
            replace(wanted, task_ids=task_ids, latest=False), space, batch_rows=batch_rows(space.dim)
        )


@contextmanager
def writing_to(target: Path) -> Iterator[None]:
    """Turn an OSError in the block into a MachineError that names the target."""
    try:
        yield
    except FileExistsError:
        raise taken(target) from None
    except OSError as error:
        raise MachineError(
            f"{str(target)!a} cannot be written: {error.strerror or error}.",
            remedy="Check the permissions and the space of its folder; nothing of this export was left there.",
        ) from error


def taken(target: Path) -> UsageError:
    """Return the error for a file that is there."""
    return UsageError(
        f"{str(target)!a} exists.",
        remedy="Add what is new with --append, replace it with --force, or give another name.",
    )


def busy(target: Path) -> UsageError:
    """Return the error for a target that another export is writing."""
    return UsageError(f"Another export is writing {str(target)!a}.", remedy="Run it again when that has ended.")


def check_parent(target: Path) -> None:
    """Raise UsageError if the folder of the target does not exist."""
    if not target.absolute().parent.is_dir():
        raise UsageError(f"The folder of {str(target)!a} does not exist.", remedy="Create it, or give another name.")


def check_contents(found: Contents | None, wanted: ResultFilter, path: Path) -> Contents:
    """Return what the file holds. Raises UsageError if vectors that meet the filter cannot be added to it."""
    if found is None:
        raise UsageError(
            f"{str(path)!a} is no file that this program has exported.",
            remedy="Give another name, or replace it with --force.",
        )
    for option, held, asked in (
        ("--option", found.options, wanted.options),
        ("--scope", found.scopes, wanted.scopes),
    ):
        if tuple(sorted(asked)) != held:
            was = f"with {option} {','.join(held)}" if held else f"without {option}"
            raise UsageError(
                f"{str(path)!a} was exported {was}, so other vectors of its tasks would be missing.",
                remedy="Append with the same, or export to another name.",
            )
    return found
