"""`harvester migrate`: bring the database to this version's schema."""

import sqlite3
from contextlib import closing
from pathlib import Path

import typer

from harvester.cli.options import ConfigFile, Database
from harvester.ports.maintenance import Covered
from harvester.reports.formats import counted
from harvester.settings.model import load_settings
from harvester.store.sqlite.connection import in_transaction, open_for_writing, translating_errors
from harvester.store.sqlite.maintenance.cover import cover
from harvester.store.sqlite.migrations import applied_versions


def migrate(*, db: Database = None, config: ConfigFile = None) -> None:
    """Create or upgrade the database.

    Commands that write do the same by themselves. This command also computes the checksums that an older version did
    not store, all at once; a harvest does so bit by bit.

    Example: harvester migrate --db harvester.db
    """
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    with closing(open_for_writing(path)) as connection:
        version = max(applied_versions(connection))
        covered = _cover(connection, path)
    if covered:
        typer.echo(f"{counted(covered, 'task')} of an older version: checksum computed.", err=True)
    typer.echo(f"{path} has schema version {version}, the newest.", err=True)


def _cover(connection: sqlite3.Connection, path: Path) -> int:
    """Compute the missing checksums, one transaction for each batch; return how many."""
    total, batch = 0, Covered(0, 0)
    with translating_errors(path):
        while True:
            after_task = batch.last_task
            found = in_transaction(connection, lambda connection: cover(connection, after_task))  # noqa: B023  # at once
            if found is None:
                return total
            total, batch = total + found.count, found
