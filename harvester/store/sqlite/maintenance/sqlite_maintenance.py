"""Maintenance of a database: see `harvester.ports.maintenance`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from harvester.ports.check_result import Diagnosis
from harvester.ports.maintenance import (
    Backup,
    Compacted,
    CompactionProgress,
    Compactness,
    Covered,
    Damaged,
    Examination,
    Finding,
    Mended,
    Upgrade,
)
from harvester.store.sqlite.connection import Connection, open_existing, open_for_reading, open_for_writing
from harvester.store.sqlite.database_path import check_exists
from harvester.store.sqlite.maintenance import checks
from harvester.store.sqlite.maintenance.older_results import cover
from harvester.store.sqlite.maintenance.sharing import sharing_risk
from harvester.store.sqlite.migrations import applied_versions
from harvester.store.sqlite.sqlite_errors import translating_errors
from harvester.store.sqlite.transaction import in_transaction


class SqliteMaintenance:
    """Maintains the database at `path`. Imports modules that load numpy only when it uses them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check_exists(self) -> None:
        """Raise StoreError if there is no file that could be a database."""
        check_exists(self._path)

    def migrate(self) -> Upgrade:
        """Create the database or bring it to the newest schema, and fill in older results batch by batch."""
        total, batch = 0, Covered(0, 0)
        with translating_errors(self._path), closing(open_for_writing(self._path)) as connection:
            version = max(applied_versions(connection))
            while (found := _cover_batch(connection, batch.last_task)) is not None:
                total, batch = total + found.count, found
        return Upgrade(version, total)

    def verify(self, *, deep: bool) -> list[Finding]:
        """Return what is wrong; with `deep`, check every stored number."""
        from harvester.store.sqlite.maintenance.verify import verify

        with translating_errors(self._path), closing(open_for_reading(self._path)) as connection:
            return list(verify(connection, deep=deep))

    def examine(self) -> Examination:
        """Check every stored number; return what is wrong, and the tasks to repair."""
        from harvester.store.sqlite.maintenance.repair import examine

        with translating_errors(self._path), closing(open_for_reading(self._path)) as connection:
            return examine(connection)

    def repair(self, damaged: Sequence[Damaged], now_ms: int) -> list[Damaged]:
        """Put the tasks back to `pending` that the platform still has, and return them."""
        from harvester.store.sqlite.maintenance.repair import repair

        with translating_errors(self._path), closing(open_existing(self._path)) as connection:
            return repair(connection, damaged, now_ms)

    def mend_half_deleted(self) -> list[Mended]:
        """Give whole results their deleted tasks back, and remove other rows that belong to nothing."""
        from harvester.store.sqlite.maintenance.half_deleted import mend

        with translating_errors(self._path), closing(open_existing(self._path)) as connection:
            return mend(connection)

    def back_up(self, target: Path, *, replace: bool = False) -> Backup:
        """Copy the database to the file `target` while others write to it."""
        from harvester.store.sqlite.maintenance.backup import back_up

        return back_up(self._path, target, replace=replace)

    def measure_compactness(self, attempts_before_ms: int) -> Compactness:
        """Return what a compaction would give back, and what it needs."""
        from harvester.store.sqlite.maintenance.compaction import measure

        return measure(self._path, attempts_before_ms)

    def compact(self, attempts_before_ms: int, listener: Callable[[CompactionProgress], None]) -> Compacted:
        """Drop what is not needed and give space back."""
        from harvester.store.sqlite.maintenance.compaction import compact

        return compact(self._path, attempts_before_ms, listener)

    def diagnose(self) -> Iterator[Diagnosis]:
        """Yield the lines of `harvester doctor` about the database, its file system, its volume and SQLite."""
        yield from checks.check_database(self._path)
        yield checks.check_file_system(self._path)
        yield checks.check_space(self._path)
        yield checks.check_engine(self._path)

    def sharing_risk(self) -> str | None:
        """Return why it is dangerous that another process has the database open now; None if it is not."""
        return sharing_risk(self._path)


def _cover_batch(connection: Connection, after_task: int) -> Covered | None:
    return in_transaction(connection, lambda connection: cover(connection, after_task))
