"""`harvester migrate`: bring the database to this version's schema."""

import typer

from harvester.cli.options import ConfigFile, Database


def migrate(*, db: Database = None, config: ConfigFile = None) -> None:
    """Create or upgrade the database.

    Commands that write do the same by themselves.

    Example: harvester migrate --db harvester.db
    """
    from contextlib import closing  # noqa: PLC0415

    from harvester.config import load_settings  # noqa: PLC0415
    from harvester.store.connecting import open_for_writing  # noqa: PLC0415
    from harvester.store.migrating import applied_versions  # noqa: PLC0415

    path = load_settings(config, {"store": {"path": db}}).settings.store.path
    with closing(open_for_writing(path)) as connection:
        version = max(applied_versions(connection))
    typer.echo(f"{path} has schema version {version}, the newest.", err=True)
