"""`harvester migrate`: bring the database to this version's schema."""

from harvester.app.stores import open_maintenance
from harvester.cli.console import print_note
from harvester.cli.options import ConfigFile, Database
from harvester.reports.formats import counted
from harvester.settings.model import load_settings


def migrate(*, db: Database = None, config: ConfigFile = None) -> None:
    """Create or upgrade the database.

    Commands that write do the same by themselves. This command also fills in what an older version did not store, from
    the JSON that it kept, computes the checksums, and notes what results lack, all at once; a harvest does so bit by
    bit.

    Example: harvester migrate --db harvester.db
    """
    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    upgrade = open_maintenance(path).migrate()
    if upgrade.covered:
        print_note(
            f"{counted(upgrade.covered, 'task')} of an older version: columns filled in, checksum computed,"
            " missing parts noted."
        )
    print_note(f"{path} has schema version {upgrade.schema_version}, the newest.")
