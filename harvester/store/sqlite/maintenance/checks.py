"""The checks of `harvester doctor` about SQLite and its file: each gives a verdict, its reason and the remedy."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from harvester.domain.errors import StoreError
from harvester.ports.check_result import Diagnosis, Verdict
from harvester.ports.space import LARGE_LOG_BYTES, DiskForecast
from harvester.reports.formats import shown_bytes
from harvester.store.sqlite.connection import open_for_reading
from harvester.store.sqlite.database_path import exists
from harvester.store.sqlite.disk_estimate import forecast
from harvester.store.sqlite.maintenance import sharing, sqlite_version
from harvester.store.sqlite.maintenance.file_systems import LOCAL_DISK, mount_of
from harvester.store.sqlite.maintenance.probe import why_not_writable
from harvester.store.sqlite.migrations import applied_versions, load_migrations
from harvester.store.sqlite.sqlite_errors import translating_errors
from harvester.store.sqlite.write_ahead_log import log_bytes, log_path

MIN_FREE_BYTES = 64_000_000
"""Bytes: free space below which there is no room for the write-ahead log of one long video."""


def check_database(path: Path) -> Iterator[Diagnosis]:
    """Yield whether the file can be read and written, and at which schema it is."""
    try:
        is_there = exists(path)
    except StoreError as error:
        yield Diagnosis("database", Verdict.FAILURE, error.sentence, error.remedy)
        return
    if not is_there:
        folder = path.absolute().parent
        if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            yield Diagnosis("database", Verdict.OK, f"{path} will be created")
        else:
            text = f"{path} cannot be created: its folder does not exist or is not writable."
            yield Diagnosis("database", Verdict.FAILURE, text, "Create it, or name another with --db or store.path.")
        return
    try:
        with translating_errors(path), closing(open_for_reading(path, any_age=True)) as connection:
            version, expected = max(applied_versions(connection)), forecast(connection)
    except StoreError as error:
        yield Diagnosis("database", Verdict.FAILURE, error.sentence, error.remedy)
        return
    problem = why_not_writable(path)
    if problem is not None:
        remedy = "Check the permissions of the file and its folder, and which programs have it open."
        yield Diagnosis("database", Verdict.FAILURE, problem, remedy)
        return
    newest = max(migration.version for migration in load_migrations())
    if version < newest:
        text = f"{path} has schema version {version}; the next command that writes upgrades it to {newest}."
        yield Diagnosis("database", Verdict.WARNING, text, "Make a backup first: `harvester backup FILE`.")
        return
    yield Diagnosis("database", Verdict.OK, f"{path} can be read and written, {expected.open_tasks} open tasks")


def check_file_system(path: Path) -> Diagnosis:
    """Return whether the file system of the database can hold a write-ahead log."""
    mount = mount_of(path)
    if mount is None:
        return Diagnosis("file system", Verdict.WARNING, "unknown: this system does not report it.", LOCAL_DISK)
    where = f"{mount.kind} at {mount.point}"
    if mount.is_network:
        text = f"{where} is a network file system, where SQLite's write-ahead log does not work."
        return Diagnosis("file system", Verdict.FAILURE, text, LOCAL_DISK)
    if mount.is_opaque:
        text = f"{where} hides what is behind it; SQLite needs a local disk and shared memory."
        return Diagnosis("file system", Verdict.WARNING, text, LOCAL_DISK)
    return Diagnosis("file system", Verdict.OK, where)


def check_space(path: Path) -> Diagnosis:
    """Return whether the open tasks will find room once they are harvested."""
    folder = next((parent for parent in path.absolute().parents if os.access(parent, os.X_OK)), Path("/"))
    free = shutil.disk_usage(folder).free
    expected = _forecast(path)
    needed = expected.bytes
    basis = "the mean of the stored tasks" if expected.is_measured else "an hour of video each"
    queue = f"{expected.open_tasks} open tasks will need {shown_bytes(needed)} ({basis})" if needed else "no open tasks"
    log = log_bytes(path)
    text = f"{shown_bytes(free)} free, the write-ahead log takes {shown_bytes(log)}; {queue}"
    remedy = "Free some space, or move the database to a larger disk (docs/howto/operations.md)."
    if free < MIN_FREE_BYTES:
        return Diagnosis("space", Verdict.FAILURE, f"{text}.", remedy)
    if free < 2 * needed:
        return Diagnosis("space", Verdict.WARNING, f"{text}: less than twice that is left.", remedy)
    if log >= LARGE_LOG_BYTES:
        text += "; the log grows while another program keeps a read transaction open."
        remedy = f"End that transaction: `fuser {log_path(path)}` names the processes that have the log open."
        return Diagnosis("space", Verdict.WARNING, text, remedy)
    return Diagnosis("space", Verdict.OK, text)


def _forecast(path: Path) -> DiskForecast:
    try:
        with translating_errors(path), closing(open_for_reading(path, any_age=True)) as connection:
            return forecast(connection)
    except StoreError:
        # The line about the database has reported it.
        return DiskForecast(open_tasks=0, bytes_each=0, is_measured=False)


def check_engine(path: Path | None = None) -> Diagnosis:
    """Return whether this release of SQLite is new enough, and free of errors that can show at the database `path`.

    Several processes must have it open for the one known error.
    """
    shown = sqlite_version.shown(sqlite_version.RELEASE)
    if sqlite_version.is_too_old():
        oldest = sqlite_version.shown(sqlite_version.OLDEST)
        return Diagnosis("SQLite", Verdict.FAILURE, f"{shown} is older than {oldest}.", "Use a newer Python or system.")
    if not sqlite_version.may_lose_wal_reset():
        return Diagnosis("SQLite", Verdict.OK, shown)
    others = 0 if path is None else sharing.other_processes(path)
    if others is not None and others < 2:
        return Diagnosis("SQLite", Verdict.OK, f"{shown}; with this one let one process at a time write")
    who = "" if others is None else f"{others} processes have the database open. "
    return Diagnosis("SQLite", Verdict.WARNING, who + sharing.WAL_RESET_RISK, sharing.ONE_AT_A_TIME)
